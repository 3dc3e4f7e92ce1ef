"""Real servers in processes of their own, and requests to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from typing import Any, NamedTuple

START = """
import sys, json
from housetrain.serve.limits import Limits
from housetrain.serve.server import Access, serve
options = json.loads(sys.argv[1])
serve(options["bundles"], access=Access(port=0, **options["access"]), limits=Limits(**options["limits"]), workers=2)
"""


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: list[str]) -> None:
        self.process, self.port, self.log = process, port, log

    def ask(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, method: str = "") -> Answer:
        """Send a request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def predict(self, body: Any, query: str = "", **headers: str) -> Answer:
        return self.ask(f"/v1/predict{query}", body, {name.replace("_", "-"): text for name, text in headers.items()})

    def raw(self, *parts: bytes, pause_s: float = 0.0) -> bytes:
        """Send bytes as they are, and return all that comes until the server closes, or nothing comes for long."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            with contextlib.suppress(OSError):
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause_s)
            with contextlib.suppress(OSError):
                while data := connection.recv(1 << 16):
                    received += data
        return received

    def children(self) -> list[int]:
        done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(word) for word in done.stdout.split()]

    def wait_for(self, true: Callable[[], bool], *, seconds: float = 60) -> None:
        limit = time.monotonic() + seconds
        while not true():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < limit, self.log
            time.sleep(0.05)

    def counted(self, name: str) -> float:
        """Return a number of /metrics: the sum over its labels."""
        lines = self.ask("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}(\{{|\s)", line))


@contextmanager
def running(
    *bundles: object,
    environment: Mapping[str, str] | None = None,
    access: Mapping[str, Any] | None = None,
    **limits: Any,
) -> Iterator[Running]:
    """Start a server on a free port, and stop it."""
    options = {"bundles": [str(one) for one in bundles], "access": dict(access or {}), "limits": limits}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", START, json.dumps(options)],
        env={**os.environ, **(environment or {})},
        stderr=subprocess.PIPE,
        text=True,
    )
    log: list[str] = []
    assert process.stderr is not None
    found = None
    while found is None and (line := process.stderr.readline()):
        log.append(line)
        found = re.search(r"Address +http://\S+?:(\d+) ", line)
    assert found is not None, log
    reader = threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True)
    reader.start()
    server = Running(process, int(found[1]), log)
    try:
        server.wait_for(lambda: server.ask("/readyz").status == 200)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            reader.join(10)
            process.stderr.close()
