"""Each check of single images: one planted file is found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from data.checked_folders import SIDE, image, kinds, make
from hostile import animated, cmyk_jpeg, encode, jpeg, photo, png16
from images.odd_files import gray_ramp, tiff_of
from PIL import Image  # noqa: TID253

from housetrain.data.catalog import scan
from housetrain.data.checks import check

pytestmark = pytest.mark.usefixtures("looked")


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
    assert [one.do for one in found] == [
        "replace the file with a good copy if you have one; training excludes it",
        "replace the files with good copies if you have them; training excludes them",
    ]


def test_reasons_of_formats_that_are_not_read_are_named_whole(tmp_path: Path) -> None:
    root = make(tmp_path)
    for number, white_is_zero in enumerate((True, True, False)):
        kind = "f4" if white_is_zero else "f2"
        (root / "Cat" / f"{number}.tif").write_bytes(tiff_of(gray_ramp(kind), white_is_zero=white_is_zero))
    (found,) = check(scan(root))
    assert found.kind == "unsupported" and found.message.count("(") == found.message.count(")") >= 3
    assert found.do.startswith("convert each of them: ") and found.do.endswith("training excludes them")


def test_what_most_images_are_is_said_once_and_of_no_image(tmp_path: Path) -> None:
    root = make(tmp_path)
    for number, path in enumerate(sorted(root.rglob("*.jpg"))[::3]):
        path.write_bytes(night(1000 + number))
    found = [one for one in check(scan(root)) if one.kind == "dark"]
    assert len(found) == 1 and found[0].paths == () and found[0].message.startswith("33 % of the images")


def test_print_colors_need_print(tmp_path: Path) -> None:
    gray = Image.fromarray(photo(SIDE, SIDE, 500)).convert("L")
    gray.save(make(tmp_path) / "Cat" / "gray.jpg")
    assert kinds(tmp_path) == {}


def deep(seed: int, *, bits: int = 12) -> bytes:
    """A photo of 16 bits that uses only some of them."""
    return png16(photo(SIDE, SIDE, seed)[:, :, 0].astype(np.uint16) << bits - 8)


def test_16_bit_images_that_use_12_bits_are_one_note(tmp_path: Path) -> None:
    make(tmp_path)
    for number in range(4):
        (tmp_path / "Cat" / f"x-ray {number}.png").write_bytes(deep(500 + number))
    catalog = scan(tmp_path)
    assert catalog.white == 4095
    (one,) = check(catalog)
    assert (one.kind, one.severity, one.leaves_out) == ("bit-depth", "note", ())
    assert one.message.startswith("these 16-bit images use 12 bits (4 images, values up to 4,0")
    assert one.message.endswith("4,095 becomes white")


def test_12_bits_among_images_of_16_bits_are_a_warning(tmp_path: Path) -> None:
    make(tmp_path)
    for number in range(4):
        (tmp_path / "Cat" / f"scan {number}.png").write_bytes(deep(500 + number, bits=16 if number else 12))
    catalog = scan(tmp_path)
    assert catalog.white == 65535
    (one,) = check(catalog)
    assert (one.kind, one.severity, one.paths) == ("bit-depth", "warning", ("Cat/scan 0.png",))
    assert one.message == "1 of 4 16-bit images uses at most 12 bits, others use more"
