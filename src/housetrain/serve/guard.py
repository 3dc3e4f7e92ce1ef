"""What every request passes first: the Host header, the token, the declared size; and what every one is counted in.

In: an ASGI application. Out: one that is safe to listen with. Does not know: what is served.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from housetrain.serve.limits import Problem
from housetrain.serve.metrics import Metrics

OPEN_PATHS = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
"""Answered without the token: they tell no more than that a server is there, and a probe has no secrets."""


def response_of(problem: Problem) -> JSONResponse:
    """Return the response to a request that gets no answer."""
    headers = {"Retry-After": str(problem.retry_s)} if problem.retry_s else {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": problem.message}, problem.status, headers)


class Guard:
    """An ASGI application around another one.

    Args:
        app: The application.
        metrics: Counts requests.
        body_bytes: Largest body.
        hosts: Names that a Host header may have; none for any.
        origins: Origins of web pages that may ask, besides the server's own.
        token: Required as ``Authorization: Bearer TOKEN``; ``""`` for none.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        body_bytes: int,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        token: str = "",
    ) -> None:
        self._app, self._metrics, self._body_bytes = app, metrics, body_bytes
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse and say why."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            problem = self._problem(Headers(scope=scope), scope)
            await (self._app if problem is None else response_of(problem))(scope, receive, send_and_note)
        finally:
            path = getattr(scope.get("route"), "path", "other")  # a path that was asked for could be anything
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - begin)

    def _problem(self, headers: Headers, scope: Scope) -> Problem | None:
        host = headers.get("host", "")
        if self._hosts and _name_of(host) not in self._hosts:
            return Problem(400, "The Host header names another machine. Do: start the server with --allow-host NAME.")
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and urlsplit(origin).netloc != host:
            return Problem(403, "Web pages of other origins are refused. Do: start the server with --origin URL.")
        if self._token and scope["path"] not in OPEN_PATHS:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            correct = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._token)
            if scheme.lower() != "bearer" or not correct:
                return Problem(401, "A token is required: Authorization: Bearer TOKEN.")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._body_bytes:
            return Problem(413, f"The body is too large. This server takes {self._body_bytes >> 20} MiB.")
        return None


def _name_of(host: str) -> str:
    """Return the name in a Host header, without the port and the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
