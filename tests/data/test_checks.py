"""What check says: each kind of finding where it is due, and nothing about a folder that is well."""

from __future__ import annotations

import csv
import functools
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hostile import animated, cmyk_jpeg, encode, jpeg, photo
from PIL import Image  # noqa: TID253

from housetrain.data import duplicates
from housetrain.data.catalog import scan
from housetrain.data.checks import FEW, LEAST, check
from housetrain.data.findings import Finding, write_findings
from housetrain.data.image_metadata import perceptual_hash
from housetrain.data.split_groups import duplicate_groups

pytestmark = pytest.mark.usefixtures("looked")
SIDE = 96


@functools.cache
def image(seed: int) -> bytes:
    return jpeg(SIDE, SIDE + 24, seed=seed)


def make(root: Path, counts: dict[str, int] | None = None) -> Path:
    """A folder that is well: enough images in each class, no two alike."""
    seed = 0
    for label, count in (counts or {"Cat": FEW, "Dog": FEW}).items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            seed += 1
            (root / label / f"{number:03}.jpg").write_bytes(image(seed))
    return root


def kinds(root: Path, **options: Any) -> dict[str, Finding]:
    """Kind -> finding, where there is one of each kind at most."""
    found = check(scan(root), **options)
    named = {one.kind: one for one in found}
    assert len(named) == len(found), found
    for one in found:
        assert "\n" not in one.message and one.message and one.do
        assert set(one.leaves_out) <= set(one.paths)
        assert len(one.details) in (0, len(one.paths))
    return named


def test_a_folder_that_is_well_has_no_findings(tmp_path: Path) -> None:
    assert check(scan(make(tmp_path))) == ()


# ---------------------------------------------------------------------------------------------- one file planted


def blurred(seed: int) -> bytes:
    return encode(cv2.GaussianBlur(photo(200, 240, seed), (0, 0), 14), "JPEG")


def night(seed: int) -> bytes:
    """Dark, and with a few lights."""
    return encode((photo(SIDE, SIDE, seed).astype(float) ** 4 / 255**3 * 0.3).astype(np.uint8), "PNG")


def spare(seed: int) -> bytes:
    return image(seed)[:-2] + b"\x12\x34\x56" * 20 + b"\xff\xd9"


