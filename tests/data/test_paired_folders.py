"""Folders of an image and what it becomes are no classes; classes with the same file names are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import housetrain as ht
from housetrain.data.class_folders import walk
from housetrain.data.label_source import LabelSource
from housetrain.data.paired_folders import fit, pair_notes, refuse_pairs
from housetrain.errors import FolderError

RANDOM = np.random.default_rng(0)


def scene(seed: int) -> np.ndarray:
    """A smooth picture unlike others, uint8 (64, 64)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6), np.uint8)
    return np.asarray(cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC), np.uint8)


def noisy(image: np.ndarray) -> np.ndarray:
    return np.clip(image + RANDOM.normal(0, 25, image.shape), 0, 255).astype(np.uint8)


def mask(image: np.ndarray) -> np.ndarray:
    return np.where(cv2.blur(image, (21, 21)) > 128, 255, 0).astype(np.uint8)


def unrelated(image: np.ndarray) -> np.ndarray:
    return scene(int(RANDOM.integers(1000, 10**6)))


def pairs(root: Path, first: str, second: str, other: object, count: int = 10) -> Path:
    for folder in (first, second):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        image = scene(number)
        cv2.imwrite(str(root / first / f"{number}.png"), image)
        cv2.imwrite(str(root / second / f"{number}.png"), other(image))  # type: ignore[operator]
    return root


@pytest.mark.parametrize(
    ("first", "second", "other", "said"),
    [
        ("input", "target", noisy, "input and target show the same images"),
        ("clean", "noisy", noisy, "clean and noisy|noisy and clean"),
        ("x", "y", mask, "(show the same images|and y their masks)"),
        ("A", "B", cv2.bitwise_not, "A and B show the same images"),
        ("LR_images", "HR_images", noisy, "show the same images"),
    ],
)
def test_pairs_are_refused_with_the_way_to_use_them(
    tmp_path: Path, first: str, second: str, other: object, said: str
) -> None:
    root = pairs(tmp_path, first, second, other)
    with pytest.raises(FolderError, match=rf"look like pairs, not classes: .*{said}.*10 names.*--class-level 1"):
        walk(root)
    assert len(walk(root, LabelSource.of({"class_level": 1})).classes) == 2


def test_pairs_in_splits_are_refused(tmp_path: Path) -> None:
    for split in ("test", "train"):
        pairs(tmp_path / split, "input", "target", noisy)
    with pytest.raises(FolderError, match=r"look like pairs.*train/input"):
        walk(tmp_path)


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("x", "y"), ("clean", "noisy"), ("cat", "dog")])
def test_numbered_files_of_different_things_are_classes(tmp_path: Path, first: str, second: str) -> None:
    root = pairs(tmp_path, first, second, unrelated)
    tree = walk(root)
    assert tree.classes == (first, second) and not tree.notes


def test_before_and_after_are_classes_of_pairs(tmp_path: Path) -> None:
    tree = walk(pairs(tmp_path, "after", "before", noisy))
    assert tree.classes == ("after", "before") and [note.kind for note in tree.notes] == ["paired-folders"]


def test_classes_that_are_pairs_are_said_and_can_be_grouped(tmp_path: Path) -> None:
    root = pairs(tmp_path, "fake", "real", noisy)
    catalog = ht.scan(root)
    (found,) = [finding for finding in ht.check(catalog) if finding.kind == "paired-folders"]
    assert "fake and real hold 10 files of the same names" in found.message
    rule = found.do.split("'")[1]
    rows = ht.split(catalog, groups=rule, findings=()).rows
    split_of = {row.path: row.split for row in rows}
    assert all(split_of[f"fake/{n}.png"] == split_of[f"real/{n}.png"] for n in range(10))


def test_other_names_and_few_files_are_no_pairs(tmp_path: Path) -> None:
    root = pairs(tmp_path, "input", "target", noisy, count=2)
    refuse_pairs(root, ["input", "target"])
    other = pairs(tmp_path / "more", "input", "target", noisy)
    for image in list((other / "target").iterdir()):
        image.rename(image.with_name(f"t{image.name}"))
    refuse_pairs(other, ["input", "target"])
    assert pair_notes(other, ["input", "target"]) == []


def test_images_of_one_scene_do_not_fit_each_other_by_chance() -> None:
    """All images of one frame are alike; pairs are those that are more so."""
    frame = scene(1).astype(np.float64)
    one, other = (np.clip(frame + RANDOM.normal(0, 8, (8, 64, 64)), 0, 255).astype(np.uint8) for _ in range(2))
    assert not fit(one, other)
    assert fit(one, np.stack([noisy(image // 2) for image in one]))
    assert not fit(one[:5], one[:5]), "five fit by chance too often"


def test_unrelated_images_rarely_fit() -> None:
    found = 0
    for start in range(0, 3000, 20):
        one, other = (np.stack([scene(start + half + n) for n in range(6)]) for half in (0, 10))
        found += fit(one, other)
    assert found == 0
