"""Formats by content, and the outer structure of files."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import pytest
from hostile import (
    HTML,
    TEXT,
    bad_crc_png,
    chunk,
    encode,
    flipped,
    jpeg,
    photo,
)
from images.decoding import refused
from images.odd_files import short_png
from PIL import Image  # noqa: TID253

from housetrain.images.decode import decode


@pytest.mark.parametrize(
    "data", [b"", HTML, TEXT, b"   \n" + HTML, "<html>".encode("utf-8-sig"), bytes(99), b"\xff\xd8"]
)
def test_what_is_no_image_is_named(data: bytes) -> None:
    assert refused(data) in (
        "empty file",
        "not an image (HTML)",
        "not an image (text)",
        "not an image (only zero bytes)",
        "truncated",
    )


def test_checksums_of_a_png_are_looked_at() -> None:
    image = photo(seed=17)
    assert refused(bad_crc_png(image)) == "damaged (wrong checksum of IDAT)"
    data, chance = encode(image, "PNG"), random.Random(1)
    for _ in range(100):
        reason = refused(flipped(data, chance.randrange(8, len(data)), chance.randrange(8)))
        assert reason == "truncated" or reason.startswith("damaged")


def test_a_bad_note_about_a_image_is_no_bad_image() -> None:
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff"
    assert decode(jpeg(seed=18, exif=exif)).shape == (120, 160, 3)
    data = encode(photo(seed=18), "PNG")
    text = flipped(chunk(b"tEXt", b"Comment\0hello"), 12, 0)
    assert np.array_equal(decode(data[:33] + text + data[33:-12] + text + data[-12:]), decode(data))


@pytest.mark.parametrize("interlaced", [False, True])
def test_missing_rows_of_a_png_are_found(interlaced: bool) -> None:
    gray = photo(21, 37, 2)[:, :, 0]
    gray[-3:] = 0  # rows that are black, and not missing
    assert np.array_equal(decode(short_png(gray, 0, interlaced=interlaced))[:, :, 0], gray)
    for rows in (1, 5, 20):
        assert refused(short_png(gray, rows, interlaced=interlaced)) == "truncated"


def test_a_frame_larger_than_its_gif_is_refused() -> None:
    data = bytearray(encode(photo(16, 16), "GIF"))
    at = 13 + (3 << (data[10] & 7) + 1)
    while data[at] != 0x2C:
        at = at + 8  # a graphic control extension
    struct.pack_into("<HH", data, at + 5, 60000, 60000)
    assert refused(bytes(data)).startswith("too many pixels (60000x60000): GIF is read up to 100 million")


@pytest.mark.parametrize("lossless", [False, True])
def test_a_cut_webp_is_truncated_even_where_its_outer_size_fits(lossless: bool) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo(seed=3)).save(buffer, "WEBP", lossless=lossless)
    cut = bytearray(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    cut[4:8] = (len(cut) - 8).to_bytes(4, "little")
    assert refused(bytes(cut)) == "truncated"


def test_jpeg_ls_is_unsupported_and_not_damaged() -> None:
    data = bytes.fromhex("ffd8 fff7000b080010001001011100 ffda0008010100000000 ffd9")
    assert refused(data) == "unsupported JPEG (JPEG-LS)"
