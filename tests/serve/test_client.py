"""`housetrain predict http://...`: the same lines and tables as from a bundle."""

from __future__ import annotations

import csv
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serve.servers import Running
from small_run import Tiny

from housetrain.errors import HousetrainError
from housetrain.serve import client

Call = Callable[..., tuple[int, str, str]]
MODEL = {"name": "m", "classes": ["a", "b"], "engine": "e", "model_sha256": "0" * 64}
SPEC = {"height": 8, "width": 8, "color_mode": "rgb", "resize": "stretch", "background": [255, 255, 255]}


def test_the_same_output_as_from_the_bundle(server: Running, tiny: Tiny, call: Call, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{server.port}"
    (broken := tmp_path / "broken.jpg").write_bytes(b"no image")
    images = [tiny.images / "cats", broken]
    for options in ([], ["--top", "2"], ["--json"]):
        local, remote = call("predict", tiny.run, *images, *options), call("predict", address, *images, *options)
        assert remote == local and remote[0] == 1 and len(remote[1].splitlines()) == 25
    tables = []
    for model in (tiny.run, address):
        call("predict", model, *images, "--csv", tmp_path / "table.csv")
        tables.append(list(csv.reader((tmp_path / "table.csv").open())))
    assert tables[0] == tables[1] and len(tables[0]) == 26


def test_a_model_by_name(server: Running, tiny: Tiny, call: Call) -> None:
    path = next(tiny.images.rglob("*.png"))
    assert call("predict", f"http://127.0.0.1:{server.port}/?model=run", path)[0] == 0
    code, _, said = call("predict", f"http://127.0.0.1:{server.port}?model=other", path)
    assert code == 2 and "no such model" in said and "Expected: run" in said


@pytest.mark.parametrize("url", ["http://", "http://user:x@host", "http://host:x", "http://host?name=x"])
def test_what_is_no_address_is_told(url: str, call: Call) -> None:
    code, _, said = call("predict", url, __file__)
    assert code == 2 and "Invalid address" in said


def test_no_server_is_told(call: Call) -> None:
    code, _, said = call("predict", "http://127.0.0.1:9", __file__)
    assert code == 2 and "does not answer" in said and "housetrain serve" in said
    code, _, said = call("predict", "http://127.0.0.1:9", __file__, "--engine", "keras")
    assert code == 2 and "omit --engine" in said


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[str]:
    """A server that lists one model, and then gives these responses."""
    waiting = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200, {}, json.dumps({"models": [{**MODEL, "input": SPEC}]}).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*waiting.pop(0))

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, text in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    (path := tmp_path / "a.jpg").write_bytes(b"any")
    one = {"label": "a", "probability": 0.75, "top": [{"label": "a", "probability": 0.75}], "margin": 0.5}
    good = json.dumps({"predictions": [{**one, "unsure": True, "seen": None, "error": None}]}).encode()
    with answering((503, {"Retry-After": "0"}, b"{}"), (503, {"Retry-After": "0"}, b"{}"), (200, {}, good)) as url:
        (found,) = client.RemotePredictor(url).predict_many([path])
    assert (found.image, found.label, found.margin, found.unsure) == (str(path), "a", 0.5, True)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"predictions": [{}]}', b"[" * 100_000])
def test_another_server_is_recognized(body: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "a.jpg").write_bytes(b"any")
    with answering((200, {}, body)) as url, pytest.raises(HousetrainError, match="not one of housetrain"):
        list(client.RemotePredictor(url).predict_many([path]))


def test_what_the_server_refuses_is_the_reason_of_the_image(tmp_path: Path) -> None:
    (path := tmp_path / "a.jpg").write_bytes(b"any")
    with answering((413, {}, b'{"error": "too large"}'), (500, {}, b'{"error": "failed"}')) as url:
        remote = client.RemotePredictor(url)
        large, gone = remote.predict_many([path, tmp_path / "gone.jpg"])
        assert large.error == "too large" and gone.error is not None and "gone" not in gone.error
        with pytest.raises(HousetrainError, match="refuses"):
            list(remote.predict_many([path]))
