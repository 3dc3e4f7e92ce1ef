"""uvicorn, with bounds on connections: slow or endless clients are cut off, and signals are the caller's.

In: an ASGI application and limits. Out: a server. Does not know: what is served.

uvicorn bounds neither the size of a request's headers nor the time in which they arrive, nor the time that a client
takes for the response. A body's size and time are the application's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from housetrain.serve.limits import Limits

_HEAD_BYTES = 64 << 10  # request line and headers
_MOST = 1000  # connections; a process has 1,024 descriptors by default
_LOOK_TICKS = 10  # of uvicorn's, 0.1 s each


class Connection(HttpToolsProtocol):
    """A connection whose request line and headers are bounded."""

    head_bytes = 0
    since = 0.0
    waits_for = ""

    def connection_made(self, transport: Any) -> None:
        """Accept the connection."""
        super().connection_made(transport)
        self.since = time.monotonic()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless headers do not end."""
        if self.between_requests:
            self.head_bytes += len(data)
        super().data_received(data)
        if not self.between_requests:
            self.head_bytes = 0
        elif self.head_bytes > _HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    @property
    def between_requests(self) -> bool:
        """Whether no request waits for its response: none has arrived, or not its headers."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def state(self) -> str:
        """Return who must act now: the client before its request or during the response, else this server."""
        if self.between_requests:
            return "request"
        return "response" if self.cycle.response_started else ""


class Server(uvicorn.Server):
    """A server that closes the connections of slow clients.

    Args:
        config: uvicorn's configuration.
        limits: What is slow.
    """

    def __init__(self, config: uvicorn.Config, limits: Limits) -> None:
        super().__init__(config)
        self._limits = limits

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller: uvicorn would raise them again after it stopped."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Look at all connections once a second."""
        if counter % _LOOK_TICKS == 0:
            self._close_slow(time.monotonic())
        return await super().on_tick(counter)

    def _close_slow(self, now: float) -> None:
        bounds = {"request": self._limits.receive_s, "response": self._limits.answer_s}
        for connection in list(self.server_state.connections):
            assert isinstance(connection, Connection)
            state = connection.state()
            if state != connection.waits_for:
                connection.waits_for, connection.since = state, now
            elif state and now - connection.since > bounds[state]:
                connection.transport.abort()


def config_of(app: Any, limits: Limits) -> uvicorn.Config:
    """Return the configuration of uvicorn."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST,
        timeout_keep_alive=int(min(limits.receive_s, 30)),
        timeout_graceful_shutdown=int(limits.finish_s),
    )
