"""What check says: each kind of finding where it is due, and nothing about a folder that is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from data.checked_folders import kinds, make
from hostile import encode, photo

from housetrain.data import duplicates
from housetrain.data.catalog import scan
from housetrain.data.checks import FEW, LEAST, check
from housetrain.data.split_groups import duplicate_groups

pytestmark = pytest.mark.usefixtures("looked")


def test_a_folder_that_is_well_has_no_findings(tmp_path: Path) -> None:
    assert check(scan(make(tmp_path))) == ()


# ---------------------------------------------------------------------------------------------- one file planted


# ---------------------------------------------------------------------------------------------- looks


# ---------------------------------------------------------------------------------------------- identical files


def test_copies_are_used_once(tmp_path: Path) -> None:
    root = make(tmp_path)
    for name in ("a copy.jpg", "x copy.jpg"):
        (root / "Cat" / name).write_bytes((root / "Cat" / "005.jpg").read_bytes())
    found = kinds(root)
    assert set(found) == {"exact-duplicate"} and found["exact-duplicate"].severity == "warning"
    assert found["exact-duplicate"].paths == ("Cat/005.jpg", "Cat/a copy.jpg", "Cat/x copy.jpg")
    assert found["exact-duplicate"].leaves_out == ("Cat/a copy.jpg", "Cat/x copy.jpg")


def test_a_image_with_two_labels_is_left_out_whole(tmp_path: Path) -> None:
    root = make(tmp_path)
    for name in ("Dog/also a cat.jpg", "Cat/once more.jpg"):
        (root / name).write_bytes((root / "Cat" / "005.jpg").read_bytes())
    found = kinds(root)
    assert set(found) == {"two-labels"} and found["two-labels"].severity == "error"
    assert found["two-labels"].paths == ("Cat/005.jpg", "Cat/once more.jpg", "Dog/also a cat.jpg")
    assert found["two-labels"].leaves_out == found["two-labels"].paths
    assert found["two-labels"].message == "the same image is labeled Cat and Dog"
    assert "multi-label data is not supported" in found["two-labels"].do


def test_a_ready_made_validation_that_is_small_or_lacks_classes_is_said(tmp_path: Path) -> None:
    counts = {f"{name}/{label}": FEW for name in ("train", "test") for label in ("Cat", "Dog", "Emu")}
    found = kinds(make(tmp_path / "small", counts | {"val/Cat": 8, "val/Dog": 8}))
    assert set(found) == {"small-validation", "validation-lacks-classes"}
    assert "16 images of 3 classes" in found["small-validation"].message
    assert "--train-dir" in found["small-validation"].do
    assert "2 of 3 classes; for Emu" in found["validation-lacks-classes"].message


def test_a_image_on_both_sides_stays_in_the_test(tmp_path: Path) -> None:
    root = make(tmp_path, {f"{name}/{label}": FEW for name in ("train", "val", "test") for label in ("Cat", "Dog")})
    data = (root / "train" / "Cat" / "005.jpg").read_bytes()
    for name in ("test", "val"):
        (root / name / "Cat" / "again.jpg").write_bytes(data)
    found = kinds(root)
    assert set(found) == {"split-leak"} and found["split-leak"].severity == "error"
    assert found["split-leak"].paths == ("test/Cat/again.jpg", "val/Cat/again.jpg", "train/Cat/005.jpg")
    assert found["split-leak"].leaves_out == found["split-leak"].paths[1:]


# ---------------------------------------------------------------------------------------------- near duplicates


def shown(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def resized(data: bytes) -> bytes:
    return encode(cv2.resize(shown(data), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA), "JPEG")


def recompressed(data: bytes) -> bytes:
    return encode(shown(data), "JPEG", quality=35)


def brightened(data: bytes) -> bytes:
    return encode(cv2.convertScaleAbs(shown(data), alpha=1.0, beta=12), "JPEG")


def cropped(data: bytes) -> bytes:
    image = shown(data)
    y, x = round(image.shape[0] * 0.01), round(image.shape[1] * 0.01)
    return encode(np.ascontiguousarray(image[y:-y, x:-x]), "JPEG")


def converted(data: bytes) -> bytes:
    return encode(shown(data), "WEBP", quality=60)


CHANGES = (resized, recompressed, brightened, cropped, converted)


@pytest.mark.parametrize("change", CHANGES)
def test_a_image_that_was_changed_a_little_is_found(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    root = make(tmp_path)
    name = "new.webp" if change is converted else "new.jpg"
    (root / "Cat" / name).write_bytes(change((root / "Cat" / "005.jpg").read_bytes()))
    found = kinds(root)
    assert set(found) == {"near-duplicate"} and found["near-duplicate"].severity == "note"
    assert found["near-duplicate"].paths == ("Cat/005.jpg", f"Cat/{name}")
    assert found["near-duplicate"].leaves_out == ()
    groups = duplicate_groups(scan(root))
    assert groups["Cat/005.jpg"] == groups[f"Cat/{name}"]
    assert len(set(groups.values())) == 2 * FEW


def test_nearly_the_same_image_under_two_labels_is_a_warning(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "Dog" / "new.jpg").write_bytes(recompressed((root / "Cat" / "005.jpg").read_bytes()))
    found = kinds(root)
    assert set(found) == {"near-two-labels"} and found["near-two-labels"].severity == "warning"
    assert found["near-two-labels"].message == "near-duplicate images are labeled Cat and Dog"
    assert found["near-two-labels"].leaves_out == ()


def test_nearly_the_same_image_on_both_sides_is_a_warning(tmp_path: Path) -> None:
    root = make(tmp_path, {f"{name}/{label}": FEW for name in ("train", "test") for label in ("Cat", "Dog")})
    (root / "test" / "Cat" / "new.jpg").write_bytes(recompressed((root / "train" / "Cat" / "005.jpg").read_bytes()))
    found = kinds(root)
    assert set(found) == {"near-split-leak"} and found["near-split-leak"].severity == "warning"


def test_real_photos_and_their_copies(tmp_path: Path, photos: Path) -> None:
    """Of real photos the changed copies are found, each with its own original, and no two different photos."""
    originals = [path for label in ("cats", "dogs") for path in sorted((photos / label).iterdir())[:40]]
    for number, path in enumerate(originals):
        data = path.read_bytes()
        folder = tmp_path / path.parent.name
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(data)
        change = CHANGES[number % len(CHANGES)]
        (folder / f"{number} {change.__name__}.jpg").write_bytes(change(data))
    groups: dict[str, set[str]] = {}
    for path_, key in duplicate_groups(scan(tmp_path)).items():
        groups.setdefault(key, set()).add(path_.split("/")[1].removesuffix(".jpg").split()[0])
    assert all(len(numbers) == 1 for numbers in groups.values())  # no two different photos
    assert len(groups) <= len(originals) + 1  # nearly every copy


def test_simple_drawings_are_not_taken_for_one_another(tmp_path: Path) -> None:
    for number in range(2 * FEW):
        path = tmp_path / ("a", "b")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        drawing = np.zeros((100, 100, 3), np.uint8)
        cv2.putText(drawing, str(number), (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3)
        path.write_bytes(encode(drawing, "PNG"))
    assert not [one for one in check(scan(tmp_path)) if one.kind == "near-duplicate"]


def test_images_alike_only_in_the_large_are_different(tmp_path: Path) -> None:
    """Two fences before one scene: the first hash takes them for one image, the second does not."""
    root, large = make(tmp_path), cv2.GaussianBlur(photo(300, 300, 600), (0, 0), 15).astype(float)
    fence = 20 * np.cos(2 * np.pi * 7 * np.arange(300) / 300)[np.newaxis, :, np.newaxis]
    for sign, label in ((1, "Cat"), (-1, "Dog")):
        scene = (large + sign * fence).clip(0, 255).astype(np.uint8)
        (root / label / "scene.png").write_bytes(encode(scene, "PNG"))
    one = scan(root)
    first, second = (int(image.hashes.coarse, 16) for image in one.usable if image.path.endswith("scene.png"))
    assert (first ^ second).bit_count() <= duplicates.NEAR_BITS
    assert check(one) == ()


# ---------------------------------------------------------------------------------------------- classes


def test_one_class_is_an_error(tmp_path: Path) -> None:
    found = kinds(make(tmp_path, {"Cat": FEW}))
    assert set(found) == {"one-class"} and found["one-class"].severity == "error"


def test_one_class_guesses_the_folder_below(tmp_path: Path) -> None:
    catalog = scan(make(tmp_path, {"PetImages/Cat": FEW, "PetImages/Dog": FEW}), class_level=1)
    found = {finding.kind: finding for finding in check(catalog)}
    assert set(found) == {"one-class"}
    assert "use the folder PetImages, which holds Cat and Dog" in found["one-class"].do


def test_an_empty_class_is_a_warning(tmp_path: Path) -> None:
    (make(tmp_path) / "Bird").mkdir()
    found = kinds(tmp_path)
    assert set(found) == {"empty-class"} and found["empty-class"].severity == "warning"
    assert "Bird" in found["empty-class"].message


@pytest.mark.parametrize(
    ("count", "severity"), [(1, "error"), (LEAST - 1, "error"), (LEAST, "warning"), (FEW - 1, "warning")]
)
def test_few_images(tmp_path: Path, count: int, severity: str) -> None:
    found = kinds(make(tmp_path, {"Cat": FEW, "Dog": count}))
    assert found["few-images"].severity == severity and "Dog" in found["few-images"].message
    assert f"{count} image" in found["few-images"].message


def test_unusable_images_do_not_count(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "Dog" / "000.jpg").write_bytes(b"")
    assert set(kinds(root)) == {"unreadable", "few-images"}


@pytest.mark.parametrize(
    ("counts", "severity"),
    [
        ({"Cat": FEW, "Dog": 44}, None),
        ({"Cat": FEW, "Dog": 45}, "note"),
        ({"Cat": FEW, "Dog": 149}, "note"),
        ({"Cat": FEW, "Dog": 150, "Emu": 40}, "warning"),
    ],
)
def test_imbalance(tmp_path: Path, counts: dict[str, int], severity: str | None) -> None:
    found = kinds(make(tmp_path, counts))
    assert (found["imbalance"].severity if "imbalance" in found else None) == severity
    if severity:
        ratio = counts["Dog"] / counts["Cat"]
        assert found["imbalance"].message.startswith(f"Dog has {ratio:.1f} times as many images as Cat")


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("cat", "Cat", True),
        ("Straße", "STRASSE", True),
        ("café", "cafe\N{COMBINING ACUTE ACCENT}", True),
        ("big cat", "Big  Cat", True),
        ("cat", "cats", False),
        ("cafe", "café", False),
    ],
)
def test_class_names_that_differ_by_case_only(tmp_path: Path, one: str, other: str, alike: bool) -> None:
    found = kinds(make(tmp_path, {one: FEW, other: FEW}))
    assert set(found) == ({"case-only-classes"} if alike else set())


# ---------------------------------------------------------------------------------------------- order and table


def test_nothing_is_opened_by_check(tmp_path: Path, looked: list[str]) -> None:
    one = scan(make(tmp_path / "p"))
    (tmp_path / "p").rename(tmp_path / "away")
    assert check(one) == ()


def test_a_catalog_without_usable_images_is_checked(tmp_path: Path) -> None:
    for label in ("Cat", "Dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_bytes(b"<html>")
    assert {one.kind for one in check(scan(tmp_path))} == {"unreadable", "few-images"}


def test_many_small_classes_are_one_line(tmp_path: Path) -> None:
    found = kinds(make(tmp_path, {f"class {n}": 3 for n in range(30)}))
    assert "30 classes have fewer than 30 images" in found["few-images"].message
