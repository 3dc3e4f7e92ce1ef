"""`housetrain serve`: the process that listens.

In: bundles and options. Out: answers to requests, until SIGTERM or Ctrl-C; then requests that have begun are finished.
Does not know: what a request holds.

    housetrain serve runs/pets --port 8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/predict
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from housetrain.errors import HousetrainError, MissingExtra
from housetrain.serve.limits import TOKEN, Limits
from housetrain.system.machine import cores
from housetrain.system.network import allowed_hosts, check_address, listening_socket

if TYPE_CHECKING:
    from housetrain.serve.decoding import Decoders
    from housetrain.serve.models import Models
    from housetrain.serve.service import Service

_PACKAGES = ("fastapi", "starlette", "uvicorn", "httptools", "prometheus_client", "python_multipart")
_SERVICE = "the server"
_BACKLOG = 2048


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        address: IP address to listen on.
        port: Port to listen on; 0 for any free one.
        hosts: Further names that a Host header may have.
        origins: Origins of web pages that may ask.
    """

    address: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


def serve(
    bundles: Sequence[str],
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    engine: str | None = None,
    workers: int | None = None,
) -> None:
    """Serve models until SIGTERM or Ctrl-C.

    Args:
        bundles: Bundle or run folders, or ``NAME=FOLDER``; the first is the default.
        access: Who may ask.
        limits: Bounds of requests.
        engine: Format of the models to run; by default the first that this machine can run.
        workers: Child processes that decode; all cores by default.

    Raises:
        MissingExtra: The libraries of the extra ``serve`` are not installed.
        HousetrainError: The address or port cannot be used, or a model is refused.
    """
    access, limits = access or Access(), limits or Limits()
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        raise MissingExtra("serve", need="Serving")
    check_address(access.address, secret=TOKEN, service=_SERVICE)
    with listening_socket(access.address, access.port, service=_SERVICE) as bound:
        from housetrain.serve.decoding import Decoders

        decoders = Decoders(workers or cores(), timeout_s=limits.decode_s)
        decoders.open()  # the children load their libraries while this process loads its own
        models = _loaded(bundles, limits, engine)
        _run(models, decoders, access, limits, bound)


def _loaded(bundles: Sequence[str], limits: Limits, engine: str | None) -> Models:
    """Load the models while this thread imports the web libraries: compiling a model does not need the interpreter."""
    from housetrain.serve.metrics import Metrics
    from housetrain.serve.models import Models, named

    models = Models(named(bundles), limits=limits, metrics=Metrics(), engine=engine)
    failed: list[Exception] = []

    def load() -> None:
        try:
            models.load()
        except (HousetrainError, OSError) as error:
            failed.append(error)

    gc.disable()  # nothing that is imported is garbage
    thread = threading.Thread(target=load)
    thread.start()
    import housetrain.serve.app
    import housetrain.serve.connections  # noqa: F401

    thread.join()
    gc.enable()
    gc.freeze()
    if failed:
        raise failed[0]
    return models


def _run(models: Models, decoders: Decoders, access: Access, limits: Limits, bound: Any) -> None:
    from housetrain.serve.app import create_app
    from housetrain.serve.connections import Server, config_of
    from housetrain.serve.guard import Guard
    from housetrain.serve.service import Service

    service = Service(models, decoders, limits, models.metrics)
    app: Any = Guard(
        create_app(service),
        metrics=models.metrics,
        body_bytes=limits.body_bytes,
        hosts=_hosts(access),
        origins=access.origins,
        token=os.environ.get(TOKEN, ""),
    )
    if access.origins:
        from starlette.middleware.cors import CORSMiddleware

        app = CORSMiddleware(app, access.origins, allow_methods=["GET", "POST"], allow_headers=["*"])
    server = Server(config_of(app, limits), limits)
    bound.listen(_BACKLOG)  # a client that comes early waits
    address, port = bound.getsockname()[:2]
    names = ", ".join(f"{name} ({predictor.engine.name})" for name, predictor in models.loaded())
    host = f"[{address}]" if ":" in address else address
    sys.stderr.write(f"Serving  {names}\nAddress  http://{host}:{port}   (Ctrl-C stops; /docs lists what it answers)\n")
    sys.stderr.flush()
    with _signals(server, service):
        asyncio.run(server.serve(sockets=[bound]))


def _hosts(access: Access) -> tuple[str, ...]:
    """Return the allowed names of a Host header; none where all addresses are meant and nothing is named."""
    hosts = allowed_hosts(access.address)
    if not hosts and access.hosts:
        hosts = allowed_hosts("127.0.0.1")
    return (*hosts, *access.hosts)


@contextlib.contextmanager
def _signals(server: Any, service: Service) -> Iterator[None]:
    """A context in which SIGTERM and Ctrl-C stop the server; a second one acts at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: Any) -> None:
        service.stopping = True
        server.should_exit = True
        signal.signal(number, signal.SIG_DFL)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
