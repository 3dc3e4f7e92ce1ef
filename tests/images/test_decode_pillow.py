"""Palettes, deep and transparent pixels, several frames, arrays."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hostile import (
    animated,
    chunk,
    encode,
    photo,
    png,
    png16,
    tiff,
    truncated,
)
from images.decoding import DEEP, LOSSLESS, far, refused, saved
from PIL import Image  # noqa: TID253

from housetrain.errors import DecodeError
from housetrain.images.decode import decode, examine, load_image, probe
from housetrain.images.input_spec import InputSpec


@pytest.mark.parametrize("format_", ["PNG", "GIF", "BMP", "TIFF"])
def test_palettes_become_colors(format_: str) -> None:
    small = Image.fromarray(photo(seed=6)).quantize(32)
    seen = examine(saved(small, format_))
    assert seen.header.mode == "P" and np.array_equal(seen.pixels, np.asarray(small.convert("RGB")))


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit_is_black_and_white(format_: str) -> None:
    bits = photo(seed=7)[:, :, 0] > 128
    for data in (
        saved(Image.fromarray(bits), format_),
        *([saved(Image.fromarray(bits), "TIFF", compression="group4")] if format_ == "TIFF" else []),
    ):
        assert np.array_equal(decode(data, color_mode="grayscale")[:, :, 0], np.where(bits, 255, 0))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits_of_gray_span_black_to_white(bits: int) -> None:
    levels = np.arange(1 << bits, dtype=np.uint8)
    row = np.concatenate((levels, levels[: -len(levels) % (8 // bits)]))
    packed = np.packbits(np.unpackbits(row[:, np.newaxis], axis=1)[:, 8 - bits :].ravel()).tobytes()
    header = struct.pack(">IIBBBBB", len(row), 1, bits, 0, 0, 0, 0)
    data = png(chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" + packed)))
    right = np.rint(row.astype(float) * 255 / (len(levels) - 1))
    assert np.array_equal(decode(data, color_mode="grayscale")[0, :, 0], right)


@pytest.mark.parametrize("build", [png16, tiff])
def test_16_bit_gray_is_scaled_and_never_clipped(build: Callable[[Any], bytes]) -> None:
    gray = decode(build(DEEP), color_mode="grayscale")[:, :, 0]
    assert np.array_equal(gray, np.rint(DEEP / 257))
    assert gray.min() == 0 and gray.max() == 255 and len(np.unique(gray)) == 256


@pytest.mark.parametrize("build", [lambda rgb: png16(rgb, color_type=2), tiff])
def test_16_bit_color_is_scaled_and_never_clipped(build: Callable[[Any], bytes]) -> None:
    values = np.dstack((DEEP, DEEP[::-1], DEEP[:, ::-1]))
    pixels = decode(build(values))
    assert np.abs(pixels - values / 257).max() <= 1  # Pillow cuts where it should round
    assert pixels.min() == 0 and pixels.max() == 255


def test_16_bit_with_alpha() -> None:
    values = np.dstack((DEEP, np.full_like(DEEP, 65535)))
    assert np.abs(decode(png16(values, color_type=4), color_mode="grayscale")[:, :, 0] - DEEP / 257).max() <= 1
    clear = np.dstack((DEEP, DEEP, DEEP, np.zeros_like(DEEP)))
    assert (decode(png16(clear, color_type=6), background=(1, 2, 3)) == (1, 2, 3)).all()


@pytest.mark.parametrize("white", [4095, None], ids=["of the folder", "its own"])
def test_12_bits_of_gray_with_alpha_in_16(white: int | None) -> None:
    alpha = np.full_like(RAMP, 65535)
    alpha[:10] = 0
    seen = examine(png16(np.dstack((RAMP, alpha)), color_type=4), color_mode="grayscale", white=white)
    assert (seen.pixels[:10] == 255).all() and np.array_equal(seen.pixels[10:, :, 0], RIGHT[10:])
    assert seen.peak == 4095


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_gray_of_few_bits_shows_the_background(bits: int) -> None:
    levels = np.arange(1 << bits, dtype=np.uint8)
    row = np.concatenate((levels, levels[: -len(levels) % (8 // bits)]))
    packed = np.packbits(np.unpackbits(row[:, np.newaxis], axis=1)[:, 8 - bits :].ravel()).tobytes()
    clear = len(levels) // 2
    header = struct.pack(">IIBBBBB", len(row), 1, bits, 0, 0, 0, 0)
    tail = chunk(b"tRNS", struct.pack(">H", clear)), chunk(b"IDAT", zlib.compress(b"\0" + packed))
    gray = decode(png(chunk(b"IHDR", header), *tail), color_mode="grayscale", background=(77, 77, 77))[0, :, 0]
    right = np.rint(row.astype(float) * 255 / (len(levels) - 1))
    right[row == clear] = 77
    assert np.array_equal(gray, right)


def test_a_strict_warning_filter_changes_no_verdict() -> None:
    odd = with_odd_exif(encode(photo(40, 60, 1), "TIFF"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        expected = decode(odd)
    assert caught == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(decode(odd), expected)


def with_odd_exif(data: bytes) -> bytes:
    """A TIFF whose last tag points behind the end: Pillow warns of it."""
    at = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, at)[0]
    entry = at + 2 + 12 * (count - 1)
    return data[:entry] + struct.pack("<HHII", 33432, 2, 400, len(data) - 4) + data[entry + 12 :]


RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
RIGHT = np.rint(RAMP / 4095 * 255)


@pytest.mark.parametrize("white", [4095, None], ids=["of the folder", "its own"])
@pytest.mark.parametrize("build", [png16, tiff, lambda values: tiff(values.astype(np.int32))])
def test_12_bits_in_16_become_all_grays(build: Callable[[Any], bytes], white: int | None) -> None:
    seen = examine(build(RAMP), color_mode="grayscale", white=white)
    assert np.array_equal(seen.pixels[:, :, 0], RIGHT) and seen.peak == 4095
    assert len(np.unique(decode(build(RAMP)))) <= 17


@pytest.mark.parametrize("white", [4095, None], ids=["of the folder", "its own"])
@pytest.mark.parametrize(
    "build",
    [
        lambda rgb: png16(rgb, color_type=2),
        lambda rgb: png16(np.dstack((rgb, np.full_like(RAMP, 65535))), color_type=6),
        tiff,
    ],
    ids=["PNG", "PNG with alpha", "TIFF"],
)
def test_12_bits_of_color_in_16(build: Callable[[Any], bytes], white: int | None) -> None:
    values = np.dstack((RAMP, RAMP[::-1], RAMP[:, ::-1]))
    seen = examine(build(values), white=white)
    assert np.array_equal(seen.pixels, np.rint(values / 4095 * 255)) and seen.peak == 4095


@pytest.mark.parametrize("options", [{}, {"flip": True}], ids=["little-endian", "big-endian"])
def test_12_bits_of_color_in_an_uncompressed_tiff(options: dict[str, bool]) -> None:
    values = np.dstack((RAMP, RAMP[::-1], RAMP[:, ::-1]))
    order = ">" if options else "<"
    tags = [(256, 64), (257, 64), (258, 16), (259, 1), (262, 2), (273, 8), (277, 3), (278, 64), (279, values.nbytes)]
    body = values.astype(f"{order}u2").tobytes()
    head = (b"MM" if options else b"II") + struct.pack(f"{order}HI", 42, 8 + len(body))
    entries = b""
    for tag, value in tags:
        if tag == 258:
            entries += struct.pack(f"{order}HHII", tag, 3, 3, 8 + len(body) + 2 + 12 * len(tags) + 4)
        else:
            entries += struct.pack(f"{order}HHII", tag, 4, 1, value)
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + struct.pack(f"{order}3H", 16, 16, 16)
    seen = examine(head + body + directory, white=None)
    assert np.array_equal(seen.pixels, np.rint(values / 4095 * 255)) and seen.peak == 4095


def test_values_above_white_are_white_and_other_images_do_not_change() -> None:
    brighter = np.full((4, 4), 9000, np.uint16)
    assert (decode(png16(brighter), white=4095) == 255).all()
    for data in (png16(DEEP), encode(photo(seed=6), "PNG"), encode(photo(seed=6), "JPEG"), tiff(DEEP / np.float32(9))):
        seen = examine(data, white=None)
        assert np.array_equal(seen.pixels, decode(data)) and seen.peak == (65535 if data == png16(DEEP) else 0)
    assert np.array_equal(decode(encode(photo(seed=6), "PNG"), white=4095), photo(seed=6))


def test_arrays_and_pillow_images_of_12_bits() -> None:
    spec = InputSpec(64, 64, white=4095)
    for source in (RAMP, Image.fromarray(RAMP), png16(RAMP)):
        assert np.array_equal(load_image(source, spec)[:, :, 0], RIGHT)
    with_alpha = np.dstack((RAMP, np.full_like(RAMP, 65535)))
    assert np.array_equal(load_image(with_alpha, spec)[:, :, 0], RIGHT)


def test_16_bit_with_a_transparent_gray() -> None:
    values = DEEP.copy()
    values[:10] = 4000
    header = struct.pack(">IIBBBBB", 64, 40, 16, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = png(chunk(b"IHDR", header), chunk(b"tRNS", struct.pack(">H", 4000)), chunk(b"IDAT", zlib.compress(rows)))
    gray = decode(data, color_mode="grayscale", background=(200, 200, 200))[:, :, 0]
    assert (gray[:10] == 200).all() and np.array_equal(gray[20:], np.rint(values / 257)[20:])


def test_three_float_channels_go_to_another_decoder() -> None:
    rgb = photo(40, 50, seed=8)
    data = tiff(rgb.astype(np.float32) / 255)
    assert np.abs(decode(data).astype(int) - rgb).max() <= 1
    assert (probe(data).format, probe(data).width, probe(data).height) == ("TIFF", 50, 40)


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 30)])
def test_alpha_shows_the_background(format_: str, background: tuple[int, int, int]) -> None:
    rgb = photo(150, 32, seed=9)
    alpha = np.linspace(0, 255, 150 * 32).astype(np.uint8).reshape(150, 32)
    options = {**LOSSLESS[format_], **({"exact": True} if format_ == "WEBP" else {})}
    pixels = decode(encode(np.dstack((rgb, alpha)), format_, **options), background=background)
    weight = alpha[:, :, np.newaxis] / 255
    assert np.abs(pixels - (rgb * weight + np.array(background) * (1 - weight))).max() <= 1
    assert (pixels[0, 0] == background).all() and (pixels[-1, -1] == rgb[-1, -1]).all()


def test_gray_with_alpha() -> None:
    both = np.dstack((np.full((4, 4), 100, np.uint8), np.array([0, 85, 170, 255] * 4, np.uint8).reshape(4, 4)))
    pixels = decode(encode(both, "PNG"), color_mode="grayscale", background=(220, 220, 220))
    assert pixels[0, :, 0].tolist() == [220, 180, 140, 100]


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
def test_a_transparent_palette_entry_shows_the_background(format_: str) -> None:
    small = Image.fromarray(photo(40, 40, seed=10)).quantize(16)
    places = np.asarray(small)
    clear = int(places[0, 0])
    pixels = decode(saved(small, format_, transparency=clear), background=(1, 2, 3))
    assert (pixels[places == clear] == (1, 2, 3)).all()
    assert np.array_equal(pixels[places != clear], np.asarray(small.convert("RGB"))[places != clear])


def test_a_palette_with_many_alphas() -> None:
    small = Image.fromarray(photo(40, 40, seed=11)).quantize(8)
    alphas = bytes(range(0, 256, 32))
    pixels = decode(saved(small, "PNG", transparency=alphas), background=(0, 0, 0))
    weight = np.frombuffer(alphas, np.uint8)[np.asarray(small)][:, :, np.newaxis] / 255
    assert np.abs(pixels - np.asarray(small.convert("RGB")) * weight).max() <= 1


def test_a_transparent_color_shows_the_background() -> None:
    rgb = photo(20, 20, seed=12)
    rgb[:5] = (9, 8, 7)
    pixels = decode(saved(Image.fromarray(rgb), "PNG", transparency=(9, 8, 7)), background=(255, 0, 0))
    assert (pixels[:5] == (255, 0, 0)).all() and np.array_equal(pixels[5:], rgb[5:])


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_taken(format_: str) -> None:
    data = animated(format_, 3)
    seen = examine(data)
    assert seen.header.frames == 3 and probe(data).frames == 3
    distances = [far(seen.pixels, photo(64, 80, seed)) for seed in range(3)]
    assert distances[0] < 15 < min(distances[1:])


def test_a_cut_later_frame_is_told() -> None:
    for format_ in ("GIF", "WEBP", "PNG"):
        assert refused(truncated(animated(format_, 3), 0.8)) == "truncated"


@pytest.mark.parametrize("kind", ["uint16", "float", "bool", "grayscale", "alpha"])
def test_arrays_of_many_kinds(kind: str) -> None:
    rgb = photo(20, 20, seed=24)
    spec = InputSpec(20, 20, "rgb")
    arrays: dict[str, tuple[Any, Any]] = {
        "uint16": (rgb.astype(np.uint16) * 257, rgb),
        "float": (rgb / 255, rgb),
        "bool": (rgb > 100, np.where(rgb > 100, 255, 0)),
        "grayscale": (rgb[:, :, 0], np.repeat(rgb[:, :, :1], 3, axis=2)),
        "alpha": (np.dstack((rgb, np.zeros((20, 20), np.uint8))), np.full_like(rgb, 255)),
    }
    source, right = arrays[kind]
    assert np.array_equal(load_image(source, spec), right)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2, 5)), np.zeros((0, 4, 3)), np.array([["a"]])])
def test_arrays_that_are_no_image(array: Any) -> None:
    with pytest.raises(DecodeError, match="not an image"):
        load_image(array, InputSpec())
