"""A Ray cluster: one that is started here for the call, or one that runs already.

In: an address, or none. Out: a `Connection`, whose ``ray`` is the imported library. Does not know: what is run on it.
Ray is imported when a connection is made, and not before.

A cluster runs any code of anyone who reaches its ports. One that is started here requires a token, has no dashboard
and reports no usage to anyone. One that is joined is as safe as the person who started it made it: docs/scale.md.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import platform
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from housetrain.errors import HousetrainError, MissingExtra, one_line
from housetrain.system.backend import without_start_up_notes
from housetrain.system.machine import cores
from housetrain.system.packages import version_of

_ALWAYS = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_LOCAL = {**_ALWAYS, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
_REACH_S = 5.0
_COMPARED = ("housetrain", "ray", "keras", "tensorflow", "jax", "torch", "numpy", "openvino")


class Connection(NamedTuple):
    """A connection to a cluster.

    Attributes:
        ray: The library.
        close: Disconnects, and stops a cluster that was started here. Does nothing for a connection that existed
            before.
    """

    ray: Any
    close: Callable[[], None]


def connect(
    address: str | None = None, *, need: str, cpus: int | None = None, note: Callable[[str], None] | None = None
) -> Connection:
    """Join a cluster, or start one on this machine; use the connection that this process has, if there is one.

    Args:
        address: ``auto`` (a cluster on this machine), ``HOST:6379`` or ``ray://HOST:10001``; by default a cluster is
            started on this machine and stopped by `Connection.close`.
        need: What needs it, for the error, such as ``"--executor ray"``.
        cpus: Cores of a cluster that is started here; all by default.
        note: Receives one line about what was started or joined.

    Raises:
        MissingExtra: Ray is not installed.
        HousetrainError: The cluster cannot be reached or started, or has other versions of Ray or Python.
    """
    if not is_installed():
        raise MissingExtra("cluster", need=need)
    for name, value in (_LOCAL if address is None else _ALWAYS).items():
        os.environ.setdefault(name, value)  # Ray reads them when it is imported
    if address is None and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray itself would write one into ~/.ray
    _check_reachable(address)
    ray: Any = importlib.import_module("ray")
    if ray.is_initialized():
        return Connection(ray, lambda: None)
    say = note or (lambda text: None)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        say("Starting Ray on this machine ...")
        options |= {"address": "local", "num_cpus": cpus or cores(), "include_dashboard": False}
    else:
        options["address"] = address
    with _own_sigterm(), without_start_up_notes():
        try:
            ray.init(**options)
        except Exception as error:  # Ray raises many kinds, some of them its own
            raise _refusal(address, error, reached=address not in (None, "auto")) from error
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    if address is not None:
        say(f"Joined the Ray cluster at {address}: {_count(nodes)}, {ray.cluster_resources().get('CPU', 0):g} cores")
    return Connection(ray, _closing(ray))


def is_installed() -> bool:
    """Return whether Ray is installed, without importing it."""
    return importlib.util.find_spec("ray") is not None


def _closing(ray: Any) -> Callable[[], None]:
    def close() -> None:
        with contextlib.suppress(Exception), _own_sigterm():  # a head node that is gone cannot be told anything
            ray.shutdown()

    return close


def _check_reachable(address: str | None) -> None:
    """Refuse an address where nothing listens: Ray itself would try for minutes."""
    text = str(address)
    place = urlsplit(text if "://" in text else f"//{text}")
    try:
        port = place.port
    except ValueError:
        port = None
    if address in (None, "auto") or place.hostname is None or port is None:
        return
    try:
        socket.create_connection((place.hostname, port), timeout=_REACH_S).close()
    except OSError as error:
        raise _refusal(address, error) from error


def _refusal(address: str | None, error: Exception, *, reached: bool = False) -> HousetrainError:
    text = " ".join(str(error).split())
    if "ersion mismatch" in text:
        return HousetrainError(
            "The cluster runs other versions than this machine", do="install the same versions on both", cause=text
        )
    if ("oken" in text and "auth" in text.lower()) or (reached and "Failed to connect" in text):
        return HousetrainError(
            "The Ray cluster did not accept this machine: it may require another token",
            do="set RAY_AUTH_MODE=token, and put the cluster's token in ~/.ray/auth_token or RAY_AUTH_TOKEN",
            address=address,
        )
    if address is None:
        return HousetrainError("Ray did not start on this machine", cause=text)
    return HousetrainError(
        "There is no Ray cluster at this address, or it cannot be reached",
        expected="auto, HOST:6379 or ray://HOST:10001",
        do="start one with `ray start --head`, or omit the address to start one for this command",
        address=address,
        cause=text[:200],
    )


@contextlib.contextmanager
def _own_sigterm() -> Any:
    """A context after which SIGTERM does what it did before: Ray replaces the handler."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def versions() -> dict[str, str]:
    """Return the versions that must be equal on all nodes: of Python, of this package, of what trains and predicts."""
    found = {"python": platform.python_version().rpartition(".")[0]}
    return found | {name: version for name in _COMPARED if (version := version_of(name))}


def mismatch(wanted: Mapping[str, str]) -> str:
    """Return what differs between the versions of this node and those of the driver, as one line; empty if nothing.

    Args:
        wanted: What `versions` returned on the driver.
    """
    own = versions()
    found = [
        f"{name} {own.get(name, 'is missing')} there and {wanted.get(name, 'none')} here"
        for name in sorted(own.keys() | wanted.keys())
        if own.get(name) != wanted.get(name)
    ]
    return f"Node {socket.gethostname()} has other versions: {', '.join(found)}" if found else ""


def node_error(error: BaseException) -> HousetrainError:
    """Return the one line for work that a node could not run at all: the package is missing there, for instance."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return HousetrainError(
        "A node of the cluster cannot run the work",
        do="install housetrain and its extras there, in the same versions",
        cause=one_line(lines[-1].strip())[:300] if lines else type(error).__name__,
    )


def _count(nodes: int) -> str:
    return f"{nodes} node{'' if nodes == 1 else 's'}"
