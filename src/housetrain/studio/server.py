"""The server process of the page: ``python -m housetrain.studio.server run app.py ...``.

In: Streamlit's command line; the secrets in the environment, which no child process gets. Out: Streamlit's server
behind `housetrain.studio.gate.Gate`, with three changes:

* It never asks another machine for this one's external address; Streamlit does so to compare it with the origin of a
  request.
* ``.streamlit/config.toml`` and ``secrets.toml`` have no say: they may come from the folder of a stranger.
* The browser is given a file that only this user can read, not a URL with the token, which other users see in the list
  of processes.
"""

from __future__ import annotations

import html
import os
from typing import Any

from streamlit import cli_util, config, net_util
from streamlit.web import cli
from streamlit.web.server.starlette import starlette_server

from housetrain.studio.gate import Gate
from housetrain.studio.settings import PASSWORD, TOKEN, Settings
from housetrain.system.files import write_private


def main() -> None:
    """Run Streamlit's command line."""
    net_util.get_external_ip = lambda: None
    config.get_config_files = lambda file_name: []
    token, password = os.environ.pop(TOKEN), os.environ.pop(PASSWORD, "")
    server: Any = starlette_server
    create, show = server.create_starlette_app, cli_util.open_browser

    def guarded(runtime: Any) -> Gate:
        port, hosts = config.get_option("server.port"), config.get_option("server.allowedHosts")
        return Gate(create(runtime), token=token, password=password, port=int(port), hosts=hosts or ())

    server.create_starlette_app = guarded
    cli_util.open_browser = lambda url: show(_redirect(f"{url.rstrip('/')}/?token={token}"))
    cli.main(prog_name="streamlit")


def _redirect(url: str) -> str:
    """Return the address of a file that leads to a URL that no other user can read."""
    folder = Settings.of().scratch
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "open.html"
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(url)}">'
    write_private(path, page.encode())
    return path.absolute().as_uri()


if __name__ == "__main__":
    main()
