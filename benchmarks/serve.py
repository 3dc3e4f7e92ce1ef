"""Serving against the plain way in the same run: throughput, latency, overload, memory, start.

    python benchmarks/serve.py --run RUN --images FOLDER [--seconds 10] [--clients 1 8 64] [--minutes 0]

`housetrain serve RUN` answers single images over loopback, from clients that each keep one request open, in another
process. The plain way is FastAPI with Keras' `model.predict` in the handler, in both usual forms (`async def`, or in a
thread pool); the faster one counts. Bulk is `Predictor.predict_many` on the same images.

* every answer of the server has the label of `Predictor.predict_many`, and its probability to `--tolerance`;
* accuracy equals that of the plain way within 1 %;
* at four times the clients that fill the queue, every request gets 200 or 503;
* memory over the overload, of the server and of its children; `--minutes 10` makes that long.

Passes where the ratio to the plain way at 64 clients is at least 10 (or `--least 3` for a pretrained model).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import psutil

PLAIN = """
import io, sys, numpy as np, keras, uvicorn
from PIL import Image
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
model = keras.models.load_model(sys.argv[1])
height, width, channels = model.input_shape[1:]
app = FastAPI()

def classify(body):
    image = Image.open(io.BytesIO(body)).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BOX), "uint8")
    given = model.predict(pixels.reshape(1, height, width, channels), verbose=0)[0].tolist()
    return given if len(given) > 1 else [1 - given[0], given[0]]

@app.post("/v1/predict")
async def predict(request: Request):
    body = await request.body()
    return classify(body) if sys.argv[3] == "async" else await run_in_threadpool(classify, body)

