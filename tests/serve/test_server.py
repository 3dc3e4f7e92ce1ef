"""The life of a server: who may ask, overload, a killed decoder, a changed bundle, SIGTERM."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serve.servers import Running, running
from small_run import Housetrain, Tiny

import housetrain as ht
from housetrain.inference import verify
from housetrain.serve import server as serve_module
from housetrain.system import store


def with_classes(bundle: Path, *names: str) -> Path:
    """Return the bundle with other names of its classes, as an export of another training replaces it."""
    about = {**store.read_json(bundle / verify.ABOUT), "classes": list(names)}
    with store.commit_folder(bundle.parent, bundle.name) as inside:
        for path in bundle.iterdir():
            if path.name not in (store.MANIFEST, verify.ABOUT):
                (inside / path.name).write_bytes(path.read_bytes())
        store.write_json_atomic(inside / verify.ABOUT, about)
    return bundle


def test_another_address_needs_a_token_and_asks_for_it(
    tiny: Tiny, housetrain: Housetrain, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = housetrain("serve", tiny.run, "--address", "0.0.0.0", "--port", 0)
    assert refused.returncode == 2 and "HOUSETRAIN_SERVE_TOKEN" in refused.stderr
    environment = {"HOUSETRAIN_SERVE_TOKEN": "a secret of ours"}
    with running(tiny.run, environment=environment, access={"address": "0.0.0.0"}) as server:
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a secret of ours"}):
            answer = server.predict(photo, **header)
            assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        assert server.ask("/v1/models").status == server.ask("/metrics").status == server.ask("/docs").status == 401
        assert server.ask("/healthz").status == 200
        assert server.predict(photo, Authorization="Bearer a secret of ours").status == 200
        address = f"http://127.0.0.1:{server.port}"
        path = next(tiny.images.rglob("*.png"))
        answered = housetrain("predict", address, path, "--json", environment=environment)
        assert json.loads(answered.stdout) == next(ht.predict(tiny.run, path)).to_json()
        unknown = housetrain("predict", address, path)
        assert unknown.returncode == 2 and "HOUSETRAIN_SERVE_TOKEN" in unknown.stderr


def test_overload_is_answered_at_once_and_nothing_is_lost(tiny: Tiny, slow_image: bytes, photo: bytes) -> None:
    with running(tiny.run, queue=4) as server, ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(server.predict, [slow_image] * 2 + [photo] * 150))
        statuses = {answer.status for answer in answers}
        assert statuses == {200, 503}, "each of the 152 requests has an answer"
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status == 503)
        assert server.counted("housetrain_queue_images") == 0
        assert server.predict(photo).status == 200


def test_a_killed_decoder_costs_no_request(tiny: Tiny, slow_image: bytes, photo: bytes) -> None:
    with running(tiny.run) as server, ThreadPoolExecutor(2) as clients:
        answers = [clients.submit(server.predict, slow_image) for _ in range(2)]
        server.wait_for(lambda: server.counted("housetrain_queue_images") == len(server.children()) == 2)
        killed = server.children()
        for child in killed:
            os.kill(child, signal.SIGKILL)
        assert [answer.result().status for answer in answers] == [200, 200]
        assert not set(killed) & set(server.children()) and server.predict(photo).status == 200


def test_sigterm_finishes_what_has_begun(tiny: Tiny, slow_image: bytes) -> None:
    with running(tiny.run) as server, ThreadPoolExecutor(1) as clients:
        idle = http.client.HTTPConnection("127.0.0.1", server.port)
        idle.request("GET", "/healthz")
        idle.getresponse().read()  # a client that keeps its connection open delays nothing
        answer = clients.submit(server.predict, slow_image)
        server.wait_for(lambda: server.counted("housetrain_queue_images") == 1)
        server.process.send_signal(signal.SIGTERM)
        assert answer.result().status == 200
        assert server.process.wait(30) == 0
        with pytest.raises(OSError):
            server.ask("/healthz")
        idle.close()


def test_a_changed_bundle_is_served_without_losing_a_request(small_bundle: Path, photo: bytes) -> None:
    seen: list[tuple[int, Any]] = []
    stop = threading.Event()
    with running(small_bundle) as server, ThreadPoolExecutor(4) as clients:

        def ask() -> None:
            while not stop.is_set():
                answer = server.predict(photo)
                seen.append((answer.status, answer.json.get("predictions", [{}])[0].get("label")))

        asking = [clients.submit(ask) for _ in range(4)]
        try:
            server.wait_for(lambda: len(seen) > 20)
            with_classes(small_bundle, "Katzen", "Hunde")
            server.wait_for(lambda: seen[-1][1] in ("Katzen", "Hunde"))
            (small_bundle / "golden.npz").write_bytes(b"damaged")
            server.wait_for(lambda: any("not served" in line for line in server.log))
            begin = len(seen)
            server.wait_for(lambda: len(seen) > begin + 20)
        finally:
            stop.set()
        for one in asking:
            one.result()
        assert {status for status, _ in seen} == {200}
        assert {label for _, label in seen[-10:]} <= {"Katzen", "Hunde"}, "the damaged bundle does not replace it"
        assert server.counted("housetrain_reloads_total") == 2


def test_several_bundles_in_one_process(tiny: Tiny, small_bundle: Path, photo: bytes) -> None:
    with_classes(small_bundle, "Katzen", "Hunde")
    with running(tiny.run, f"german={small_bundle}") as server:
        assert [one["name"] for one in server.ask("/v1/models").json["models"]] == ["run", "german"]
        default, other = server.predict(photo).json, server.predict(photo, "?model=german").json
        assert (default["model"], other["model"]) == ("run", "german")
        assert other["predictions"][0]["label"] in ("Katzen", "Hunde")
        assert other["predictions"][0]["probability"] == default["predictions"][0]["probability"]


def test_the_command_starts_says_where_and_stops(tiny: Tiny) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "housetrain",
        "serve",
        str(tiny.run),
        "--port",
        "0",
        "--max-megapixels",
        "0.01",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline() + process.stderr.readline()
        found = re.search(r"Serving +run \(.*\)\nAddress +http://127\.0\.0\.1:(\d+) ", said)
        assert found is not None, said
        server = Running(process, int(found[1]), [])
        path = next(tiny.images.rglob("*.png"))
        assert server.predict(path.read_bytes()).status == 200
        from hostile import jpeg

        refused = server.predict(jpeg(120, 160))
        assert refused.status == 422 and "too many pixels (160x120" in refused.json["error"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0 and "Traceback" not in process.stderr.read()


def test_what_cannot_be_served_is_one_line(housetrain: Housetrain, tiny: Tiny, tmp_path: Path) -> None:
    for words in (["nothing"], [tiny.run, tiny.run], [tiny.run, "--address", "everywhere"]):
        done = housetrain("serve", *words, "--port", 0)
        assert done.returncode == 2 and done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "work" / "nothing").exists()


def test_missing_libraries_are_named(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "_PACKAGES", ("no_such_package",))
    with pytest.raises(ht.HousetrainError, match=r"Serving requires an optional library.*extra='serve'"):
        serve_module.serve([str(tiny.run)])


def test_memory_is_given_back(server: Running, photo: bytes) -> None:
    """Requests leave nothing behind in the server: its pool forgets what it decoded."""
    import psutil

    process = psutil.Process(server.process.pid)
    body = photo + bytes(500_000)  # what follows a JPEG is ignored

    def ask(count: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for _ in range(count):
            connection.request("POST", "/v1/predict", body)
            assert connection.getresponse().read()
        connection.close()

    ask(50)
    before = process.memory_info().rss
    ask(150)
    assert process.memory_info().rss - before < 30e6, "75 MB passed through"
