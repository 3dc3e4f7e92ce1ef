"""Copies planted among photographs: how many the search for near-duplicates finds, and what it finds without any.

In: folders of images. Out, by command:

copies: of each kind of copy of 500 images, the share that is in the group of its original, beside that of the
    perceptual hash of the package imagehash (`phash`: ten lines below) within 10 of 64 bits; and how many pairs of
    different images are in one group, which the originals alone may have, too.
augmented: of 150 images with eight saved augmentations each, the share that is in one group with its original.
pairs: every pair that is found in a folder as it is, and an image that shows them.
speed: the time of a scan with its search, alternating with that of another version.

    python benchmarks/duplicates.py copies PetImages photos
    python benchmarks/duplicates.py copies PetImages --skip 2000
    python benchmarks/duplicates.py augmented photos
    python benchmarks/duplicates.py pairs PetImages --sheet pairs.png
    python benchmarks/duplicates.py speed PetImages --other ../other-version/src
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.fft import dct

from housetrain.data.catalog import Catalog, scan
from housetrain.data.turned_shapes import turn_between

IMAGEHASH_BITS = 10
"""The most bits in which two perceptual hashes of imagehash may differ. Generous: it finds 28 pairs of the 8,000
PetImages, 11 of which are the same scene."""


def cropped(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return the image without a share of its height and of its width, at a random place."""
    height, width = image.shape[:2]
    top, left = (int(rng.integers(0, round(side * share) + 1)) for side in (height, width))
    return image[top : top + height - round(height * share), left : left + width - round(width * share)]


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return the image turned by a few degrees; the corners repeat the border."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT)


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

KINDS: dict[str, Change] = {
    "5 % crop": lambda image, rng: cropped(image, 0.05, rng),
    "10 % crop": lambda image, rng: cropped(image, 0.1, rng),
    "20 % crop": lambda image, rng: cropped(image, 0.2, rng),
    "quarter-size thumbnail": lambda image, _: cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA),
    "mirrored": lambda image, _: image[:, ::-1],
    "upside down": lambda image, _: image[::-1],
    "rotated by 90": lambda image, _: np.rot90(image),
    "rotated by 180": lambda image, _: np.rot90(image, 2),
    "rotated by 270": lambda image, _: np.rot90(image, 3),
    "mirrored, 5 % crop": lambda image, rng: cropped(image, 0.05, rng)[:, ::-1],
    "JPEG quality 40": lambda image, _: recompressed(image, 40),
    "brightness +20 %": lambda image, _: cv2.convertScaleAbs(image, alpha=1.2),
}

AUGMENTATIONS: tuple[Change, ...] = (
    lambda image, _: image[:, ::-1],
    lambda image, _: image[::-1],
    lambda image, _: np.rot90(image),
    lambda image, rng: turned(image, rng.uniform(-15, 15)),
    lambda image, rng: cropped(image, 0.05, rng),
    lambda image, rng: cropped(image, 0.1, rng),
    lambda image, rng: cropped(image, 0.1, rng)[:, ::-1],
    lambda image, rng: cv2.convertScaleAbs(cropped(image, 0.15, rng), alpha=rng.uniform(0.8, 1.2)),
)


def originals(folders: list[Path], count: int, skip: int = 0) -> Iterator[np.ndarray]:
    """Yield readable color images of the folders, equally many of each, in an order that a seed fixes.

    ``skip`` leaves out as many first files of each folder: images that no threshold was chosen by.
    """
    for folder in folders:
        files = sorted(path for path in folder.rglob("*.jpg"))
        random.Random(0).shuffle(files)
        wanted = count // len(folders)
        for path in files[skip:]:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None or min(image.shape[:2]) < 64:
                continue
            yield image
            if not (wanted := wanted - 1):
                break


def plant(
    folder: Path, images: list[np.ndarray], make: Callable[[np.ndarray, np.random.Generator], np.ndarray]
) -> None:
    """Write images and a copy of each: ``one/NNN.png`` and ``other/NNN.png``."""
    rng = np.random.default_rng(0)
    for name in ("one", "other"):
        (folder / name).mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / "one" / f"{number:03}.png"), image)
        cv2.imwrite(str(folder / "other" / f"{number:03}.png"), make(image, rng))


def found_in(catalog: Catalog) -> set[tuple[str, str]]:
    """Return the pairs of all groups: stems, sorted."""
    groups = catalog.near_duplicates
    return {pair for group in groups for pair in combinations(sorted(Path(one.path).stem for one in group), 2)}


def imagehash_phash(path: Path) -> np.ndarray:
    """Return the 64 bits of `imagehash.phash`."""
    small = Image.open(path).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    low = dct(dct(np.asarray(small, dtype=np.float64), axis=0), axis=1)[:8, :8]
    return (low > np.median(low)).ravel()


