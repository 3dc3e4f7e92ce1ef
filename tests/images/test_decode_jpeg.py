"""JPEGs: strict about lost pixels, tolerant of harmless defects, the same at every scale."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hostile import (
    cmyk_jpeg,
    encode,
    flipped,
    jpeg,
    photo,
    scan_start,
    with_fake_end,
)
from images.decoding import far, refused
from images.odd_files import lossless_jpeg
from PIL import Image  # noqa: TID253

from housetrain.errors import DecodeError
from housetrain.images.decode import decode, examine, load_image, probe
from housetrain.images.input_spec import InputSpec


def ycck_jpeg(image: Any) -> bytes:
    """Four inks as brightness, two color differences and black: what print shops send."""
    inks = 255 - np.asarray(Image.fromarray(image).convert("CMYK"))
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(inks), quality=97, colorspace="CMYK")
    assert data[data.index(b"Adobe") + 11] == 2
    return data


@pytest.mark.parametrize("build", [cmyk_jpeg, ycck_jpeg])
def test_inks_become_light(build: Callable[[Any], bytes]) -> None:
    image = photo(seed=5)
    data = build(image)
    assert probe(data).mode == "CMYK"
    assert far(decode(data), image) < 4
    assert far(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))) < 2
    assert far(decode(data, color_mode="grayscale"), decode(encode(image, "PNG"), color_mode="grayscale")) < 4
    assert far(load_image(data, InputSpec(30, 40, "rgb")), load_image(image, InputSpec(30, 40, "rgb"))) < 4


def test_a_lossless_jpeg_is_exact() -> None:
    image = photo(40, 60, 1)
    assert np.array_equal(decode(lossless_jpeg(image)), image)
    assert np.array_equal(decode(lossless_jpeg(image[:, :, 0]))[:, :, 0], image[:, :, 0])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_a_cut_jpeg_is_told_at_every_length(options: dict[str, Any]) -> None:
    data = jpeg(48, 64, seed=14, **options)
    kept = [length for length in range(len(data) - 2) if _usable(data[:length])]
    # without its end marker a whole image is still whole; a byte or two of padding are no pixels
    assert all(length > len(data) - 5 for length in kept)
    assert _usable(data[:-2]) is not bool(options.get("progressive"))


def _usable(data: bytes) -> bool:
    try:
        decode(data)
    except DecodeError as error:
        assert error.reason in ("truncated", "empty file", "not an image") or error.reason.startswith("damaged")
        return False
    return True


def verdict(data: bytes, **options: Any) -> str:
    try:
        return examine(data, **options).oddity
    except DecodeError as error:
        return error.reason


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_scaled_decoding_finds_the_same_damage(options: dict[str, Any]) -> None:
    """What check decodes small must be what training can decode large."""
    data, chance = jpeg(200, 240, seed=15, **options), random.Random(0)
    told = 0
    for _ in range(80):
        at = chance.randrange(scan_start(data), len(data) - 2)
        gap = chance.choice((0, 0, 1, 30, 300))
        changed = data[:at] + data[at + gap :] if gap else flipped(data, at, chance.randrange(8))
        whole = verdict(changed)
        told += bool(whole)
        for at_least in ((20, 20), (40, 40), (90, 90)):
            assert verdict(changed, at_least=at_least) == whole
    assert told > 8


def test_pixels_that_libjpeg_would_paint_gray_are_an_error() -> None:
    data = jpeg(seed=16)
    assert refused(with_fake_end(data, 0.6)).startswith("damaged")
    assert refused(bytearray(data[: scan_start(data) + 500]).ljust(len(data) - 2, b"\0") + b"\xff\xd9")


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = jpeg(64, 64, progressive=True)
    at = data.rindex(b"\xff\xda")
    began = time.perf_counter()
    assert refused(data[:at] + data[at:-2] * 2000 + b"\xff\xd9").startswith("too many scans")
    assert time.perf_counter() - began < 5
