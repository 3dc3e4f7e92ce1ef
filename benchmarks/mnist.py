"""The MNIST quickstart against plain Keras code of the same model: same images, same split, same run.

    python benchmarks/mnist.py [--mnist FOLDER] [--fashion FOLDER] [--seeds 5] [--work FOLDER]

Both train Flatten, Dense 128, Dense 128, softmax with Adam and batches of 32 for 3 epochs on the same training
images, validate on the same images after each epoch, and are tested on the same test images, once per seed.
housetrain passes if its mean test accuracy is at least that of plain Keras less one standard error of the difference
over the seeds (Welch); mean and spread of both are printed. Times are those of the epochs alone (no imports, no
preparation) and of the whole call.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import housetrain as ht

EPOCHS = 3


def plain(prepared: ht.Prepared, seed: int, *, with_validation: bool = False) -> tuple[float, float]:
    """Train as the quickstart does. Return test accuracy and seconds of ``fit``.

    Args:
        prepared: For its arrays; they are copied into memory first, as the quickstart has them.
        seed: Of Keras' global generators.
        with_validation: Train on the validation images, too, and look at none in between.
    """
    import keras

    keras.utils.set_random_seed(seed)
    arrays = {name: np.asarray(prepared.arrays(name).images) / 255.0 for name in ("train", "validation", "test")}
    labels = {name: np.asarray(prepared.arrays(name).labels) for name in arrays}
    model = keras.Sequential(
        [
            keras.layers.Input(prepared.spec.shape),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(len(prepared.classes), activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    begin = time.perf_counter()
    if with_validation:
        both = [np.concatenate([kind["train"], kind["validation"]]) for kind in (arrays, labels)]
        model.fit(*both, epochs=EPOCHS, verbose=0)
    else:
        seen = (arrays["validation"], labels["validation"])
        model.fit(arrays["train"], labels["train"], epochs=EPOCHS, validation_data=seen, verbose=0)
    seconds = time.perf_counter() - begin
    return float(model.evaluate(arrays["test"], labels["test"], verbose=0)[1]), seconds


def ours(prepared: ht.Prepared, seed: int, folder: Path) -> tuple[float, float, float]:
    """Train the preset. Return test accuracy, seconds of the epochs, seconds of everything."""
    begin = time.perf_counter()
    run = ht.train(prepared, ht.Recipe.of("mlp", epochs=EPOCHS, seed=seed), folder / f"mlp-{seed}")
    seconds = time.perf_counter() - begin
    return ht.evaluate(run).accuracy, sum(row["seconds"] for row in run.history), seconds


def compare(name: str, prepared: ht.Prepared, *, seeds: int, work: Path) -> bool:
    """Print one comparison. Return whether housetrain reaches plain Keras."""
    counts = {split: len(prepared.arrays(split).labels) for split in ("train", "validation", "test")}
    print(f"\n{name}: {counts['train']:,} train, {counts['validation']:,} validation, {counts['test']:,} test")
    rows: dict[str, list[tuple[float, ...]]] = {"plain": [], "all": [], "ours": []}
    plain(prepared, 0)  # the first training of a process pays for start-up: not part of either
    for seed in range(seeds):
        rows["plain"].append(plain(prepared, seed))
        rows["ours"].append(ours(prepared, seed, work / name))
        rows["all"].append(plain(prepared, seed, with_validation=True))
    mean = {key: [statistics.mean(column) for column in zip(*values, strict=True)] for key, values in rows.items()}
    spread = {key: statistics.stdev(row[0] for row in values) for key, values in rows.items()}
    line = "  {:26s} {:.4f} ± {:.4f}   epochs {:6.2f} s"
    print(line.format("plain Keras", mean["plain"][0], spread["plain"], mean["plain"][1]))
    print(
        line.format("housetrain", mean["ours"][0], spread["ours"], mean["ours"][1]) + f", all {mean['ours'][2]:.2f} s"
    )
    print(line.format("plain, nothing set aside", mean["all"][0], spread["all"], mean["all"][1]))
    error = math.sqrt((spread["plain"] ** 2 + spread["ours"] ** 2) / seeds)
    difference, ratio = mean["ours"][0] - mean["plain"][0], mean["plain"][1] / mean["ours"][1]
    passed = difference >= -error
    print(f"  difference {difference:+.4f}, standard error {error:.4f}: {'reached' if passed else 'NOT REACHED'}")
    print(f"  an epoch of plain Keras takes {ratio:.2f}x the time of one of housetrain")
    return passed


def main() -> int:
    """Compare on MNIST's 10,000 test digits (8,000 and 2,000) and on Fashion-MNIST (60,000 and 10,000)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data/mnist-t10k")
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="where to keep images and runs; by default a folder that is removed")
    options = parser.parse_args()
    passed = True
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        for name, source in (("mnist", options.mnist), ("fashion-mnist", options.fashion)):
            if not source.is_dir():
                print(f"\n{name}: left out, its files are not in {source}")
                continue
            images = ht.sample(name, work / "images" / name, source=source)
            # Fashion-MNIST comes with its own 10,000 test images; of the 10,000 digits 2,000 are set aside.
            test_per_class = 200 if name == "mnist" else None
            prepared = ht.prepare(
                images, work / "prepared" / name, image_size=28, validation_split=0.05, test_per_class=test_per_class
            )
            passed &= compare(name, prepared, seeds=options.seeds, work=work / "runs")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
