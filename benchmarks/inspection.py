"""Solar cells in electroluminescence: test accuracy of `run` in a given time, on images that ImageNet does not know.

    pip install --no-deps --target W/package elpv-dataset
    python benchmarks/inspection.py W/package/elpv_dataset/data --work W [--time-limit 2m] [--seeds 3] [--neighbors]

The 2,624 cells of the package are CC BY-NC-SA 4.0 (Buerhop-Lutz et al. 2018; Deitsch et al. 2019 and 2021); they are
linked into two class folders: defective where the probability is above 0.5, else intact. Each seed is another split:
25 % of the images are the test, 15 % validation. The command is `housetrain run` in a process of its own, and its
seconds are all that a person waits. Published on a random 75/25 split (Deitsch et al. 2019): 82.4 % for hand-made
features and a support vector machine, 88.4 % for VGG-19 fine-tuned on a GPU. ``--neighbors`` keeps every hundred
neighboring cells on one side: the honest figure, because cells of one module look alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PUBLISHED = {"features and SVM": 0.824, "VGG-19, fine-tuned on a GPU": 0.884}


def class_folders(package: Path, target: Path) -> Path:
    """Link the cells into ``target/defective`` and ``target/intact``, and return ``target``."""
    for line in (package / "labels.csv").read_text().splitlines():
        path, probability, _ = line.split()
        place = target / ("defective" if float(probability) > 0.5 else "intact") / Path(path).name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            os.link(package / path, place)
    return target


def main() -> int:
    """Run every seed, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--time-limit", default="")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--neighbors", action="store_true")
    parser.add_argument("--at-least", type=float, default=0.0, help="Fail below this mean accuracy.")
    args = parser.parse_args()
    cells, found = class_folders(args.package, args.work / "cells"), []
    for seed in range(args.seeds):
        place = args.work / f"{args.time_limit or 'default'}{'-neighbors' if args.neighbors else ''}-{seed}"
        groups = ["--group-by", r"cell(\d\d)\d\d"] if args.neighbors else []
        limit = ["--time-limit", args.time_limit] if args.time_limit else []
        start = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "housetrain", "run", cells, "--output", place, "--prepared", f"{place}-prepared",
             "--seed", str(seed), "--test-split", "0.25", "--validation-split", "0.15",
             "--keep-duplicates-together", "none", "--quiet", *limit, *groups],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.monotonic() - start
        test = json.loads((place / "evaluation" / "evaluation.json").read_text())
        stages = json.loads((place / "stages.json").read_text())["rows"]
        found.append(test["accuracy"])
        print(f"seed {seed}: {test['accuracy']:.1%} of {test['n']} test images in {seconds:.0f} s", flush=True)
        for row in stages:
            mark = " selected" if row["best"] else ""
            print(f"    {row['name']:<18}{row['seconds']:>6.0f} s  val_loss {row['val_loss']:.4f}  "
                  f"{row['val_accuracy']:.1%}{mark}", flush=True)  # fmt: skip
    mean = statistics.mean(found)
    print(f"mean {mean:.1%}, spread {min(found):.1%} to {max(found):.1%}; published "
          + ", ".join(f"{accuracy:.1%} ({name})" for name, accuracy in PUBLISHED.items()))  # fmt: skip
    return 0 if mean >= args.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
