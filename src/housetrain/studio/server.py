"""The server process of the page: ``python -m housetrain.studio.server run app.py ...``.

In: Streamlit's command line. Out: Streamlit's server, which never asks another machine for this one's external address:
Streamlit does so to compare it with the origin of a request.
"""

from __future__ import annotations

from streamlit import net_util
from streamlit.web import cli


def main() -> None:
    """Run Streamlit's command line."""
    net_util.get_external_ip = lambda: None
    cli.main(prog_name="streamlit")


if __name__ == "__main__":
    main()
