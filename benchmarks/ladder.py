"""`run` choosing by itself against each single way, on the same split: it may not be significantly worse than either.

    python benchmarks/ladder.py --work /tmp/ladder photos PetImages-800 mnist-2000 tiles=drawn

A folder holds class folders; ``NAME=drawn`` draws 1,350 gray tiles of six classes, 952 to 32 images each. Each way is
`housetrain run` as a person starts it: ``auto``, ``best`` (from scratch) and ``efficientnet-lite0`` (frozen). Seconds
are those of training; on a busy machine only accuracies compare. The benchmark fails (exit code 1) where the exact test
of McNemar says that ``auto`` is worse than the better of the others (p below 0.05), or ends below the majority class.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WAYS = ("auto", "best", "efficientnet-lite0")
TILES = {"free": 952, "blowhole": 180, "crack": 90, "uneven": 60, "fray": 36, "break": 32}


def tile(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return a gray tile with texture and, except for ``free``, one defect at a random place: uint8 (H, W)."""
    import cv2

    height, width = rng.integers(110, 220, 2)
    pixels = np.full((height, width), rng.uniform(70, 150))
    for sigma in (1, 3, 9, 31):
        pixels += cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), sigma) * sigma * rng.uniform(3, 7)
    x, y = int(rng.uniform(0.2, 0.8) * width), int(rng.uniform(0.2, 0.8) * height)
    mask, angle = np.zeros((height, width), np.float32), rng.uniform(0, 360)
    blur, strength = 1.0, np.full((height, width), -50.0)
    if kind == "blowhole":
        cv2.circle(mask, (x, y), int(rng.integers(3, 6)), 1, -1)
    elif kind == "crack":
        turns = np.cumsum(rng.normal(0, 0.4, 12))
        steps = np.cumsum(5 * np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0)
        cv2.polylines(mask, [np.int32(steps + np.array([x, y]))], False, 1, 1)
    elif kind == "uneven":
        cv2.ellipse(mask, (x, y), (int(width * 0.3), int(height * 0.2)), angle, 0, 360, 1, -1)
        blur = 12.0
    elif kind == "fray":
        cv2.ellipse(mask, (x, y), (20, 12), angle, 0, 360, 1, -1)
        blur, strength = 3.0, rng.normal(0, 28, (height, width))
    elif kind == "break":
        cv2.fillPoly(mask, [np.int32([[0, 0], [rng.integers(25, 50), 0], [12, 15], [0, rng.integers(25, 50)]])], 1)
    return np.clip(pixels + cv2.GaussianBlur(mask, (0, 0), blur) * strength, 0, 255).astype(np.uint8)


def draw(folder: Path) -> Path:
    """Draw the tiles, once, and return their folder."""
    import cv2

    rng = np.random.default_rng(0)
    for kind, count in TILES.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            cv2.imwrite(str(folder / kind / f"{number:04d}.png"), tile(kind, rng))
    return folder


def main() -> int:
    """Run every way on every folder, print the table, and return the exit code."""
    import housetrain as ht
    from housetrain.evaluation.statistics import mcnemar

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    worse = []
    print(f"{'images':<16}{'way':<20}{'test':>8}{'n':>6}{'majority':>10}{'seconds':>9}  chosen")
    for given in args.folders:
        name, _, kind = given.partition("=")
        folder = draw(args.work / "drawn" / name) if kind == "drawn" else Path(given)
        correct: dict[str, dict[str, bool]] = {}
        for way in WAYS:
            place = args.work / folder.name / way
            recipe = None if way == "auto" else ht.Recipe.of(way)
            found = ht.run(folder, place, recipe=recipe, prepared=place.with_name(f"{way}-prepared"))
            rows = found.evaluation.rows
            correct[way] = {row.path: row.predicted == row.label for row in rows}
            seconds = sum(row.seconds for row in found.stages) or (found.run.result or {})["seconds"]
            chosen = next((row.name for row in found.stages if row.best), "")
            baseline = found.evaluation.baseline.accuracy
            accuracy = found.evaluation.accuracy
            print(f"{folder.name:<16}{way:<20}{accuracy:>8.1%}{len(rows):>6}{baseline:>10.1%}{seconds:>9.0f}  {chosen}")
            if way == "auto" and accuracy <= baseline:
                worse.append(f"{folder.name}: below the majority class")
        better = max(WAYS[1:], key=lambda way: sum(correct[way].values()))
        pairs = [(correct["auto"][path], value) for path, value in correct[better].items()]
        lost, gained = pairs.count((False, True)), pairs.count((True, False))
        p = mcnemar(gained, lost)
        print(f"{'':<16}auto against {better}: {gained} gained, {lost} lost, p = {p:.3f}", flush=True)
        if lost > gained and p < 0.05:
            worse.append(f"{folder.name}: worse than {better}")
    print("; ".join(worse) or "auto is nowhere significantly worse")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
