"""How the page is served: on this machine only, with every safe setting, and refused otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from housetrain.errors import FolderError, HousetrainError
from housetrain.studio import launch
from housetrain.studio.settings import TOKEN, Settings


def test_every_safe_setting_is_one_that_streamlit_knows_and_takes() -> None:
    from streamlit import config

    words = launch.command(address="127.0.0.1", port=8501, browser=False)
    given = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
    assert set(given) <= set(config._config_options_template)
    assert given["server.address"] == "127.0.0.1"
    assert given["server.enableXsrfProtection"] == given["server.enableCORS"] == "true"
    assert given["browser.gatherUsageStats"] == "false"
    assert given["server.headless"] == "true" and given["client.showErrorDetails"] == "none"
    assert int(given["server.maxUploadSize"]) <= 1024


def options_of(words: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            name, _, value = word.removeprefix("--").partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_only_known_host_headers_are_accepted() -> None:
    local = options_of(launch.command(address="127.0.0.1", port=8501, browser=False))
    assert local["server.allowedHosts"] == ["localhost", "127.0.0.1", "::1"]
    assert "server.corsAllowedOrigins" not in local
    lan = options_of(launch.command(address="192.168.1.5", port=8501, browser=False))
    assert lan["server.allowedHosts"] == ["192.168.1.5"]


def test_a_proxy_is_named_by_its_url() -> None:
    url = "https://hub.example:8443/user/ada/studio/"
    behind = options_of(launch.command(address="127.0.0.1", port=8501, browser=False, origin=url))
    assert behind["server.corsAllowedOrigins"] == ["https://hub.example:8443"]
    assert behind["server.baseUrlPath"] == ["user/ada/studio"]
    assert behind["server.allowedHosts"][-1] == "hub.example"


@pytest.mark.parametrize("origin", ["hub.example", "ftp://hub.example", "https://", "https://hub.example/?a=1", ""])
def test_what_is_no_url_is_refused(origin: str) -> None:
    with pytest.raises(HousetrainError, match=r"https://hub\.example/studio"):
        launch.check_origin(origin)


def test_an_unknown_origin_is_refused_without_asking_another_machine() -> None:
    """The server of the page has Streamlit's own functions, with the network in them cut off."""
    code = """
import socket, sys
from streamlit import net_util
from streamlit.web import cli
from streamlit.web.server.server_util import is_url_from_allowed_origins
from housetrain.studio import server

asked = []
net_util._make_blocking_http_get = lambda url, timeout=5: asked.append(url)
assert not is_url_from_allowed_origins("https://hub.example") and asked, "Streamlit no longer asks: drop the module"
asked.clear()
cli.main = lambda **options: None
server.main()
assert not is_url_from_allowed_origins("https://hub.example")
assert not asked, asked
"""
    environment = {**os.environ, TOKEN: "a token"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_data_root_is_as_small_as_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, other = tmp_path / "work", tmp_path / "elsewhere" / "pets"
    (work / "pets").mkdir(parents=True)
    other.mkdir(parents=True)
    monkeypatch.chdir(work)
    assert launch.settings_of(None, None).data_root == work
    assert launch.settings_of(Path("pets"), None).data_root == work
    assert launch.settings_of(other, None).data_root == other, "its neighbors need not be seen"
    assert launch.settings_of(other, tmp_path).data_root == tmp_path
    with pytest.raises(FolderError, match="below the data root"):
        launch.settings_of(other, work)
    with pytest.raises(FolderError, match="does not exist"):
        launch.settings_of(tmp_path / "nothing", None)
    with pytest.raises(FolderError, match="data root does not exist"):
        launch.settings_of(None, tmp_path / "nothing")


def test_settings_travel_through_the_environment(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path / "data", tmp_path / "data" / "pets")
    assert Settings.of(settings.to_environment()) == settings
