"""Clusters: what is said when there is none, and the versions that must agree."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest

from housetrain.errors import HousetrainError, MissingExtra
from housetrain.system import cluster


class Library:
    """Ray, as far as connecting goes."""

    def __init__(self, error: Exception | None = None, *, connected: bool = False) -> None:
        self.error, self.connected = error, connected
        self.options: dict[str, Any] = {}
        self.stopped = 0

    def is_initialized(self) -> bool:
        return self.connected

    def init(self, **options: Any) -> None:
        self.options = options
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray does
        if self.error is not None:
            raise self.error

    def nodes(self) -> list[dict[str, bool]]:
        return [{"Alive": True}, {"Alive": False}, {"Alive": True}]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 8.0}

    def shutdown(self) -> None:
        self.stopped += 1


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(library: Library) -> Library:
        monkeypatch.setitem(sys.modules, "ray", library)
        monkeypatch.setattr(cluster, "is_installed", lambda: True)
        for name in (*cluster._LOCAL, "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            monkeypatch.setenv(name, "")  # restored after the test, whatever `connect` sets
            monkeypatch.delenv(name)
        return library

    return install


def test_without_an_address_a_cluster_is_started_with_a_token_and_stopped(
    use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    library, said, before = use(Library()), list[str](), signal.getsignal(signal.SIGTERM)
    connection = cluster.connect(need="it", cpus=3, note=said.append)
    assert library.options["address"] == "local" and library.options["num_cpus"] == 3
    assert library.options["include_dashboard"] is False
    assert os.environ["RAY_AUTH_MODE"] == "token" and len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert said == ["Starting Ray on this machine ..."] and signal.getsignal(signal.SIGTERM) is before
    connection.close()
    assert library.stopped == 1


def test_a_cluster_is_joined_and_a_connection_that_exists_is_left_alone(
    use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    said = list[str]()
    library = use(Library())
    monkeypatch.setattr(cluster.socket, "create_connection", lambda *given, **options: socket.socket())
    cluster.connect("head:6379", need="it", note=said.append)
    assert library.options["address"] == "head:6379" and "num_cpus" not in library.options
    assert said == ["Joined the Ray cluster at head:6379: 2 nodes, 8 cores"]
    own = use(Library(connected=True))
    cluster.connect("head:6379", need="it").close()
    assert own.options == {} and own.stopped == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Version mismatch: The cluster was started with:\n Ray: 2.60\n"), "other versions than this"),
        (ValueError("AuthenticationError: Token authentication failed"), "may require another token.*RAY_AUTH_TOKEN"),
        (ConnectionError("Could not find any running Ray instance"), "There is no Ray cluster.*ray start --head"),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_one_line(use: Any, error: Exception, said: str) -> None:
    use(Library(error))
    with pytest.raises(HousetrainError, match=said) as caught:
        cluster.connect("auto", need="it")
    assert "\n" not in str(caught.value)


def test_an_address_where_nothing_listens_is_refused_at_once(use: Any) -> None:
    import socket

    library = use(Library())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        for address in (f"127.0.0.1:{taken.getsockname()[1]}", f"ray://127.0.0.1:{taken.getsockname()[1]}"):
            with pytest.raises(HousetrainError, match="There is no Ray cluster at this address"):
                cluster.connect(address, need="it")
    assert library.options == {}


def test_ray_that_does_not_start_and_ray_that_is_not_there(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(Library(OSError("no\nroom")))
    with pytest.raises(HousetrainError, match=r"did not start on this machine.*no room"):
        cluster.connect(need="it")
    monkeypatch.setattr(cluster, "is_installed", lambda: False)
    with pytest.raises(MissingExtra, match="It requires an optional library"):
        cluster.connect(need="it")


def test_versions_must_agree() -> None:
    own = cluster.versions()
    assert {"python", "numpy"} <= own.keys() and cluster.mismatch(own) == ""
    assert "numpy" in cluster.mismatch({**own, "numpy": "0.1"})
    without = {name: value for name, value in own.items() if name != "numpy"}
    assert f"numpy {own['numpy']} there and none here" in cluster.mismatch(without)
