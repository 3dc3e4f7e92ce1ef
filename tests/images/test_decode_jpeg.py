"""JPEGs: strict about lost pixels, tolerant of harmless defects, the same at every scale."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
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
    truncated,
    with_fake_end,
)
from images.decoding import far, refused
from images.odd_files import arithmetic_jpeg, lossless_jpeg, with_segment
from PIL import Image  # noqa: TID253

from housetrain.data.catalog import scan
from housetrain.errors import DecodeError
from housetrain.images import decode_jpeg
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


@pytest.mark.parametrize("progressive", [False, True])
def test_an_arithmetic_coded_jpeg_is_read_whole_or_not_at_all(progressive: bool) -> None:
    data = arithmetic_jpeg(progressive=progressive)
    image = np.zeros((32, 48, 3), np.uint8)
    rows, columns = np.indices((32, 48))
    image[:, :, 0], image[:, :, 1], image[:, :, 2] = columns * 5, rows * 7, (columns // 8 + rows // 8) % 2 * 200 + 20
    assert far(decode(data), image) < 25
    assert np.array_equal(decode(data + bytes(1000)), decode(data))
    for length in range(len(data) - 4):
        assert not _usable(data[:length])
    start = scan_start(data)
    for length in range(start, len(data) - 5):
        if progressive and length < len(data) - 12:
            continue  # a cut between two scans cannot be told, as in any progressive file
        cut = data[:length] + b"\xff\xd9"
        for options in ({}, {"color_mode": "grayscale"}, {"at_least": (4, 4)}):
            assert refused(cut, **options) == "truncated"


def test_photos_of_phones_that_carry_more_than_a_photo() -> None:
    """Motion photos append a film, Ultra HDR a second JPEG; XMP and MPF segments announce them."""
    plain = jpeg(seed=40)
    announced = with_segment(with_segment(plain, 0xE2, b"MPF\0II*\0" + bytes(60)), 0xE1, XMP)
    film = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(range(256)) * 40
    for appended in (film, jpeg(30, 40, seed=41), b"\0\0SEFH" + bytes(200) + b"SEFT"):
        seen = examine(announced + appended)
        assert np.array_equal(seen.pixels, decode(plain)) and seen.oddity == "" and seen.header.frames == 1
        assert refused(truncated(announced, 0.6)) == "truncated"


XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/'/>"


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


# ---------------------------------------------------------------------------------------------- above the pixel limit

_SIZE = (9000, 12000)

_GREW = """
import resource, sys
from housetrain.images.decode import load_image
from housetrain.images.input_spec import InputSpec
load_image(sys.argv[1], InputSpec(96, 96))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_image(sys.argv[2], InputSpec(96, 96))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.fixture(scope="module")
def phone_photo() -> bytes:
    """108 megapixels: the blocks of a small image, 150 times as large."""
    small = np.kron(photo(60, 80, seed=21)[:, :, 0], np.ones((10, 10), np.uint8))
    large = np.kron(small, np.ones((15, 15), np.uint8))[:, :, np.newaxis]
    assert large.shape[:2] == _SIZE
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(large), quality=80, colorspace="GRAY")
    return data


def test_a_photo_of_108_megapixels_is_read_small(phone_photo: bytes, tmp_path: Path) -> None:
    small = photo(60, 80, seed=21)[:, :, :1]
    for spec in (InputSpec(60, 80), InputSpec(60, 80, "rgb")):
        assert far(load_image(phone_photo, spec)[:, :, :1], small) < 4
    assert decode(phone_photo).shape == (4500, 6000, 3)
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(phone_photo if name == "a/1.jpg" else jpeg(seed=22))
    record = scan(tmp_path, cache=False).images[0]
    assert record.usable and (record.header.height, record.header.width) == _SIZE
    command = [sys.executable, "-c", _GREW, str(tmp_path / "b/2.jpg"), str(tmp_path / "a/1.jpg")]
    grew = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert int(grew) < 48 << 10  # KiB: the file and 1/64 of the pixels


def test_a_cut_photo_of_108_megapixels_is_truncated_at_every_scale(phone_photo: bytes) -> None:
    cut = phone_photo[: len(phone_photo) * 4 // 5]
    assert {verdict(cut), verdict(cut, at_least=(64, 64)), verdict(cut, color_mode="grayscale")} == {"truncated"}


def test_a_scan_header_without_content_is_an_error() -> None:
    data = jpeg(64, 64)
    assert refused(data[: data.index(b"\xff\xda")] + b"\xff\xda\0\2")


def test_the_memory_of_a_large_progressive_jpeg_is_limited() -> None:
    for options, megapixels in (({"subsampling": 0}, 100), ({"subsampling": 2}, 200)):
        data = bytearray(jpeg(64, 64, progressive=True, **options))
        at = data.index(b"\xff\xc2")
        data[at + 5 : at + 9] = (20_000).to_bytes(2, "big") * 2
        reason = "too many pixels (20000x20000): progressive JPEG is read up to {} million; save it smaller"
        assert refused(bytes(data)) == reason.format(megapixels)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_the_decoder_of_rare_layouts_is_scaled_too(scale: int) -> None:
    data = jpeg(101, 130, seed=23)
    pixels = decode_jpeg._by_pillow(data, decode_jpeg.read_header(data), "rgb", scale)
    assert pixels.shape == (-(-101 // scale), -(-130 // scale), 3)
    assert far(pixels, decode(data, max_pixels=pixels.size // 3)) < 2
