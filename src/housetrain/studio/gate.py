"""The gate before the page: nothing is answered, uploaded or shown without the token of the URL, or the password.

In: an ASGI application and its secrets. Out: an ASGI application. Other users of the machine can reach the port, so the
token guards it on one's own machine, too. It does not know Streamlit.

A request with the token in its URL, or the form with the token or the password, gets a cookie and is sent on; as
Jupyter does. Wrong guesses are answered one a second, all together.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

GUESS_S = 1.0
_FORM_BYTES = 4096
_OPEN = "/_stcore/health"
_CLOSE = {"type": "websocket.close", "code": 1008}
_FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><title>housetrain studio</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:16px system-ui;max-width:420px;margin:15vh auto;padding:0 1rem}input,button{font:inherit;padding:.4rem}
</style><h1>housetrain studio</h1><form method="post"><p><label>Password, or the token of the URL that
<code>housetrain studio</code> printed<br><input name="secret" type="password" autofocus required></label>
<button>Enter</button></p></form>%s</html>"""


class Gate:
    """Lets requests through that prove to know a secret.

    Args:
        app: What is guarded.
        token: Secret of the URL.
        password: A second secret; ``""`` for none.
        port: Part of the cookie's name: cookies of other ports of a host are sent, too.
        hosts: The host names that a request may name; none for any. Another one is DNS rebinding.
    """

    def __init__(self, app: App, *, token: str, password: str = "", port: int = 0, hosts: Sequence[str] = ()) -> None:
        self.app = app
        self._hosts = {host.lower() for host in hosts}
        self._token, self._password = token, password
        self._cookie = f"housetrain-{port}"
        self._value = hashlib.sha256(f"cookie {token}".encode()).hexdigest()
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif self._hosts and not self._hosts & set(_hosts_of(scope)):
            await (_answer(send, 403, b"") if scope["type"] == "http" else send(_CLOSE))
        elif self._has_cookie(scope) or scope["path"].endswith(_OPEN):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send(_CLOSE)
        elif _same(_query(scope).get("token", ""), self._token) or (
            scope["method"] == "POST" and await self._knows(await _secret_in(receive))
        ):
            await self._let_in(scope, send)
        elif scope["method"] in ("GET", "POST"):
            wrong = "<p role=alert>Wrong password or token.</p>" if scope["method"] == "POST" else ""
            await _answer(send, 401, (_FORM % wrong).encode())
        else:
            await _answer(send, 403, b"")

    def _has_cookie(self, scope: Message) -> bool:
        for name, value in scope["headers"]:
            if name == b"cookie":
                try:
                    found = SimpleCookie(value.decode("latin-1")).get(self._cookie)
                except CookieError:
                    continue
                if found is not None and _same(found.value, self._value):
                    return True
        return False

    async def _knows(self, secret: str) -> bool:
        """Return whether it is the token or the password; a wrong guess makes every other one wait."""
        async with self._turn:
            if _same(secret, self._token) or (self._password and _same(secret, self._password)):
                return True
            await asyncio.sleep(GUESS_S)
            return False

    async def _let_in(self, scope: Message, send: Send) -> None:
        rest = urlencode([(name, value) for name, value in _pairs(scope) if name != "token"])
        cookie = f"{self._cookie}={self._value}; HttpOnly; SameSite=Lax; Path=/"
        target = f"?{rest}" if rest else scope["path"].rsplit("/", 1)[-1] or "./"
        await _answer(send, 303, b"", ("location", target), ("set-cookie", cookie))


def _hosts_of(scope: Message) -> Iterator[str]:
    for name, value in scope["headers"]:
        if name == b"host":
            try:
                yield urlsplit(f"//{value.decode('latin-1')}").hostname or ""
            except ValueError:
                yield ""


def _pairs(scope: Message) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _query(scope: Message) -> dict[str, str]:
    return dict(_pairs(scope))


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


async def _secret_in(receive: Receive) -> str:
    """Return the field ``secret`` of a form; ``""`` if there is none, or the form is too long."""
    data, more = b"", True
    while more and len(data) <= _FORM_BYTES:
        message = await receive()
        data, more = data + message.get("body", b""), message.get("more_body", False)
    fields = parse_qs(data.decode("utf-8", "replace")) if len(data) <= _FORM_BYTES else {}
    return fields.get("secret", [""])[0]


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[str, str]) -> None:
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    given = [("content-type", "text/html; charset=utf-8"), ("content-length", str(len(body))), *headers]
    given += [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("content-security-policy", policy)]
    plain = [(name.encode(), value.encode("latin-1")) for name, value in given]
    await send({"type": "http.response.start", "status": status, "headers": plain})
    await send({"type": "http.response.body", "body": body})
