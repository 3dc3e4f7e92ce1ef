"""Pairs of similar hashes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hostile import encode, photo

from housetrain.data import duplicates
from housetrain.data.catalog import scan

pytestmark = pytest.mark.usefixtures("looked")


@pytest.mark.parametrize("count", [2, 50, 3000])
def test_pairs_are_those_of_comparing_all_with_all(count: int) -> None:
    draw = np.random.default_rng(count)
    hashes = draw.integers(0, 1 << 63, count, dtype=np.uint64)
    for number in range(0, count - 1, 5):  # some that differ in a few bits
        flips = draw.choice(64, draw.integers(0, 12), replace=False).astype(np.uint64)
        hashes[number + 1] = hashes[number] ^ np.bitwise_or.reduce(np.uint64(1) << flips, initial=np.uint64(0))
    for bits in (0, 3, 8, 16):
        bands = [duplicates._band(hashes, number, bits + 1) for number in range(bits + 1)]
        by_bands = {tuple(pair) for pair in duplicates._pairs_in_bands(hashes, bands, bits).T.tolist()}
        by_blocks = {tuple(pair) for pair in duplicates._pairs_in_blocks(hashes, bits).T.tolist()}
        assert (
            by_bands
            == by_blocks
            == {tuple(pair) for pair in np.array(duplicates._close_pairs(hashes, bits)).T.tolist()}
        )
        sample = random.Random(0).sample(range(count), min(count, 60))
        for one in sample:
            near = np.flatnonzero(np.bitwise_count(hashes ^ hashes[one]) <= bits).tolist()
            assert {(min(one, other), max(one, other)) for other in near if other != one} == {
                pair for pair in by_blocks if one in pair
            }


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda image: image[:, ::-1],
    "mirrored top to bottom": lambda image: image[::-1],
    "rotated by 90": np.rot90,
    "rotated by 180": lambda image: np.rot90(image, 2),
    "rotated by 270": lambda image: np.rot90(image, 3),
    "5 % crop": lambda image: image[4:-2, :-8],
    "10 % crop": lambda image: image[6:-6, 8:-8],
    "mirrored, 10 % crop": lambda image: image[6:-6, 8:-8][:, ::-1],
    "thumbnail of 32 pixels": lambda image: cv2.resize(image, (43, 32), interpolation=cv2.INTER_AREA),
    "brighter": lambda image: cv2.convertScaleAbs(image, alpha=1.2),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_different_images_are_not(kind: str, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    for number in range(60):
        image = photo(120, 160, number)
        (tmp_path / "one" / f"{number}.png").write_bytes(encode(image, "PNG"))
        if number < 30:
            copy = np.ascontiguousarray(COPIES[kind](image))
            (tmp_path / "other" / f"{number}.png").write_bytes(encode(copy, "PNG"))
    groups = [{Path(one.path).stem for one in group} for group in scan(tmp_path, workers=1).near_duplicates]
    assert all(len(group) == 1 for group in groups), "different images are called copies"
    assert len(groups) >= 27, "copies are missed"


def test_small_images_are_not_compared_with_each_other(tmp_path: Path) -> None:
    image = cv2.resize(photo(120, 160, 1), (48, 48), interpolation=cv2.INTER_AREA)
    for name, pixels in (("a", image), ("b", image[:, ::-1])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(encode(np.ascontiguousarray(pixels), "PNG"))
    assert scan(tmp_path, workers=1).near_duplicates == ()


def test_saved_augmentations_are_one_group_an_image(tmp_path: Path) -> None:
    """Flips, rotations and crops of each image, saved beside it: chains of nine, none of two images."""
    for label in ("one", "other"):
        (tmp_path / label).mkdir()
    for number in range(20):
        image = photo(120, 160, number)
        made = [image, *(make(image) for kind, make in COPIES.items() if kind != "thumbnail of 32 pixels")]
        for place, one in enumerate(made):
            path = tmp_path / ("one" if number % 2 else "other") / f"{number}_{place}.png"
            path.write_bytes(encode(np.ascontiguousarray(one), "PNG"))
    groups = scan(tmp_path, workers=1).near_duplicates
    assert all(len({Path(one.path).stem.split("_")[0] for one in group}) == 1 for group in groups)
    assert sum(map(len, groups)) >= 190 and len(groups) <= 22


def tile(rng: np.random.Generator) -> np.ndarray:
    """A part in a frame that is the same mirrored and rotated by 180 degrees: its own grain, another brightness."""
    rows, columns = np.mgrid[:150, :150]
    lit = 170 - ((columns - 74.5) ** 2 + (rows - 74.5) ** 2) / 160.0
    for row in (30, 73, 116):
        lit[row : row + 4] = 70
        lit[:, row : row + 4] -= 25
    grain = cv2.resize(rng.normal(0, 2, (50, 50)).astype(np.float32), (150, 150), interpolation=cv2.INTER_CUBIC)
    noisy = lit * rng.uniform(0.75, 1.15) + grain + rng.normal(0, 1, lit.shape)
    return np.asarray(noisy.clip(0, 255), np.uint8)


@pytest.mark.parametrize("tiles", [8, 15, 30])
def test_parts_in_one_symmetric_frame_are_not_copies_of_each_other(tiles: int, tmp_path: Path) -> None:
    """Too few to make the set one of a shared background: most images are photographs."""
    rng = np.random.default_rng(8)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    for number in range(100):
        (tmp_path / "one" / f"{number}.png").write_bytes(encode(photo(90, 120, number), "PNG"))
    for number in range(tiles):
        cv2.imwrite(str(tmp_path / "other" / f"{number}.png"), tile(rng))
    assert sum(map(len, scan(tmp_path, workers=1).near_duplicates)) <= 2