@app.get("/readyz")
def ready(): return {}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
"""


class Load(NamedTuple):
    """What a number of clients saw."""

    per_s: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]
    answers: dict[int, Any]
    lost: int


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> tuple[int, bytes]:
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def _load(port: int, bodies: list[bytes], clients: int, seconds: float, pause_s: float) -> Load:
    times: list[float] = []
    statuses: Counter[int] = Counter()
    answers: dict[int, Any] = {}
    lost = turn = 0
    end = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal turn, lost
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            number, turn = turn % len(bodies), turn + 1
            begin = time.perf_counter()
            try:
                status, answer = await asyncio.wait_for(_ask(reader, writer, bodies[number]), 60)
            except (OSError, EOFError, TimeoutError):
                lost += 1
                return
            statuses[status] += 1
            if status == 200:
                times.append(time.perf_counter() - begin)
                answers.setdefault(number, answer)
            else:
                await asyncio.sleep(pause_s)
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    took = time.perf_counter() - begin
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
    return Load(
        len(times) / took, 1000 * statistics.median(times), 1000 * cuts[98], dict(statuses),
        {number: json.loads(answer) for number, answer in answers.items()}, lost,
    )  # fmt: skip


def load(port: int, bodies: list[bytes], clients: int, seconds: float, *, pause_s: float = 0.1) -> Load:
    return asyncio.run(_load(port, bodies, clients, seconds, pause_s))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], port: int, body: bytes) -> Iterator[tuple[psutil.Process, float]]:
    """Run a server; yield its process, and the seconds from start to its first answer."""
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    if load_once(port, body) == 200:
                        break
                except OSError:
                    assert process.poll() is None, "the server ended"
                time.sleep(0.01)
            yield psutil.Process(process.pid), time.perf_counter() - begin
        finally:
            process.terminate()


def load_once(port: int, body: bytes) -> int:
    async def once() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        status, _ = await _ask(reader, writer, body)
        writer.close()
        return status

    return asyncio.run(once())


def memory_mb(process: psutil.Process) -> tuple[float, float]:
    """Return the resident memory of a process, and of its children."""
    children = sum(child.memory_info().rss for child in process.children())
    return process.memory_info().rss / 1e6, children / 1e6


def serving(run: Path, port: int, *options: str) -> list[str]:
    return [sys.executable, "-P", "-m", "housetrain", "serve", str(run), "--port", str(port), *options]


def bulk(run: Path, paths: list[Path]) -> tuple[float, list[tuple[str, float]]]:
    """Return images per second of one call of `predict_many`, and its predictions."""
    from housetrain import Predictor

    with Predictor.load(run) as predictor:
        list(predictor.predict_many(paths[:200]))
        begin = time.perf_counter()
        found = list(predictor.predict_many(paths))
        took = time.perf_counter() - begin
    return len(paths) / took, [(one.label, one.probability) for one in found]


def row(name: str, clients: int, found: Load) -> None:
    print(f"| {name} | {clients} | {found.per_s:,.0f} | {found.p50_ms:.1f} | {found.p99_ms:.1f} |", flush=True)


def overload(run: Path, bodies: list[bytes], seconds: float) -> None:
    """Four times the clients that fill a queue of 64: nothing is lost, and memory stays."""
    port = free_port()
    with server(serving(run, port, "--queue", "64"), port, bodies[0]) as (process, _):
        load(port, bodies, 256, 5)
        rounds = []
        for part in range(6):
            found = load(port, bodies, 256, seconds / 6, pause_s=0.01)
            assert not found.lost and set(found.statuses) <= {200, 503}, (found.lost, found.statuses)
            rounds.append((*memory_mb(process), found.statuses))
            print(f"overload {part + 1}/6: {rounds[-1][0]:.0f} + {rounds[-1][1]:.0f} MB, {found.statuses}", flush=True)
        print(f"memory grew by {rounds[-1][0] - rounds[0][0]:+.1f} MB in {seconds:.0f} s; every request was answered")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="class folders")
    parser.add_argument("--most", type=int, default=1000, help="images")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--minutes", type=float, default=0.5, help="of overload")
    parser.add_argument("--least", type=float, default=10, help="ratio to the plain way at the most clients")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of a probability: bfloat16 needs 0.02")
    options = parser.parse_args()
    every = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    paths = [path for path in every[:: max(1, len(every) // options.most)] if path.stat().st_size][: options.most]
    bulk_per_s, wanted = bulk(options.run, paths)
    good = [at for at, (label, _) in enumerate(wanted) if label]
    paths, wanted = [paths[at] for at in good], [wanted[at] for at in good]
    bodies, names = [path.read_bytes() for path in paths], sorted({path.parent.name for path in every})

    ours, starts = {}, []
    port = free_port()
    for _ in range(3):
        with server(serving(options.run, port), port, bodies[0]) as (_, start):
            starts.append(start)
    print(
        f"start to first answer: {', '.join(f'{start:.2f}' for start in starts)} s; bulk {bulk_per_s:,.0f} images/s\n"
    )
    print("| server | clients | requests/s | p50 ms | p99 ms |\n| --- | --- | --- | --- | --- |")
    with server(serving(options.run, port), port, bodies[0]):
        load(port, bodies, max(options.clients), 2)
        for clients in options.clients:
            ours[clients] = load(port, bodies, clients, options.seconds)
            row("housetrain", clients, ours[clients])
    plain: dict[str, dict[int, Load]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        (script := Path(scratch, "plain.py")).write_text(PLAIN)
        for way in ("async", "threads"):
            port = free_port()
            command = [sys.executable, str(script), str(options.run / "model.keras"), str(port), way]
            with server(command, port, bodies[0]):
                for clients in options.clients:
                    plain.setdefault(way, {})[clients] = load(port, bodies, clients, options.seconds)
                    row(f"plain, {way}", clients, plain[way][clients])

    for found in ours.values():
        for number, answer in found.answers.items():
            one, (label, probability) = answer["predictions"][0], wanted[number]
            assert one["label"] == label and abs(one["probability"] - probability) < options.tolerance, (
                one,
                wanted[number],
            )
    given = {
        number: names[max(range(len(answer)), key=answer.__getitem__)]
        for way in plain.values()
        for found in way.values()
        for number, answer in found.answers.items()
    }
    true = {number: paths[number].parent.name for number in given}
    accuracy = sum(wanted[number][0] == true[number] for number in given) / len(given)
    plain_accuracy = sum(label == true[number] for number, label in given.items()) / len(given)
    most = max(options.clients)
    ratio = ours[most].per_s / max(way[most].per_s for way in plain.values())
    print(f"\naccuracy {accuracy:.4f}, plain {plain_accuracy:.4f} ({len(given)} images that both classified)")
    print(f"at {most} clients: {ratio:.1f} x plain, {ours[most].per_s / bulk_per_s:.2f} of bulk")
    overload(options.run, bodies, 60 * options.minutes)
    assert abs(accuracy - plain_accuracy) <= 0.01
    assert ratio >= options.least, ratio


if __name__ == "__main__":
    main()
