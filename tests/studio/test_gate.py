"""Nothing of the page is reached without the token or the password, and guesses are slow."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the studio is an extra")
from housetrain.studio import gate
from housetrain.studio.gate import Gate
from housetrain.studio.settings import PASSWORD, TOKEN

SECRET = "the-token-of-this-test"


async def _page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


def asked(
    guard: Gate,
    path: str = "/",
    *,
    method: str = "GET",
    query: str = "",
    body: bytes = b"",
    kind: str = "http",
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """Send one request and return status, headers and body; a closed WebSocket is its code."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = [(name.encode(), value.encode()) for name, value in {"host": "localhost:8501", **headers}.items()]
    scope = {"type": kind, "path": path, "query_string": query.encode(), "method": method, "headers": given}
    asyncio.run(guard(scope, receive, send))
    if kind == "websocket" and sent[0]["type"] == "websocket.close":
        return sent[0]["code"], {}, b""
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"]


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setattr(gate, "GUESS_S", 0.0)
    return Gate(_page, token=SECRET, password="open sesame", port=8501, hosts=["localhost", "127.0.0.1"])


def test_nothing_is_answered_without_a_secret(guard: Gate) -> None:
    for path in ("/", "/train", "/_stcore/stream", "/_stcore/media/x", "/static/x.js"):
        status, _, body = asked(guard, path)
        assert status == 401 and b"the page" not in body and b"<form" in body
        assert asked(guard, path, kind="websocket")[0] == 1008
        assert asked(guard, path, query="token=wrong")[0] == 401
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert asked(guard, "/_stcore/upload_file/a/b", method=method)[0] == 403
    assert asked(guard, "/_stcore/health")[2] == b"the page"  # says that it runs, and nothing else


def test_the_token_of_the_url_becomes_a_cookie(guard: Gate) -> None:
    status, headers, _ = asked(guard, "/train", query=f"view=watch&token={SECRET}")
    assert status == 303 and headers["location"] == "?view=watch"
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=Lax" in headers["set-cookie"]
    assert SECRET not in headers["set-cookie"] and headers["referrer-policy"] == "no-referrer"
    cookie = headers["set-cookie"].partition(";")[0]
    assert asked(guard, "/train", cookie=f"other=1; {cookie}")[2] == b"the page"
    assert asked(guard, kind="websocket", cookie=cookie)[0] == 200  # passed on
    assert asked(guard, cookie=cookie[:-1] + "0" * (cookie[-1] != "0"))[0] == 401
    other = Gate(_page, token=f"{SECRET}2", port=8501)
    assert asked(other, cookie=cookie)[0] == 401
    assert asked(guard, "/user/ada/studio/", query=f"token={SECRET}")[1]["location"] == "./"


@pytest.mark.parametrize("secret", ["open+sesame", SECRET])
def test_the_form_takes_the_password_or_the_token(secret: str, guard: Gate) -> None:
    assert asked(guard, method="POST", body=f"secret={secret}".encode())[0] == 303
    for wrong in (b"secret=", b"secret=x", b"", b"secret=open+sesame" + bytes(5000), b"\xff=\xff"):
        status, _, body = asked(guard, method="POST", body=wrong)
        assert status == 401 and b"Wrong" in body
    assert asked(Gate(_page, token=SECRET), method="POST", body=b"secret=")[0] == 401  # no password is no password


def test_guesses_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    at_once = 0

    async def sleep(seconds: float, real: Any = asyncio.sleep) -> None:
        nonlocal at_once
        at_once += 1
        assert at_once == 1, "two guesses were answered at the same time"
        waits.append(seconds)
        await real(0)
        at_once -= 1

    monkeypatch.setattr(asyncio, "sleep", sleep)
    guard = Gate(_page, token=SECRET, password="open sesame")

    async def several() -> list[bool]:
        return await asyncio.gather(*(guard._knows(f"guess {number}") for number in range(5)))

    assert asyncio.run(several()) == [False] * 5 and waits == [gate.GUESS_S] * 5 and gate.GUESS_S >= 1


def test_another_host_is_refused_even_with_the_cookie(guard: Gate) -> None:
    cookie = asked(guard, query=f"token={SECRET}")[1]["set-cookie"].partition(";")[0]
    for host in ("evil.example", "evil.example:8501", "", "localhost.evil.example", "[::"):
        assert asked(guard, host=host, cookie=cookie)[0] == 403
        assert asked(guard, "/_stcore/health", host=host)[0] == 403
        assert asked(guard, host=host, cookie=cookie, kind="websocket")[0] == 1008
    assert asked(guard, host="127.0.0.1:1", cookie=cookie)[0] == 200


# ------------------------------------------------------------------------------------------------- the real server
@contextlib.contextmanager
def studio(work: Path) -> Iterator[int]:
    """Run the studio until it answers; yield its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "housetrain", "studio", "--no-browser", "--port", str(port)],
        cwd=work, env={**os.environ, TOKEN: SECRET, PASSWORD: "open sesame"}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError):
                if got(port, "/_stcore/health")[0] == 200:
                    break
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def got(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_the_server_is_behind_the_gate_and_reads_no_settings_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text(
        '[server]\nallowedHosts = ["evil.example"]\nbaseUrlPath = "elsewhere"\nenableXsrfProtection = false\n'
        '[theme]\nfont = "serif"\n[client]\nshowErrorDetails = "full"\n'
    )
    with studio(tmp_path) as port:
        upgrade = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }  # fmt: skip
        assert got(port, "/")[0] == 401
        assert got(port, "/_stcore/stream", **upgrade)[0] == 403
        assert got(port, "/_stcore/upload_file/a/b", "PUT")[0] == 403
        status, headers, _ = got(port, f"/?token={SECRET}")
        assert status == 303
        cookie = headers["set-cookie"].partition(";")[0]
        assert b"<title>Streamlit</title>" in got(port, "/", Cookie=cookie)[2]
        assert got(port, "/", Cookie=cookie, Host="evil.example")[0] == 403


def test_no_child_gets_the_secrets_and_the_browser_a_file(tmp_path: Path) -> None:
    code = """
import os, sys
from streamlit import cli_util, config
from streamlit.web import cli
from housetrain.studio import server
opened = []
cli_util.open_browser = opened.append
def run(**options):
    assert not {"HOUSETRAIN_STUDIO_TOKEN", "HOUSETRAIN_STUDIO_PASSWORD"} & set(os.environ)
    assert config.get_config_files("config.toml") == []
    cli_util.open_browser("http://127.0.0.1:8501")
cli.main = run
server.main()
print(opened[0])
"""
    environment = {**os.environ, TOKEN: SECRET, PASSWORD: "open sesame"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout and done.stdout.startswith("file:")
    path = tmp_path / ".studio" / "open.html"
    assert f"token={SECRET}" in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
