"""One training by housetrain and by plain Keras: accuracy, images per second, and distance from the hardware limit.

    python benchmarks/train.py [--seeds 1]     # both, alternating, each in its own process
    python benchmarks/train.py --share         # fraction of a step spent inside oneDNN's primitives
    python benchmarks/train.py --lines 800 8000   # seconds and memory by the number of images

The model is the tutorials' 3-conv-64-nodes-0-dense on grayscale 50x50 cats and dogs: Adam, batches of 32, 10 epochs,
70 % of the images for training and 30 % for validation, as in the tutorials; all cores for both. Every result is
stored as a line of ``train.jsonl``, and the verdict covers all lines. Expected: housetrain's mean best validation
accuracy is at least that of plain Keras less one standard error of their difference, in less time.

The limit: oneDNN reports the time of each of its primitives (``ONEDNN_VERBOSE=profile_exec``), and the compiled
kernels of housetrain are timed as they are called; everything outside both is neither convolution, pooling nor
multiplication. One thread, as in a sweep. The goal is 0.8.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from plain import plain_training, some_of

from housetrain import Prepared, Recipe, prepare, train
from housetrain.sweeps.executors import worker_environment
from housetrain.system import store

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CELL = {"conv": 3, "nodes": 64, "dense": 0}
EPOCHS, BATCH = 10, 32
STEPS = 40


def arrays(images: Path, work: Path) -> Prepared:
    """Return the images, 70 % train and 30 % validation but for a few that housetrain keeps for a test."""
    folder = work / "prepared-70-30"
    if not (folder / "prepared.json").exists():
        prepare(images, folder, image_size=50, color_mode="grayscale", validation_split=0.295, test_split=0.005)
    return Prepared.open(folder)


def one(kind: str, seed: int, images: Path, work: Path) -> dict[str, float]:
    """Train once, in this process."""
    import keras  # noqa: F401 - its import is not part of either time

    prepared = arrays(images, work)
    with tempfile.TemporaryDirectory() as scratch:
        if kind == "plain":
            cell = (CELL["dense"], CELL["nodes"], CELL["conv"])
            return plain_training(prepared, cell, Path(scratch), epochs=EPOCHS, batch=BATCH, seed=seed)
        begin = time.perf_counter()
        run = train(prepared, Recipe.of("cnn", **CELL, epochs=EPOCHS, batch_size=BATCH, seed=seed), Path(scratch) / "r")
        seconds = time.perf_counter() - begin
        result = run.result or {}
        return {
            "seconds": round(seconds, 2),
            "images_per_s": round(EPOCHS * len(prepared.train.labels) / seconds, 1),
            "val_loss": result["val_loss"],
            "val_accuracy": result["val_accuracy"],
        }


def verdict(work: Path) -> int:
    """Print the means of all lines. Return 0 where housetrain is at least as good."""
    kinds = collections.defaultdict(list)
    for line in store.read_lines(work / "train.jsonl"):
        kinds[line["kind"]].append(line)
    if len(kinds) < 2:
        return 1
    mean = {}
    for kind, lines in kinds.items():
        mean[kind] = {key: statistics.mean(line[key] for line in lines) for key in ("seconds", "val_accuracy")}
        rate = statistics.median(line["images_per_s"] for line in lines)
        losses = statistics.mean(line["val_loss"] for line in lines)
        print(
            f"{kind:10s} {len(lines)} seeds   accuracy {mean[kind]['val_accuracy']:.4f}   val_loss {losses:.4f}   "
            f"{rate:,.0f} images/s"
        )
    spread = [
        statistics.stdev(line["val_accuracy"] for line in lines) / math.sqrt(len(lines)) if len(lines) > 1 else 0.0
        for lines in kinds.values()
    ]
    error, gap = math.hypot(*spread), mean["housetrain"]["val_accuracy"] - mean["plain"]["val_accuracy"]
    ratio = mean["plain"]["seconds"] / mean["housetrain"]["seconds"]
    passed = gap >= -error and ratio > 1
    print(f"accuracy differs by {gap:+.4f} (standard error {error:.4f}), {ratio:.2f}x as fast: {passed=}")
    return 0 if passed else 1


# ------------------------------------------------------------------------------------------------- the limit
def share(images: Path, work: Path) -> int:
    """Print what share of a training step oneDNN's primitives and the compiled steps take, by kind."""
    for precision in ("bfloat16", "float32"):
        command = [sys.executable, __file__, "--steps", precision, "--images", str(images), "--work", str(work)]
        timed = {}
        for verbose in ("none", "profile_exec"):  # without it for the time, with it for the parts
            env = {**worker_environment(os.environ), "ONEDNN_VERBOSE": verbose}
            said = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
            _, body, rest = said.split("MARK")
            timed[verbose] = float(rest.split()[0])
        kinds: collections.Counter[str] = collections.Counter()
        for line in body.splitlines():
            fields = line.split(",")
            if line.startswith("onednn_verbose") and "exec" in fields:
                at = fields.index("exec")
                kinds[f"{fields[at + 2]} {fields[at + 4]}"] += float(fields[-1]) / STEPS
            elif line.startswith("KERNEL"):
                kinds[f"compiled {fields[1]}"] += float(fields[2]) / STEPS
        inside = sum(kinds.values())
        print(
            f"{precision}: a step takes {timed['none']:.1f} ms ({timed['profile_exec']:.1f} while counted); "
            f"{inside:.1f} ms inside oneDNN and the compiled steps, a share of {inside / timed['profile_exec']:.2f}"
        )
        for kind, took in kinds.most_common(8):
            print(f"   {took:6.2f} ms  {kind}")
    return 0


