"""What the findings say about copies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hostile import encode, photo

from housetrain.data.catalog import Catalog, scan
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


def test_a_set_of_one_background_says_that_turned_copies_were_not_looked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    frame = photo(96, 128, 3).astype(np.float32)
    for number in range(48):
        path = tmp_path / ("good" if number % 2 else "bad") / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        part = frame + rng.normal(0, 4, frame.shape)
        top, left = rng.integers(20, 60, 2)
        part[top : top + 12, left : left + 12] += 40
        path.write_bytes(encode(part.clip(0, 255).astype(np.uint8), "PNG"))
    catalog = scan(tmp_path)
    (found,) = (one for one in check(catalog) if one.kind == "turned-copies")
    assert found.severity == "note" and "could not tell" in found.message
    assert "--group-by" in found.do and not found.leaves_out
    again = Catalog.from_json(json.loads(json.dumps(catalog.to_json())))
    assert [one.kind for one in check(again)] == [one.kind for one in check(catalog)], "kept with the catalog"


def test_photographs_do_not_say_so(tmp_path: Path) -> None:
    catalog = scan(folder(tmp_path, {}))
    assert catalog.near_copies.turned and "turned-copies" not in {one.kind for one in check(catalog)}