FILES: dict[str, tuple[str, str, bool, Callable[[int], bytes]]] = {  # kind -> severity, name, left out, content
    "unreadable": ("error", "cut.jpg", True, lambda seed: image(seed)[:2000]),
    "wrong-extension": ("note", "really png.jpg", False, lambda seed: encode(photo(SIDE, SIDE, seed), "PNG")),
    "damaged": ("warning", "spare.jpg", False, spare),
    "odd-file": ("note", "no end.jpg", False, lambda seed: image(seed)[:-2]),
    "print-colors": ("note", "print.jpg", False, lambda seed: cmyk_jpeg(photo(SIDE, SIDE, seed))),
    "animated": ("note", "moves.gif", False, lambda _: animated("GIF")),
    "uniform": ("note", "flat.png", False, lambda _: encode(np.full((SIDE, SIDE, 3), 120, np.uint8), "PNG")),
    "dark": ("note", "night.png", False, night),
    "blurry": ("note", "soft.jpg", False, blurred),
    "odd-aspect": ("note", "long.jpg", False, lambda seed: jpeg(80, 300, seed=seed)),
    "odd-size": ("note", "tiny.jpg", False, lambda seed: jpeg(16, 20, seed=seed)),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_planted_file_is_found_and_nothing_else(tmp_path: Path, kind: str) -> None:
    severity, name, left_out, build = FILES[kind]
    (make(tmp_path) / "Cat" / name).write_bytes(build(777))
    found = kinds(tmp_path)
    assert set(found) == {kind}
    one = found[kind]
    assert one.severity == severity and one.paths == (f"Cat/{name}",)
    assert one.leaves_out == (one.paths if left_out else ())


@pytest.mark.parametrize(
    "build",
    [
        lambda seed: jpeg(95, 280, seed=seed),  # not yet long
        lambda seed: jpeg(26, 30, seed=seed),  # small, and not very
        lambda seed: encode(photo(SIDE, SIDE, seed) // 5, "PNG"),  # a dim one
        lambda seed: encode(cv2.GaussianBlur(photo(200, 240, seed), (0, 0), 1.5), "JPEG"),  # a soft one
        lambda seed: encode((photo(SIDE, SIDE, seed) // 6 + 100).astype(np.uint8), "PNG"),  # a pale one
    ],
)
def test_what_is_within_bounds_is_not_named(tmp_path: Path, build: Callable[[int], bytes]) -> None:
    data = build(778)
    suffix = "png" if data.startswith(b"\x89PNG") else "jpg"
    (make(tmp_path) / "Cat" / f"new.{suffix}").write_bytes(data)
    assert kinds(tmp_path) == {}


def test_unreadable_files_are_grouped_by_reason(tmp_path: Path) -> None:
    root = make(tmp_path)
    for number in range(3):
        (root / "Cat" / f"cut {number}.jpg").write_bytes(image(number + 1)[:2000])
    (root / "Dog" / "page.jpg").write_bytes(b"<html>")
    found = check(scan(root))
    assert [(one.kind, len(one.paths), one.leaves_out == one.paths) for one in found] == [
        ("unreadable", 1, True),
        ("unreadable", 3, True),
    ]
    assert [one.message for one in found] == [
        "1 file cannot be used: not an image (HTML)",
        "3 files cannot be used: truncated",
    ]


def test_many_groups_become_one_finding(tmp_path: Path) -> None:
    root = make(tmp_path)
    for number in range(25):
        (root / "Cat" / f"copy {number:03}.jpg").write_bytes((root / "Cat" / f"{number:03}.jpg").read_bytes())
    one = kinds(root)["exact-duplicate"]
    assert len(one.paths) == 50 and one.message == "25 images have copies (50 files)"
    assert set(one.leaves_out) == {f"Cat/copy {number:03}.jpg" for number in range(25)}


# ---------------------------------------------------------------------------------------------- looks


def test_what_most_images_are_is_said_once_and_of_no_image(tmp_path: Path) -> None:
    root = make(tmp_path)
    for number, path in enumerate(sorted(root.rglob("*.jpg"))[::3]):
        path.write_bytes(night(1000 + number))
    found = [one for one in check(scan(root)) if one.kind == "dark"]
    assert len(found) == 1 and found[0].paths == () and found[0].message.startswith("33% of the images")


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


def test_half_of_the_bits_of_a_hash_are_set() -> None:
    for seed in range(20):
        bits = int(perceptual_hash(photo(64, 64, seed)[:, :, 0]), 16).bit_count()
        assert bits in (31, 32)


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


# ---------------------------------------------------------------------------------------------- classes


def test_one_class_is_an_error(tmp_path: Path) -> None:
    found = kinds(make(tmp_path, {"Cat": FEW}))
    assert set(found) == {"one-class"} and found["one-class"].severity == "error"


def test_one_class_guesses_the_folder_below(tmp_path: Path) -> None:
    found = kinds(make(tmp_path, {"PetImages/Cat": FEW, "PetImages/Dog": FEW}))
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


def test_the_most_severe_come_first(tmp_path: Path) -> None:
    root = make(tmp_path, {"Cat": FEW, "Dog": 50})
    (root / "Bird").mkdir()
    (root / "Cat" / "cut.jpg").write_bytes(image(1)[:2000])
    (root / "Cat" / "moves.gif").write_bytes(animated("GIF"))
    severities = [one.severity for one in check(scan(root))]
    assert severities == ["error", "warning", "note", "note"]


def test_nothing_is_opened_by_check(tmp_path: Path, looked: list[str]) -> None:
    one = scan(make(tmp_path / "p"))
    (tmp_path / "p").rename(tmp_path / "away")
    assert check(one) == ()


def test_the_table_has_a_row_for_every_image(tmp_path: Path) -> None:
    root = make(tmp_path / "p")
    names = ["Cat/new\nline.jpg", 'Cat/with "quotes", commas.jpg', os.fsdecode(b"Cat/not \xff utf-8.jpg")]
    for name in names:
        (root / name).write_bytes(b"")
    (root / "Bird").mkdir()
    (root / "Cat" / "copy.jpg").write_bytes((root / "Cat" / "001.jpg").read_bytes())
    write_findings(check(scan(root)), tmp_path / "findings.csv")
    text = (tmp_path / "findings.csv").read_bytes().decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == ["kind", "severity", "path", "left_out", "reason", "do"]
    assert {row["path"] for row in rows if row["kind"] == "unreadable"} == set(names)
    assert {(row["path"], row["left_out"]) for row in rows if row["kind"] == "exact-duplicate"} == {
        ("Cat/001.jpg", "no"),
        ("Cat/copy.jpg", "yes"),
    }
    assert [row["path"] for row in rows if row["kind"] == "empty-class"] == [""]
    assert all(row["reason"] and row["do"] for row in rows)


def test_a_catalog_without_usable_images_is_checked(tmp_path: Path) -> None:
    for label in ("Cat", "Dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_bytes(b"<html>")
    assert {one.kind for one in check(scan(tmp_path))} == {"unreadable", "few-images"}


def test_print_colors_need_print(tmp_path: Path) -> None:
    gray = Image.fromarray(photo(SIDE, SIDE, 500)).convert("L")
    gray.save(make(tmp_path) / "Cat" / "gray.jpg")
    assert kinds(tmp_path) == {}