def steps(precision: str, images: Path, work: Path) -> None:
    """Train some steps of the very net, between two marks on standard output."""
    from housetrain.system.backend import load_keras

    load_keras("a benchmark")
    from housetrain.kernels import Step, with_kernels
    from housetrain.models.build import build
    from housetrain.training.batches import Examples, Feed
    from housetrain.training.losses import loss_and_metrics
    from housetrain.training.optimizers import optimizer_of

    for name in ("forward", "gradients"):
        setattr(Step, name, timed_call(getattr(Step, name)))
    prepared = arrays(images, work)
    recipe = Recipe.of("cnn", **CELL)
    train, validation = (Examples(split.images, split.labels) for split in (prepared.train, prepared.validation))
    feed = Feed(train, validation, classes=2, weighted=True, batch_size=BATCH, seed=0)
    model = build(recipe, spec=prepared.spec, classes=prepared.classes, precision=precision)  # type: ignore[arg-type]
    model = with_kernels(model)
    loss, metrics = loss_and_metrics(2)
    optimizer = optimizer_of(recipe, steps_per_epoch=feed.steps)
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics, steps_per_execution=10)
    some = feed.train.take(STEPS)
    for _ in range(2):
        model.fit(some, verbose=0, shuffle=False)
    print("MARK", flush=True)
    begin = time.perf_counter()
    model.fit(some, verbose=0, shuffle=False)
    print(f"MARK {1000 * (time.perf_counter() - begin) / STEPS}", flush=True)


def timed_call(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` so that it prints how many milliseconds each call took."""

    def timed(*arguments: Any) -> Any:
        begin = time.perf_counter()
        result = function(*arguments)
        print(f"KERNEL,{function.__name__},{1000 * (time.perf_counter() - begin)}")
        return result

    return timed


# ------------------------------------------------------------------------------------------------- growth
def lines(counts: list[int], images: Path, work: Path) -> int:
    """Train three epochs on so many images, each in a process of its own; print seconds and the peak of memory."""
    found = {}
    for count in counts:
        command = [sys.executable, __file__, "--line", str(count), "--images", str(images), "--work", str(work)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[count] = json.loads(said.splitlines()[-1])
        print(f"{count:6d} images: {found[count]['seconds']:.1f} s, peak {found[count]['peak_mb']:.0f} MB")
    few, many = found[min(counts)], found[max(counts)]
    times = many["seconds"] / few["seconds"]
    print(f"{max(counts) / min(counts):.1f} times the images took {times:.2f} times the time")
    return 0 if times <= 1.05 * max(counts) / min(counts) and many["peak_mb"] <= 1.1 * few["peak_mb"] else 1


def line(count: int, images: Path, work: Path) -> None:
    """Train on ``count`` images in this process, and print what it took."""
    import resource

    prepared = some_of(images, work, count=count)
    with tempfile.TemporaryDirectory() as scratch:
        run = train(prepared, Recipe.of("cnn", **CELL, epochs=3), Path(scratch) / "run")
        seconds = sum(row["seconds"] for row in run.history)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to add")
    parser.add_argument("--share", action="store_true")
    parser.add_argument("--lines", type=int, nargs="+", default=[])
    parser.add_argument("--images", type=Path, default=SHARED / "PetImages")
    parser.add_argument("--work", type=Path, default=Path("benchmark-train"), help="where results are kept")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--steps", help=argparse.SUPPRESS)
    parser.add_argument("--line", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.one:
        print(json.dumps(one(options.one[0], int(options.one[1]), options.images, options.work)))
        return 0
    if options.steps:
        steps(options.steps, options.images, options.work)
        return 0
    if options.line:
        line(options.line, options.images, options.work)
        return 0
    arrays(options.images, options.work)
    if options.share:
        return share(options.images, options.work)
    if options.lines:
        return lines(options.lines, options.images, options.work)
    done = {row["seed"] for row in store.read_lines(options.work / "train.jsonl") if row["kind"] == "housetrain"}
    for seed in range(len(done), len(done) + options.seeds):
        for kind in ("plain", "housetrain"):
            command = [sys.executable, __file__, "--one", kind, str(seed)]
            places = ["--images", str(options.images), "--work", str(options.work)]
            said = subprocess.run([*command, *places], check=True, capture_output=True, text=True).stdout
            found = {"kind": kind, "seed": seed, **json.loads(said.splitlines()[-1])}
            store.append_line(options.work / "train.jsonl", found)
            print(found)
    return verdict(options.work)


if __name__ == "__main__":
    sys.exit(main())
