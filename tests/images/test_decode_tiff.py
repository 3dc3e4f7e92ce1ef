"""TIFFs of every layout: the right pixels, or a clear refusal, and never other numbers than the file holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hostile import truncated
from images.odd_files import color_ramp, gray_ramp, tiff_of

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
