"""`housetrain sweep` against the tutorials' loop: 27 CNNs, the same images, split, epochs and batch size.

    python benchmarks/sweep.py plain --models 3   # the loop in plain Keras; repeat until all 27 are done
    python benchmarks/sweep.py sweep              # `housetrain sweep`, complete
    python benchmarks/sweep.py halving            # `housetrain sweep --halving`, complete
    python benchmarks/sweep.py report             # both wall times, their ratio, both winners

The plain loop takes most of an hour, so it can run model by model: the time of each is stored as a line of
``plain.jsonl``, and the wall time of the loop is their sum plus one import of TensorFlow. With ``--extrapolate-from
3``, a model is trained for three epochs and the time of the other seven is extrapolated from the last two; the report
says for how many. The time of a model includes what the tutorials' loop does for it: building, compiling and ``fit``
with a TensorBoard callback, with TensorFlow's default threads. The time of the sweep is that of the whole command.

Images: cats and dogs, grayscale 50x50, the split of `housetrain prepare` (70 % train, 15 % validation), 10 epochs,
batches of 32. Expected: the sweep is 4x as fast as the loop, with halving 10x, and the winners are equally good: the
best validation losses differ by less than their standard error. The script fails otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from plain import plain_training

from housetrain import Prepared
from housetrain.system import store

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
BATCH = 32
SWEEP_LEAST, HALVING_LEAST = 4.0, 10.0
Axes = dict[str, list[int]]
AXES: Axes = {"dense": [0, 1, 2], "nodes": [32, 64, 128], "conv": [1, 2, 3]}


# ------------------------------------------------------------------------------------------------- the tutorials' way
def plain(prepared: Prepared, work: Path, axes: Axes, *, models: int, epochs: int, trained: int) -> None:
    """Train the next ``models`` of the loop for ``trained`` of ``epochs`` epochs, and keep a line for each."""
    begin = time.perf_counter()
    import keras  # noqa: F401 - timed

    imported = time.perf_counter() - begin
    lines = work / "plain.jsonl"
    done = {line["name"] for line in store.read_lines(lines)}
    for dense, nodes, conv in itertools.product(axes["dense"], axes["nodes"], axes["conv"]):
        name = f"{conv}-conv-{nodes}-nodes-{dense}-dense"
        if name in done or not models:
            continue
        models -= 1
        found = plain_training(prepared, (dense, nodes, conv), work / "plain-logs" / name, epochs=trained, batch=BATCH)
        found["seconds"] += round((epochs - trained) * found["epoch_s"], 2)
        about = {"epochs": trained, "import_s": round(imported, 2), "load": round(os.getloadavg()[0], 2)}
        store.append_line(lines, {"name": name, **found, **about})
        print(f"{name:26s} {found['seconds']:7.1f} s   val_loss {found['val_loss']:.4f}")


# ------------------------------------------------------------------------------------------------- housetrain
def ours(prepared: Prepared, work: Path, axes: Axes, *, epochs: int, halving: bool) -> None:
    """Run the command, from nothing, and keep its wall time."""
    name = "halving" if halving else "sweep"
    shutil.rmtree(work / name, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "housetrain",
        "sweep",
        str(prepared.folder),
        "--output",
        str(work / name),
        "--quiet",
    ]
    for axis, values in axes.items():
        command += [f"--{axis}", ",".join(map(str, values))]
    command += ["--epochs", str(epochs), "--batch-size", str(BATCH), *(["--halving"] if halving else [])]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    store.write_json_atomic(
        work / f"{name}.json", {"seconds": round(seconds, 1), "commit": commit(), "load": round(os.getloadavg()[0], 2)}
    )
    print(f"housetrain {name}: {seconds:.0f} s")


def commit() -> str:
    """Return the commit of this checkout, with a + where files differ from it."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=9"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "unknown"


# ------------------------------------------------------------------------------------------------- the verdict
def report(work: Path, images: int, *, models: int, epochs: int) -> int:
    """Print what is known. Return 0 where all that was expected is so."""
    rows = store.read_lines(work / "plain.jsonl")
    if not rows:
        print("plain: not run yet")
        return 1
    whole = [row for row in rows if row.get("epochs", epochs) == epochs]
    best = min(whole or rows, key=lambda row: row["val_loss"])
    loop = sum(row["seconds"] for row in rows) + float(np.median([row["import_s"] for row in rows]))
    print(
        f"{images} train images, {epochs} epochs, batches of {BATCH}; {len(rows)} of {models} plain models"
        + (f", {len(rows) - len(whole)} of them by the time of fewer epochs" if len(whole) < len(rows) else "")
    )
    line = "{:20s} {:7.0f} s  {:5.1f}x   best {} val_loss {:.4f} accuracy {:.4f}"
    print(line.format("plain Keras loop", loop, 1.0, best["name"], best["val_loss"], best["val_accuracy"]))
    good = len(rows) == models
    for name, least in (("sweep", SWEEP_LEAST), ("halving", HALVING_LEAST)):
        if not (work / f"{name}.json").exists():
            print(f"{name}: not run yet")
            good = False
            continue
        took = store.read_json(work / f"{name}.json")
        board = store.read_json(work / name / "leaderboard.json")
        winner = board["rows"][0]
        ratio = loop / took["seconds"]
        words = line.format(
            f"housetrain {name}", took["seconds"], ratio, winner["name"], winner["val_loss"], winner["val_accuracy"]
        )
        print(f"{words}   ({took['commit']})")
        good &= ratio >= least
    if all((work / name / "leaderboard.json").exists() for name in ("sweep", "halving")):
        winner = store.read_json(work / "halving" / "leaderboard.json")["best"]
        row = next(row for row in store.read_json(work / "sweep" / "leaderboard.json")["rows"] if row["name"] == winner)
        print(
            f"the winner of halving is number {row['rank']} of the full grid, {row['behind']:.4f} behind its best "
            f"(standard error {row['behind_error']:.4f})"
        )
        good &= row["tied"]
    return 0 if good else 1


def main() -> int:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("plain", "sweep", "halving", "report"))
    parser.add_argument("--models", type=int, default=27, help="with plain: how many to train now")
    parser.add_argument(
        "--extrapolate-from", type=int, help="with plain: epochs to train; the time of the others is extrapolated"
    )
    parser.add_argument("--epochs", type=int, default=10, help="of both ways; less for a quick look")
    for axis, values in AXES.items():
        parser.add_argument(
            f"--{axis}", type=int, nargs="+", default=values, help="of both ways; fewer for a quick look"
        )
    parser.add_argument("--images", type=Path, default=SHARED / "PetImages")
    parser.add_argument("--work", type=Path, default=Path("benchmark-sweep"), help="where images and results are kept")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    folder = options.work / "prepared"
    if not (folder / "prepared.json").exists():
        from housetrain import prepare

        prepare(options.images, folder, image_size=50, color_mode="grayscale")
    prepared = Prepared.open(folder)
    axes = {axis: getattr(options, axis) for axis in AXES}
    if options.step == "plain":
        trained = options.extrapolate_from or options.epochs
        plain(prepared, options.work, axes, models=options.models, epochs=options.epochs, trained=trained)
    elif options.step in ("sweep", "halving"):
        ours(prepared, options.work, axes, epochs=options.epochs, halving=options.step == "halving")
    models = math.prod(len(values) for values in axes.values())
    return report(options.work, len(prepared.train.labels), models=models, epochs=options.epochs)


if __name__ == "__main__":
    sys.exit(main())
