"""bfloat16 against float32: validation losses of four CNNs of the grid over five seeds.

    python benchmarks/precision.py [--count 2000] [--epochs 4] [--seeds 5] [--all]

A sweep with ``precision`` as an additional axis: the same images, order and initial weights for both. It uses fewer
images and epochs than the tutorials, so that forty trainings take two minutes; ``--all`` uses all images and ten
epochs.

Expected: for each model the mean best validation loss differs by less than the spread (standard deviation) over the
seeds. The script fails otherwise.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from plain import some_of

from housetrain import Prepared, prepare
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.grid import Grid

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PRECISIONS = ("float32", "bfloat16")


def main() -> int:
    """Train them all, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="images")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="all images, 10 epochs")
    parser.add_argument("--images", type=Path, default=SHARED / "PetImages")
    parser.add_argument("--work", type=Path, default=Path("benchmark-precision"), help="where results are kept")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.all:
        options.epochs, folder = 10, options.work / "prepared"
        prepared = prepare(options.images, folder, image_size=50, color_mode="grayscale")
    else:
        prepared = some_of(options.images, options.work, count=options.count)
    return compare(prepared, options.work / f"sweep-{options.epochs}", epochs=options.epochs, seeds=options.seeds)


def compare(prepared: Prepared, folder: Path, *, epochs: int, seeds: int) -> int:
    """Print a line for each net. Return 0 where all differences are smaller than the spread."""
    grid = Grid(conv=(2, 3), nodes=(32,), dense=(0, 1), precision=PRECISIONS, epochs=epochs, seeds=seeds)
    board = sweep(prepared, grid, folder)
    rows = {row.name: row for row in board.rows}
    print(f"{len(prepared.train)} train images, {epochs} epochs, {seeds} seeds; best validation loss")
    good = True
    for cell in sorted({name.partition("-precision")[0] for name in rows}):
        both = [rows[f"{cell}-precision-{precision}"] for precision in PRECISIONS]
        gap = both[1].val_loss - both[0].val_loss
        spread = math.sqrt(statistics.mean(row.spread**2 for row in both))
        good &= abs(gap) < spread
        times = both[0].seconds / both[1].seconds
        print(
            f"{cell:26s} float32 {both[0].val_loss:.4f}   bfloat16 {both[1].val_loss:.4f}   "
            f"difference {gap:+.4f}   spread {spread:.4f}   {times:.2f}x as fast"
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
