"""How the page is served: on this machine only, with every safe setting, and refused otherwise."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from housetrain.errors import FolderError, HousetrainError
from housetrain.studio import launch
from housetrain.studio.settings import PASSWORD, Settings


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1"])
def test_an_address_that_others_reach_needs_a_password(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(HousetrainError, match="password"):
        launch.check_address(address)
    monkeypatch.setenv(PASSWORD, "short")
    with pytest.raises(HousetrainError, match="at least 8"):
        launch.check_address(address)
    monkeypatch.setenv(PASSWORD, "long enough")
    launch.check_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_this_machine_needs_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    launch.check_address(address)


def test_a_word_is_no_address() -> None:
    with pytest.raises(HousetrainError, match="Invalid address"):
        launch.check_address("everywhere")


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


def test_a_taken_port_is_told_in_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(HousetrainError, match="another --port"):
            launch.free_port("127.0.0.1", other.getsockname()[1])
    assert launch.free_port("127.0.0.1", 0) > 0


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
