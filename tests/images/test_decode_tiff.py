"""TIFFs of every layout: the right pixels, or a clear refusal, and never other numbers than the file holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hostile import truncated
from images.decoding import refused
from images.odd_files import big_tiff_of, color_ramp, gray_ramp, tiff_of, with_larger_page_below

from housetrain.errors import DecodeError
from housetrain.images.decode import decode, examine, probe
from housetrain.images.decode_tiff import read_layout

KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")


def layouts() -> list[tuple[str, dict[str, Any]]]:
    return [
        (color, {"planar": planar, "tile": tile, "big_endian": big_endian, "compressed": compressed})
        for color in ("gray", "RGB")
        for planar in ((False, True) if color == "RGB" else (False,))
        for tile in (0, 16)
        for big_endian in (False, True)
        for compressed in (False, True)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_gives_the_right_pixels_or_is_refused(kind: str) -> None:
    used = []
    for color, options in layouts():
        values, expected = (
            (gray_ramp(kind), gray_ramp()[:, :, np.newaxis]) if color == "gray" else (color_ramp(kind), color_ramp())
        )
        data = tiff_of(values, **options)
        try:
            pixels = decode(data)
        except DecodeError as error:
            assert error.reason.startswith("unsupported TIFF ("), (color, options)
            continue
        used.append((color, options))
        assert np.abs(pixels.astype(int) - expected).max() <= 1, (color, options)
    # what collections hold stays usable
    plain = {"planar": False, "tile": 0, "big_endian": False, "compressed": False}
    assert (("gray", plain) in used) == (kind not in ("i1", "f2", "f8"))
    assert (("RGB", plain) in used) == (kind in ("u1", "u2", "f4", "f8"))
    if kind == "u1":
        assert len(used) == len(layouts())


@pytest.mark.parametrize("compressed", [False, True])
def test_white_is_zero_is_not_a_negative(compressed: bool) -> None:
    for kind in ("u1", "u2"):
        values = np.iinfo(kind).max - gray_ramp(kind)
        pixels = decode(tiff_of(values, white_is_zero=True, compressed=compressed), color_mode="grayscale")
        assert np.abs(pixels[:, :, 0].astype(int) - gray_ramp()).max() <= 1
    with pytest.raises(DecodeError, match="unsupported TIFF"):
        decode(tiff_of(gray_ramp("f4"), white_is_zero=True))


def test_one_bit_is_black_and_white() -> None:
    bits = (gray_ramp() > 100).astype(np.uint8)
    assert np.array_equal(decode(tiff_of(bits, bits=1))[:, :, 0], bits * 255)


def test_the_preview_in_a_raw_file_is_not_the_image() -> None:
    with pytest.raises(DecodeError, match="camera RAW"):
        examine(tiff_of(color_ramp(), subfile=1))


def test_a_raw_file_that_does_not_say_so_is_recognized() -> None:
    sub_page = tiff_of(color_ramp(), more={330: ("I", [0])})
    for data in (
        tiff_of(color_ramp(), more={50706: ("I", [1])}),  # a DNG
        tiff_of(gray_ramp(), more={262: ("H", [32803])}),  # values of the sensor
        with_larger_page_below(sub_page, 57),
    ):
        assert refused(data).startswith("not a supported image (camera RAW")
    assert decode(with_larger_page_below(sub_page, 28)).shape == (40, 56, 3)  # smaller copies for viewers


@pytest.mark.parametrize(
    ("number", "name"),
    [(34712, "JPEG 2000"), (34887, "LERC"), (50001, "WebP"), (50002, "JPEG XL"), (4711, "number 4711")],
)
def test_a_compression_that_is_not_read_is_named(number: int, name: str) -> None:
    for values in (color_ramp(), color_ramp("f4"), gray_ramp()):
        assert refused(tiff_of(values, more={259: ("H", [number])})) == f"unsupported TIFF (compression: {name})"
    assert refused(tiff_of(color_ramp("f4"), more={259: ("H", [50000])})) == "unsupported TIFF (compression: Zstandard)"


def test_what_a_library_calls_by_number_has_words() -> None:
    reason = refused(tiff_of(color_ramp(), more={259: ("H", [50000])}))  # not compressed this way
    assert reason == "damaged (the pixels cannot be decoded)"


def test_a_big_endian_big_tiff_is_unsupported() -> None:
    assert refused(big_tiff_of(gray_ramp())) == "unsupported TIFF (8-bit unsigned, big-endian BigTIFF)"


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_gray_with_alpha_is_right_or_refused(kind: str) -> None:
    gray = gray_ramp(kind)
    half = np.full_like(gray, 0.5 if kind == "f4" else np.iinfo(kind).max // 2)
    used = 0
    for options in ({}, {"planar": True}, {"compressed": True}, {"big_endian": True}):
        try:
            both = decode(tiff_of(np.dstack((gray, half)), **options), color_mode="grayscale", background=(0, 0, 0))
        except DecodeError as error:
            assert error.reason.startswith("unsupported TIFF ("), options
            continue
        used += 1
        assert np.abs(both[:, :, 0].astype(int) - gray_ramp() / 2).max() <= 1, options
    assert used == (3 if kind == "u1" else 0)


def test_the_layout_of_both_byte_orders() -> None:
    for big_endian in (False, True):
        layout = read_layout(tiff_of(color_ramp("u2"), big_endian=big_endian, planar=True, orientation=6))
        assert layout is not None and (layout.width, layout.height, layout.orientation) == (56, 40, 6)
        assert (layout.bits, layout.samples, layout.kind, layout.planar) == (16, 3, "unsigned", True)


def test_a_cut_directory_is_truncated() -> None:
    data = tiff_of(color_ramp())
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(DecodeError, match="truncated"):
            probe(truncated(data, share))
