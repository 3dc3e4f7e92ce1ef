"""Masks, thumbnails, depth images and raw files beside images: recognized by name and content, images never."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from housetrain.data.catalog import Catalog, scan
from housetrain.data.checks import check
from housetrain.data.split import split


def photo(seed: int, side: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    soft = cv2.resize(rng.integers(0, 256, (7, 7, 3), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(soft.astype(int) + rng.normal(0, 9, soft.shape), 0, 255).astype(np.uint8)


def mask(seed: int, side: int = 64) -> np.ndarray:
    image = np.zeros((side, side), np.uint8)
    if seed % 3:
        cv2.circle(image, (10 + seed % 40, 30), 5, 255, -1)
    return image


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def kinds(root: Path) -> dict[str, str]:
    return scan(root, workers=1, cache=False).companions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(6):
        put(tmp_path / "p" / "cat" / f"part_{number}.jpg", photo(number))
        put(tmp_path / "p" / "dog" / f"part_{number}.jpg", photo(100 + number))
    return tmp_path / "p"


def test_photographs_alone_have_no_companions(root: Path) -> None:
    assert not kinds(root)


def test_masks_of_the_same_name_and_another_type(root: Path) -> None:
    for number in range(6):
        put(root / "cat" / f"part_{number}.png", mask(number))
    assert kinds(root) == {f"cat/part_{number}.png": "mask" for number in range(6)}


def test_masks_in_jpeg_beside_photographs_in_png(tmp_path: Path) -> None:
    for number in range(6):
        put(tmp_path / "p" / "cat" / f"{number}.png", photo(number))
        put(tmp_path / "p" / "cat" / f"{number}.jpg", mask(number))
        put(tmp_path / "p" / "dog" / f"{number}.png", photo(50 + number))
    assert kinds(tmp_path / "p") == {f"cat/{number}.jpg": "mask" for number in range(6)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("part_{n}_mask.png", "mask"),
        ("part_{n}_GT.bmp", "mask"),
        ("part_{n}-label.png", "mask"),
        ("mask_part_{n}.png", "mask"),
        ("part_{n}_mask_1.png", "mask"),
        ("part_{n}_thumb.jpg", "thumbnail"),
        ("part_{n}_depth.png", "depth"),
    ],
)
def test_affixes(root: Path, name: str, kind: str) -> None:
    for number in range(6):
        put(root / "cat" / name.format(n=number), mask(number) if kind == "mask" else photo(number, 16))
    assert kinds(root) == {f"cat/{name.format(n=number)}": kind for number in range(6)}


@pytest.mark.parametrize(
    "name",
    [
        "part_{n}_m.png", "part_{n}Mask.png", "part_{n}.jpg.mask.png", "part_{n} (mask).png", "part_{n}_alpha.png",
        "part_{n}_L.png", "part_{n}_matte.png", "part_{n}_lbl.png", "part_{n}_class2.png",
    ],
)  # fmt: skip
def test_masks_by_any_addition_to_the_name(root: Path, name: str) -> None:
    for number in range(6):
        put(root / "cat" / name.format(n=number), mask(number))
    assert kinds(root) == {f"cat/{name.format(n=number)}": "mask" for number in range(6)}


@pytest.mark.parametrize("name", ["part_{n}_small.jpg", "part_{n}-150x150.jpg", "part_{n}@0.5x.jpg"])
def test_small_versions_by_any_addition_to_the_name(root: Path, name: str) -> None:
    for number in range(6):
        put(root / "cat" / name.format(n=number), cv2.resize(photo(number), (24, 24), interpolation=cv2.INTER_AREA))
    assert kinds(root) == {f"cat/{name.format(n=number)}": "thumbnail" for number in range(6)}


@pytest.mark.parametrize("name", ["part_{n}_aug.jpg", "part_{n}b.jpg", "part_{n}_flip.png"])
def test_other_views_with_an_addition_to_the_name_are_images(root: Path, name: str) -> None:
    for number in range(6):
        put(root / "cat" / name.format(n=number), np.ascontiguousarray(photo(number)[:, ::-1]))
    assert not kinds(root)


def test_a_mask_of_several_colors(root: Path) -> None:
    for number in range(6):
        pixels = np.zeros((64, 64, 3), np.uint8)
        for part in range(5):
            cv2.rectangle(
                pixels, (9 * part, 7 * part), (9 * part + 20, 7 * part + 12), (40 * part, 255 - 50 * part, 90), -1
            )
        put(root / "cat" / f"part_{number}.png", pixels)
    assert set(kinds(root).values()) == {"mask"}


def test_a_depth_image_beside_one_called_rgb(tmp_path: Path) -> None:
    for number in range(6):
        for label in ("cat", "dog"):
            put(tmp_path / "p" / label / f"{number}_rgb.png", photo(number + 50 * (label == "cat")))
            put(tmp_path / "p" / label / f"{number}_depth.png", photo(number + 300 + 50 * (label == "cat")))
    assert set(kinds(tmp_path / "p").values()) == {"depth"} and len(kinds(tmp_path / "p")) == 12


@pytest.mark.parametrize("folder", ["mask", "Masks", "GT", "annotations"])
@pytest.mark.parametrize("inside", ["", "images/"])
def test_folders_of_masks_inside_a_class(tmp_path: Path, folder: str, inside: str) -> None:
    for number in range(4):
        put(tmp_path / "p" / "cat" / inside / f"{number}.jpg", photo(number))
        put(tmp_path / "p" / "cat" / folder / f"{number}.png", mask(number))
        put(tmp_path / "p" / "dog" / f"{number}.jpg", photo(40 + number))
    assert kinds(tmp_path / "p") == {f"cat/{folder}/{number}.png": "mask" for number in range(4)}


def test_one_shot_in_two_types_counts_once(root: Path) -> None:
    for number in range(6):
        put(root / "cat" / f"part_{number}.png", photo(number))
    assert kinds(root) == {f"cat/part_{number}.png": "same-shot" for number in range(6)}


def test_a_raw_file_beside_its_jpeg(root: Path) -> None:
    (root / "cat" / "part_0.CR2").write_bytes(b"II*\0\x10\0\0\0CR\x02\0" + bytes(64))
    (root / "cat" / "alone.nef").write_bytes(b"II*\0" + bytes(64))
    (root / "cat" / "raw").mkdir()
    (root / "cat" / "raw" / "part_1.CR2").write_bytes(b"II*\0\x10\0\0\0CR\x02\0" + bytes(64))
    assert kinds(root) == {"cat/part_0.CR2": "raw", "cat/raw/part_1.CR2": "raw"}


def test_a_class_may_be_called_mask(tmp_path: Path) -> None:
    for half in ("train", "test"):
        for label in ("mask", "no_mask"):
            for number in range(4):
                put(
                    tmp_path / "p" / half / label / f"{number}.jpg",
                    photo(40 * ["train", "test"].index(half) + 20 * ["mask", "no_mask"].index(label) + number),
                )
    assert not kinds(tmp_path / "p")


def test_two_photographs_of_one_name_are_both_images(root: Path) -> None:
    for number in range(6):
        put(root / "cat" / f"part_{number}.png", photo(500 + number))
    assert not kinds(root)


def test_drawings_of_one_name_are_both_images(tmp_path: Path) -> None:
    for number in range(6):
        put(tmp_path / "p" / "a" / f"{number}.png", mask(number + 1))
        put(tmp_path / "p" / "a" / f"{number}.bmp", np.flipud(mask(3 * number + 2)))
        put(tmp_path / "p" / "b" / f"{number}.png", mask(number + 2))
    assert not kinds(tmp_path / "p")


def test_companions_are_excluded_and_named_and_may_be_kept(root: Path) -> None:
    for number in range(6):
        put(root / "cat" / f"part_{number}.png", mask(number))
    catalog = scan(root, workers=1, cache=False)
    assert catalog.counts() == {"cat": 6, "dog": 6}
    found = {finding.kind: finding for finding in check(catalog)}
    assert "6 files look like masks" in found["companion"].message
    assert len(found["companion"].leaves_out) == 6
    manifest = split(catalog)
    assert {row.path for row in manifest.left_out} == set(catalog.companions)
    assert Catalog.from_json(catalog.to_json()).companions == catalog.companions
    kept = scan(root, workers=1, cache=False, keep_companions=True)
    assert kept.counts() == {"cat": 12, "dog": 6}
    assert "companion" not in {finding.kind for finding in check(kept)}