def copies(folders: list[Path], count: int = 500, skip: int = 0) -> None:
    """Print the recall of each kind of copy."""
    images = list(originals(folders, count, skip))
    print(f"{len(images)} originals, after the first {skip} of each folder\n")
    print("| copies | housetrain | imagehash | pairs of different images |\n| --- | --- | --- | --- |")
    for kind, make in KINDS.items():
        with tempfile.TemporaryDirectory() as place:
            plant(Path(place), images, make)
            pairs = found_in(scan(Path(place), cache=False))
            hashes = [
                [imagehash_phash(Path(place, name, f"{number:03}.png")) for name in ("one", "other")]
                for number in range(len(images))
            ]
        own = sum(one == other for one, other in pairs)
        theirs = np.mean([np.count_nonzero(one != other) <= IMAGEHASH_BITS for one, other in hashes])
        print(f"| {kind} | {own / len(images):.3f} | {theirs:.3f} | {len(pairs) - own} |", flush=True)


def augmented(folders: list[Path], count: int = 150) -> None:
    """Print how saved augmentations are grouped."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        for name in ("one", "other"):
            Path(place, name).mkdir()
        for number, image in enumerate(originals(folders, count)):
            for variant, one in enumerate((image, *(make(image, rng) for make in AUGMENTATIONS))):
                cv2.imwrite(str(Path(place, ("one", "other")[number % 2], f"{number:03}_{variant}.png")), one)
        groups = [
            [Path(one.path).stem.split("_") for one in group]
            for group in scan(Path(place), cache=False).near_duplicates
        ]
    with_original = Counter(
        variant for group in groups for number, variant in group if [number, "0"] in group and variant != "0"
    )
    mixed = sum(len({number for number, _ in group}) > 1 for group in groups)
    print(f"{sum(with_original.values()) / (count * len(AUGMENTATIONS)):.1%} of the variants are with their original")
    for variant in range(1, len(AUGMENTATIONS) + 1):
        print(f"  variant {variant}: {with_original[str(variant)] / count:.1%}")
    print(f"{mixed} of {len(groups)} groups hold more than one image")


def show_pairs(folder: Path, sheet: Path | None) -> None:
    """Print all pairs of the groups of a folder, and draw them side by side."""
    catalog = scan(folder, cache=False)
    pairs = [pair for group in catalog.near_duplicates for pair in combinations(group, 2)]
    print(f"{len(catalog.usable):,} images, {len(pairs)} pairs")
    rows = []
    for one, other in pairs:
        how = turn_between(one.hashes.shape, other.hashes.shape)
        print(f"{one.path}  {other.path}  {how}")
        images = [cv2.imread(str(folder / image.path), cv2.IMREAD_COLOR) for image in (one, other)]
        rows.append(np.hstack([cv2.resize(image, (200, 200)) for image in images]))
    if sheet and rows:
        cv2.imwrite(str(sheet), np.vstack(rows))


_TIMED = """
import os, sys, time
from pathlib import Path
from housetrain.data.catalog import scan
start, before = time.perf_counter(), sum(os.times()[:4])
catalog = scan(Path(sys.argv[1]), cache=False)
scanned = time.perf_counter()
catalog.near_duplicates
done = time.perf_counter()
taken = done - start, done - scanned, sum(os.times()[:4]) - before
print(*(seconds / len(catalog.images) * 1e6 for seconds in taken))
"""


def speed(folder: Path, other: Path | None, repeats: int = 3) -> None:
    """Print microseconds an image: of scan and search, of the search alone, of all processors, and ratios."""
    versions = {"this": Path(__file__).resolve().parents[1] / "src", **({"other": other} if other else {})}
    taken: dict[str, list[list[float]]] = {name: [] for name in versions}
    for _ in range(repeats):
        for name, source in versions.items():
            environment = {**os.environ, "PYTHONPATH": str(source)}
            command = [sys.executable, "-c", _TIMED, str(folder)]
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            taken[name].append([float(value) for value in ran.stdout.split()])
    for name, times in taken.items():
        print(name, *(f"{clock:.0f} (search {search:.0f}, processor {used:.0f})" for clock, search, used in times))
    for place, what in enumerate(("clock", "search", "processor")) if other else ():
        ratios = [mine[place] / theirs[place] for mine, theirs in zip(taken["this"], taken["other"], strict=True)]
        print(f"{what}, this / other: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("copies", "augmented", "pairs", "speed"))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first files of each folder: other originals")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--other", type=Path)
    asked = parser.parse_args()
    if asked.what == "copies":
        copies(asked.folders, skip=asked.skip)
    elif asked.what == "augmented":
        augmented(asked.folders)
    elif asked.what == "pairs":
        show_pairs(asked.folders[0], asked.sheet)
    else:
        speed(asked.folders[0], asked.other)


if __name__ == "__main__":
    main()
