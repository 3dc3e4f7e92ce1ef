"""Learning curve: accuracy of the tutorials' CNN by the number of training images.

    python benchmarks/curve.py [--seeds 3] [--target 17500]

The model is the tutorials' 3-conv-64-nodes-0-dense on grayscale 50x50 cats and dogs: Adam, batches of 32, 10 epochs,
the epoch with the lowest validation loss; all trainings share the same validation images, 30 %. A straight line
through the logarithms of the number of images and of the error (and of the loss) is extrapolated to ``--target``, by
default the 70 % of the 25,000 images that the tutorials train on. Learning curves follow such lines over wide ranges
(Hestness et al. 2017, arXiv:1712.00409) until they approach the irreducible error, so the true result may be worse.

The interval is a bootstrap: 2.5 to 97.5 % of 2,000 resamples of the results.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from train import BATCH, CELL, EPOCHS, SHARED, arrays

from housetrain import Prepared, Recipe, prepare, train
from housetrain.data.split_manifest import SplitManifest
from housetrain.system import store

DRAWN = 2000


def part(whole: Prepared, count: int, work: Path) -> Prepared:
    """Return the same validation images with ``count`` of the training images, in ``work``."""
    split = whole.split
    kept = [*split.of("train")[:count], *split.of("validation"), *split.of("test")]  # in the order of their sha256
    fewer = SplitManifest.of_rows(split.root, split.classes, rows=kept, options=split.options)
    return prepare(fewer, work / f"prepared-{count}-of-train", image_size=50, color_mode="grayscale")


def drawn_on(counts: np.ndarray, values: np.ndarray, target: int) -> float:
    """Return where the straight line through the logarithms is at ``target``."""
    slope, height = np.polyfit(np.log(counts), np.log(values), 1)
    return float(np.exp(height + slope * np.log(target)))


def interval(counts: np.ndarray, values: np.ndarray, target: int) -> tuple[float, float]:
    """Return the bootstrap interval of `drawn_on`: results resampled among those of the same number of images."""
    draw = np.random.default_rng(0)
    groups = [np.flatnonzero(counts == count) for count in np.unique(counts)]
    found = []
    for _ in range(DRAWN):
        chosen = np.concatenate([draw.choice(group, len(group)) for group in groups])
        found.append(drawn_on(counts[chosen], values[chosen], target))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def main() -> int:
    """Train, and print the curve and where it leads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target", type=int, default=17_500, help="number of training images to extrapolate to")
    parser.add_argument("--least", type=int, default=0, help="draw the line through parts of at least so many images")
    parser.add_argument("--images", type=Path, default=SHARED / "PetImages")
    parser.add_argument("--work", type=Path, default=Path("benchmark-curve"), help="where results are kept")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    kept = options.work / "curve.jsonl"
    whole = arrays(options.images, options.work)
    total = len(whole.train.labels)
    done = {(line["count"], line["seed"]) for line in store.read_lines(kept)}
    for count in (total // 8, total // 4, total // 2, total):
        prepared = part(whole, count, options.work)
        for seed in range(options.seeds):
            if (count, seed) in done:
                continue
            recipe = Recipe.of("cnn", **CELL, epochs=EPOCHS, batch_size=BATCH, seed=seed)
            with tempfile.TemporaryDirectory() as scratch:
                best = min(train(prepared, recipe, Path(scratch) / "run").history, key=lambda row: row["val_loss"])
            line = {"count": count, "seed": seed, **{key: best[key] for key in ("val_loss", "val_accuracy", "epoch")}}
            store.append_line(kept, line)
            print(line)
    lines = store.read_lines(kept)
    counts = np.array([line["count"] for line in lines])
    for count in np.unique(counts):
        of = [line for line in lines if line["count"] == count]
        means = [np.mean([line[key] for line in of]) for key in ("val_accuracy", "val_loss")]
        print(f"{count:6d} images, {len(of)} seeds: accuracy {means[0]:.4f}, val_loss {means[1]:.4f}")
    lines = [line for line in lines if line["count"] >= options.least]
    counts = np.array([line["count"] for line in lines])
    for name, values in (
        ("error", np.array([1 - line["val_accuracy"] for line in lines])),
        ("val_loss", np.array([line["val_loss"] for line in lines])),
    ):
        low, high = interval(counts, values, options.target)
        at = drawn_on(counts, values, options.target)
        print(f"{options.target:6d} images: {name} {at:.4f} ({low:.4f} to {high:.4f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
