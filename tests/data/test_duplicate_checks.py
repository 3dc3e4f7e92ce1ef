"""What the findings say about copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hostile import encode, photo

from housetrain.data.catalog import scan
from housetrain.data.checks import check


def folder(root: Path, copies: dict[str, np.ndarray]) -> Path:
    for number in range(12):
        path = root / ("Cat" if number % 2 else "Dog") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(photo(96, 128, number), "PNG"))
    for name, image in copies.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode(image, "PNG"))
    return root


def test_mirrored_and_rotated_copies_are_named(tmp_path: Path) -> None:
    image = photo(96, 128, 1)
    root = folder(tmp_path, {"Cat/a.png": image[:, ::-1], "Cat/b.png": np.rot90(image)})
    (found,) = (one for one in check(scan(root)) if one.kind == "near-duplicate")
    assert found.message == "3 files are near-duplicates, some mirrored or rotated"
    assert found.details == ("looks like Cat/a.png, mirrored", "looks like Cat/01.png, mirrored",
                             "looks like Cat/01.png, rotated by 90°")  # fmt: skip


def test_a_mirrored_copy_with_another_label_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path, {"Dog/a.png": photo(96, 128, 1)[:, ::-1]})
    (found,) = (one for one in check(scan(root)) if one.kind == "near-two-labels")
    assert found.details[1] == "labeled Dog, looks like Cat/01.png, mirrored"


def test_copies_that_are_not_turned_are_not_called_so(tmp_path: Path) -> None:
    root = folder(tmp_path, {"Cat/a.png": photo(96, 128, 1)[3:-2, 2:-4]})
    (found,) = (one for one in check(scan(root)) if one.kind == "near-duplicate")
    assert found.message == "2 files are near-duplicates"
    assert found.details[1] == "looks like Cat/01.png"


@pytest.mark.parametrize("turned", [True, False])
def test_a_turned_copy_in_another_split_is_a_leak(tmp_path: Path, turned: bool) -> None:
    image = photo(96, 128, 1)
    for split in ("train", "test"):
        folder(tmp_path / split, {})
    for path in (tmp_path / "test").rglob("*.png"):
        path.write_bytes(encode(photo(96, 128, 50 + int(path.stem)), "PNG"))
    (tmp_path / "test" / "Cat" / "a.png").write_bytes(encode(image[:, ::-1] if turned else image[2:-2], "PNG"))
    (found,) = (one for one in check(scan(tmp_path)) if one.kind == "near-split-leak")
    assert found.message.endswith("test and train, some mirrored or rotated" if turned else "test and train")
