"""The one decoder: every format and oddity becomes the right pixels, everything else one short reason."""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hostile import (
    BAD,
    FORMATS,
    GOOD,
    HTML,
    TEXT,
    animated,
    bad_crc_png,
    chunk,
    cmyk_jpeg,
    encode,
    flipped,
    huge,
    jpeg,
    photo,
    png,
    png16,
    scan_start,
    tiff,
    truncated,
    with_fake_end,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from images.odd_files import ODD, lossless_jpeg, short_png
from PIL import Image, ImageOps  # noqa: TID253

from housetrain.data.catalog import scan
from housetrain.errors import DataError, DecodeError
from housetrain.images.decode import decode, examine, fit, load_image, probe, read_bytes
from housetrain.images.input_spec import InputSpec
from housetrain.images.pixel_ops import to_uint8
from housetrain.images.sniff import EXTENSIONS
from housetrain.system import regular_files

LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def refused(data: bytes, **options: Any) -> str:
    """The reason why some bytes are no image."""
    with pytest.raises(DecodeError) as caught:
        decode(data, **options)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def far(one: Any, other: Any) -> float:
    """Mean difference of two images, 0 to 255."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


# ---------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_is_known_by_its_content(format_: str) -> None:
    image = photo(seed=1)
    data = encode(image, format_)
    header = probe(data)
    assert (header.format, header.width, header.height, header.frames, header.orientation) == (format_, 160, 120, 1, 1)
    seen = examine(data)
    assert seen.header == header and seen.pixels.dtype == np.uint8 and seen.oddity == ""
    if format_ in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(seen.pixels, image)
    else:
        assert far(seen.pixels, image) < 12
    assert decode(data, color_mode="grayscale").shape == (120, 160, 1)
    assert format_ in EXTENSIONS


@pytest.mark.parametrize("format_", FORMATS)
def test_the_extension_is_nobodys_business(tmp_path: Path, format_: str) -> None:
    data, spec = encode(photo(seed=2), format_), InputSpec()
    for name in ("image.jpg", "image.png", "image.txt", "image"):
        (tmp_path / name).write_bytes(data)
        assert np.array_equal(load_image(tmp_path / name, spec), load_image(data, spec))


@pytest.mark.parametrize("name", GOOD)
def test_what_is_odd_but_whole_is_used(name: str) -> None:
    seen = examine(GOOD[name]())
    assert seen.pixels.shape == (seen.header.height, seen.header.width, 3) and seen.pixels.std() > 5


@pytest.mark.parametrize("name", BAD)
def test_what_is_bad_has_its_reason(name: str) -> None:
    build, reason = BAD[name]
    assert refused(build()) == reason


# ---------------------------------------------------------------------------------------------- one verdict


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd")
    for builders in (ODD, GOOD, {name: build for name, (build, _) in BAD.items()}):
        for name, build in builders.items():
            path = root / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(build())
    return root


@pytest.fixture(scope="module")
def scanned(odd_folder: Path) -> dict[str, str]:
    """Path -> reason, as a scan finds it."""
    return {image.path: image.reason for image in scan(odd_folder, cache=False, workers=2).images}


SPECS = [
    InputSpec(height, width, color_mode, resize)
    for color_mode in ("grayscale", "rgb")
    for height, width, resize in ((8, 8, "stretch"), (50, 50, "pad"), (64, 30, "crop"), (300, 300, "stretch"))
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_file_has_one_verdict_for_every_spec_and_caller(
    odd_folder: Path, scanned: dict[str, str], spec: InputSpec
) -> None:
    assert len(scanned) > 150 and {"truncated", ""} <= set(scanned.values())
    other = {}
    for path, reason in scanned.items():
        found = ""
        try:
            load_image(odd_folder / path, spec)
        except DecodeError as error:
            found = error.reason
        if found != reason:
            other[path] = (reason, found)
    assert not other


def test_a_file_has_one_verdict_without_a_spec(odd_folder: Path, scanned: dict[str, str]) -> None:
    for path, reason in scanned.items():
        data = (odd_folder / path).read_bytes()
        for color_mode in ("grayscale", "rgb"):
            if reason:
                assert refused(data, color_mode=color_mode) == reason
            else:
                assert decode(data, color_mode=color_mode).size
        if not reason:
            assert load_image(odd_folder / path).shape[2] == 3


def test_harmless_defects_are_named() -> None:
    assert examine(ODD["bad profile.jpg"]()).oddity == "bad color profile"
    assert examine(ODD["scan parameters.jpg"]()).oddity == "wrong scan parameters"
    assert examine(ODD["later frame.gif"]()).oddity == "a later frame is damaged"
    for name in ("bad profile.jpg", "scan parameters.jpg"):
        assert np.array_equal(decode(ODD[name]()), decode(jpeg()))


def test_a_lossless_jpeg_is_exact() -> None:
    image = photo(40, 60, 1)
    assert np.array_equal(decode(lossless_jpeg(image)), image)
    assert np.array_equal(decode(lossless_jpeg(image[:, :, 0]))[:, :, 0], image[:, :, 0])


@pytest.mark.parametrize("interlaced", [False, True])
def test_missing_rows_of_a_png_are_found(interlaced: bool) -> None:
    gray = photo(21, 37, 2)[:, :, 0]
    gray[-3:] = 0  # rows that are black, and not missing
    assert np.array_equal(decode(short_png(gray, 0, interlaced=interlaced))[:, :, 0], gray)
    for rows in (1, 5, 20):
        assert refused(short_png(gray, rows, interlaced=interlaced)) == "truncated"


# ---------------------------------------------------------------------------------------------- turning

UPRIGHT = photo(18, 30, seed=3)
STORED: dict[int, Callable[[Any], Any]] = {  # where row 0 and column 0 are seen: Exif 2.32, 4.6.4 A
    1: lambda up: up,  # top, left
    2: lambda up: up[:, ::-1],  # top, right
    3: lambda up: up[::-1, ::-1],  # bottom, right
    4: lambda up: up[::-1],  # bottom, left
    5: lambda up: up.transpose(1, 0, 2),  # left, top
    6: lambda up: up.transpose(1, 0, 2)[::-1],  # right, top
    7: lambda up: up[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda up: up[::-1].transpose(1, 0, 2),  # left, bottom
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP"])
def test_exif_turns_a_image_upright(format_: str, orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](UPRIGHT))
    data = encode(stored, format_, orientation=orientation, **LOSSLESS[format_])
    seen = examine(data)
    assert (seen.header.height, seen.header.width, seen.header.orientation) == (18, 30, orientation)
    assert probe(data) == seen.header
    assert np.array_equal(seen.pixels, UPRIGHT)
    spec = InputSpec(9, 15, "rgb")
    assert np.array_equal(load_image(data, spec), load_image(UPRIGHT, spec))
    assert np.array_equal(load_image(Image.open(io.BytesIO(data)), spec), load_image(data, spec))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_jpeg_upright_at_every_scale(orientation: int) -> None:
    upright = photo(160, 240, seed=4)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    plain = decode(encode(stored, "JPEG"))
    data = encode(stored, "JPEG", orientation=orientation)
    whole = decode(data)
    assert np.array_equal(np.ascontiguousarray(STORED[orientation](whole)), plain)
    assert far(whole, upright) < 8
    for at_least in ((20, 20), (40, 30), (10, 120), (160, 1)):
        small = decode(data, at_least=at_least)
        assert small.shape[0] >= at_least[0] and small.shape[1] >= at_least[1]
        assert far(fit(small, InputSpec(10, 15, "rgb")), fit(upright, InputSpec(10, 15, "rgb"))) < 5
    assert (
        far(load_image(data, InputSpec(50, 50, "rgb", "crop")), load_image(upright, InputSpec(50, 50, "rgb", "crop")))
        < 6
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_enough_is_meant_the_right_way_up(orientation: int) -> None:
    data = encode(np.ascontiguousarray(STORED[orientation](photo(160, 480, seed=4))), "JPEG", orientation=orientation)
    assert decode(data, at_least=(30, 100)).shape == (80, 240, 3)
    assert decode(data, at_least=(150, 30)).shape == (160, 480, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_as_pillow_turns_it(orientation: int) -> None:
    data = encode(np.ascontiguousarray(STORED[orientation](UPRIGHT)), "AVIF", orientation=orientation, quality=95)
    seen = examine(data)
    assert probe(data) == seen.header and (seen.header.height, seen.header.width) == (18, 30)
    right = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert right is not None and np.array_equal(seen.pixels, np.asarray(right))
    assert far(seen.pixels, UPRIGHT) < 15


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_nonsense_orientation_is_none(orientation: int) -> None:
    for format_ in ("JPEG", "PNG", "TIFF"):
        assert probe(encode(UPRIGHT, format_, orientation=orientation)).orientation == 1
        assert decode(encode(UPRIGHT, format_, orientation=orientation)).shape == (18, 30, 3)


# ---------------------------------------------------------------------------------------------- colors


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


DEEP = np.linspace(0, 65535, 40 * 64).astype(np.uint16).reshape(40, 64)


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


def test_16_bit_with_a_transparent_gray() -> None:
    values = DEEP.copy()
    values[:10] = 4000
    header = struct.pack(">IIBBBBB", 64, 40, 16, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = png(chunk(b"IHDR", header), chunk(b"tRNS", struct.pack(">H", 4000)), chunk(b"IDAT", zlib.compress(rows)))
    gray = decode(data, color_mode="grayscale", background=(200, 200, 200))[:, :, 0]
    assert (gray[:10] == 200).all() and np.array_equal(gray[20:], np.rint(values / 257)[20:])


@pytest.mark.parametrize(
    "values",
    [
        DEEP.astype(np.float32) / 65535,
        DEEP.astype(np.float32) / 257,
        DEEP.astype(np.int32),
        DEEP.astype(np.int32) * 30000,
        DEEP.astype(np.float32) - 30000,
    ],
    ids=["0 to 1", "0 to 255", "0 to 65535", "large", "negative"],
)
def test_wide_numbers_use_the_whole_range(values: Any) -> None:
    gray = decode(tiff(values), color_mode="grayscale")[:, :, 0]
    assert np.abs(gray.astype(float) - DEEP / 257).max() <= 1


def test_what_is_not_a_number_is_black() -> None:
    values = np.array([[0.0, 0.5, 1.0, np.nan, np.inf, -np.inf]])
    assert to_uint8(values).tolist() == [[0, 128, 255, 0, 0, 0]]
    assert not to_uint8(np.full((2, 2), np.nan)).any()


def test_three_float_channels_go_to_another_decoder() -> None:
    rgb = photo(40, 50, seed=8)
    data = tiff(rgb.astype(np.float32) / 255)
    assert np.abs(decode(data).astype(int) - rgb).max() <= 1
    assert (probe(data).format, probe(data).width, probe(data).height) == ("TIFF", 50, 40)


# ---------------------------------------------------------------------------------------------- alpha


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


# ---------------------------------------------------------------------------------------------- several frames


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


# ---------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("percent", [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99])
def test_a_cut_file_is_truncated(format_: str, percent: int) -> None:
    assert refused(truncated(encode(photo(seed=13), format_), percent / 100)) == "truncated"


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


# ---------------------------------------------------------------------------------------------- bombs

BOMBS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")

_MEASURE = """
import resource, sys, time
from pathlib import Path
from housetrain.images.decode import decode, load_image
from housetrain.images.input_spec import InputSpec
from housetrain.errors import DecodeError
load_image(Path(sys.argv[1]).read_bytes(), InputSpec())  # what decoders need at all
for name in sys.argv[1:]:
    data = Path(name).read_bytes()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        load_image(data, InputSpec())
        reason = "used"
    except DecodeError as error:
        reason = error.reason
    grew = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(Path(name).name, grew, time.perf_counter() - began, reason, sep="\\t")
"""


def test_a_bomb_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    files_ = []
    for format_ in (*FORMATS, *BOMBS):
        path = tmp_path / f"{len(files_)} {format_}"
        path.write_bytes(encode(photo(seed=19), format_) if len(files_) < len(FORMATS) else huge(format_))
        files_.append(str(path))
    command = [sys.executable, "-c", _MEASURE, *files_]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    lines = [line.split("\t") for line in out.splitlines()]
    assert [reason for *_, reason in lines[: len(FORMATS)]] == ["used"] * len(FORMATS)
    for name, kib, seconds, reason in lines[len(FORMATS) :]:
        assert reason == "too many pixels (60000x60000)", name
        assert int(kib) < 8 << 10 and float(seconds) < 1, name


def test_the_limit_is_that_of_the_pixels_themselves() -> None:
    for format_ in FORMATS:
        data = encode(photo(100, 100, seed=20), format_)
        assert decode(data, max_pixels=10_000).shape == (100, 100, 3)
        assert refused(data, max_pixels=9_999) == "too many pixels (100x100)"


def test_a_frame_larger_than_its_gif_is_refused() -> None:
    data = bytearray(encode(photo(16, 16), "GIF"))
    at = 13 + (3 << (data[10] & 7) + 1)
    while data[at] != 0x2C:
        at = at + 8  # a graphic control extension
    struct.pack_into("<HH", data, at + 5, 60000, 60000)
    assert refused(bytes(data)) == "too many pixels (60000x60000)"


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = jpeg(64, 64, progressive=True)
    at = data.rindex(b"\xff\xda")
    began = time.perf_counter()
    assert refused(data[:at] + data[at:-2] * 2000 + b"\xff\xd9").startswith("too many scans")
    assert time.perf_counter() - began < 5


# ---------------------------------------------------------------------------------------------- files


def unreadable(path: Path) -> str:
    began = time.monotonic()
    with pytest.raises(DecodeError) as caught:
        read_bytes(path)
    assert time.monotonic() - began < 1
    return caught.value.reason


@pytest.mark.timeout(20)
def test_only_files_are_read_and_nothing_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to pipe").symlink_to("pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "folder").mkdir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    try:
        reasons = {
            "pipe": "not a file (FIFO)",
            "to pipe": "not a file (FIFO)",
            "dangling": "dangling symlink",
            "circle": "symlink loop",
            "folder": "not a file (folder)",
            "socket": "not a file (socket)",
            "nowhere": "file not found",
            "nul\0": "file not found",
        }
        assert {name: unreadable(tmp_path / name) for name in reasons} == reasons
        assert unreadable(Path("/dev/zero")) == unreadable(Path("/dev/null")) == "not a file (device)"
    finally:
        listening.close()


@pytest.mark.timeout(20)
def test_a_file_that_becomes_a_pipe_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"1")
    os.mkfifo(tmp_path / "pipe")
    regular = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: regular)
    assert unreadable(tmp_path / "pipe") == "not a file (FIFO)"


def test_a_file_that_grows_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(3000))
    monkeypatch.setattr(regular_files, "check_regular", lambda status: 1000)
    assert read_bytes(tmp_path / "file") == bytes(3000)


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(regular_files.MAX_BYTES + 1)
    assert unreadable(tmp_path / "file") == "file too large (over 512 MiB)"


def test_no_permission_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "file").write_bytes(jpeg())
    monkeypatch.setattr(os, "open", refuse)
    assert unreadable(tmp_path / "file") == "no permission to read"


def test_load_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_bytes(HTML)
    with pytest.raises(DecodeError, match=r"HTML.*page\.jpg") as caught:
        load_image(tmp_path / "page.jpg", InputSpec())
    assert caught.value.reason == "not an image (HTML)"


# ---------------------------------------------------------------------------------------------- fitting


def test_stretch_fills_the_whole_size() -> None:
    left_right = np.zeros((40, 80, 3), np.uint8)
    left_right[:, 40:] = 200
    image = fit(left_right, InputSpec(10, 10, "rgb"))
    assert (image[:, :5] == 0).all() and (image[:, 5:] == 200).all()


@pytest.mark.parametrize(("height", "width", "box"), [(40, 80, (3, 8, 0, 10)), (80, 40, (0, 10, 3, 8))])
def test_pad_keeps_the_proportions_in_the_middle(height: int, width: int, box: tuple[int, ...]) -> None:
    spec = InputSpec(11 if height < width else 10, 10 if height < width else 11, "rgb", "pad", (1, 2, 3))
    image = fit(np.full((height, width, 3), 77, np.uint8), spec)
    top, bottom, left, right = box
    assert (image[top:bottom, left:right] == 77).all()
    outside = np.ones(image.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert outside.any() and (image[outside] == (1, 2, 3)).all()


def test_pad_in_gray_takes_the_brightness_of_the_background() -> None:
    image = fit(np.full((10, 40, 3), 77, np.uint8), InputSpec(20, 20, "grayscale", "pad", (255, 0, 0)))
    assert image.shape == (20, 20, 1) and image[0, 0, 0] == 76 and image[10, 10, 0] == 77


def test_crop_cuts_the_middle_out() -> None:
    stripes = np.repeat(np.arange(5, dtype=np.uint8) * 50, 20)  # 100 wide
    image = fit(
        np.broadcast_to(stripes[np.newaxis, :, np.newaxis], (20, 100, 3)).copy(), InputSpec(20, 20, "rgb", "crop")
    )
    assert (image == 100).all()
    tall = fit(
        np.broadcast_to(stripes[:, np.newaxis, np.newaxis], (100, 20, 1)).copy(), InputSpec(10, 10, "grayscale", "crop")
    )
    assert (tall == 100).all()


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2), (97, 41), (50, 50)])
@pytest.mark.parametrize("size", [(1, 1), (50, 50), (7, 64)])
def test_every_size_fits_every_size(resize: Any, shape: tuple[int, int], size: tuple[int, int]) -> None:
    for color_mode in ("grayscale", "rgb"):
        spec = InputSpec(*size, color_mode, resize)  # type: ignore[arg-type]
        image = fit(np.full((*shape, 3), 255, np.uint8), spec)
        assert image.shape == spec.shape and image.flags.c_contiguous and (image == 255).all()


def test_shrinking_averages_areas() -> None:
    board = (np.indices((400, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, np.newaxis]
    for side in (50, 100, 200):
        image = fit(board, InputSpec(side, side))
        assert np.abs(image.astype(int) - 127.5).max() <= 1  # a filter that skips pixels gives stripes or 0 and 255
    odd = fit(board, InputSpec(37, 53))
    assert abs(odd.mean() - 127.5) < 1 and odd.std() < 12


@pytest.mark.parametrize("size", [(50, 50), (37, 91), (119, 3), (300, 20)])
def test_the_mean_is_kept(size: tuple[int, int]) -> None:
    image = photo(seed=21)
    assert abs(fit(image, InputSpec(*size, "rgb")).mean() - image.mean()) < 1


def test_gray_is_weighted_as_the_eye_does() -> None:
    colors = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert fit(colors, InputSpec(1, 4)).ravel().tolist() == [76, 150, 29, 255]
    assert decode(encode(colors, "PNG"), color_mode="grayscale").ravel().tolist() == [76, 150, 29, 255]
    assert far(decode(jpeg(seed=22), color_mode="grayscale"), fit(photo(seed=22), InputSpec(120, 160))) < 3


# ---------------------------------------------------------------------------------------------- one door


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("color_mode", ["grayscale", "rgb"])
def test_a_image_is_the_same_however_it_comes(tmp_path: Path, format_: str, resize: Any, color_mode: Any) -> None:
    spec = InputSpec(33, 50, color_mode, resize, (9, 9, 9))
    data = encode(photo(48, 70, seed=23), format_)
    (tmp_path / "image").write_bytes(data)
    image = load_image(data, spec)
    assert image.shape == spec.shape and image.dtype == np.uint8
    for source in (tmp_path / "image", str(tmp_path / "image"), bytearray(data), memoryview(data)):
        assert np.array_equal(load_image(source, spec), image)  # type: ignore[arg-type]
    whole = decode(data, color_mode=color_mode)
    assert np.array_equal(load_image(whole, spec), image)  # nothing is gained by decoding an image so small smaller
    if color_mode == "rgb" or format_ != "JPEG":  # a JPEG's own gray is rounded before it is stored
        assert np.array_equal(load_image(Image.fromarray(decode(data)), spec), image)
        assert np.abs(load_image(Image.open(tmp_path / "image"), spec).astype(int) - image).max() <= 2


def test_load_image_without_a_spec_is_rgb_of_the_files_own_size(tmp_path: Path) -> None:
    gray = photo(20, 30, seed=4)[:, :, 0]
    (tmp_path / "image.png").write_bytes(encode(gray, "PNG"))
    rgb = np.repeat(gray[:, :, np.newaxis], 3, axis=2)
    for source in (
        str(tmp_path / "image.png"),
        tmp_path / "image.png",
        encode(gray, "PNG"),
        gray,
        Image.fromarray(gray),
    ):
        assert np.array_equal(load_image(source), rgb)
    assert np.array_equal(load_image(encode(UPRIGHT, "PNG")), UPRIGHT)


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_a_large_jpeg_decoded_small_is_close_to_it_decoded_whole(resize: Any) -> None:
    spec = InputSpec(50, 50, "rgb", resize)
    for seed in range(5):
        data = jpeg(600, 800, seed=seed)
        assert far(load_image(data, spec), load_image(decode(data), spec)) < 2.5


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


def test_the_input_spec_travels_and_refuses_nonsense() -> None:
    spec = InputSpec(7, 9, "rgb", "pad", (1, 2, 3))
    assert InputSpec.from_json(spec.to_json()) == spec and spec.shape == (7, 9, 3) and InputSpec().channels == 1
    with pytest.raises(DataError) as caught:
        InputSpec(0, 5000, "gray", "squash", (1, 2))  # type: ignore[arg-type]
    for name in ("height=0", "width=5000", "color_mode='gray'", "resize='squash'", "background=(1, 2)"):
        assert name in str(caught.value)
    for wrong in ({"height": 5}, {**spec.to_json(), "extra": 1}, {**spec.to_json(), "height": True}):
        with pytest.raises(DataError):
            InputSpec.from_json(wrong)


# ---------------------------------------------------------------------------------------------- anything at all

SEEDS = [encode(photo(24, 32, seed=25), format_) for format_ in FORMATS] + [
    jpeg(24, 32, progressive=True),
    cmyk_jpeg(photo(24, 32)),
    jpeg(24, 32, orientation=6),
    animated("GIF", 2),
    animated("PNG", 2),
    animated("WEBP", 2),
    png16(DEEP),
    tiff(DEEP.astype(np.float32)),
    saved(Image.fromarray(photo(24, 32)), "TIFF", compression="tiff_lzw"),
    saved(Image.fromarray(photo(24, 32)[:, :, 0] > 99), "TIFF", compression="group4"),
    saved(Image.fromarray(photo(24, 32)).quantize(16), "PNG", transparency=3),
]


def image_or_reason(data: bytes) -> None:
    """Whatever the bytes: an image of the right shape, or a DecodeError, and never anything else."""
    spec = InputSpec(8, 8, "rgb", "pad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        try:
            header = probe(data)
            seen = examine(data, max_pixels=300_000, at_least=(8, 8))
        except DecodeError as error:
            assert error.reason and len(error.reason) < 120 and error.reason.isprintable()
            return
    assert header == seen.header
    assert seen.pixels.dtype == np.uint8 and seen.pixels.ndim == 3 and seen.pixels.shape[2] == 3
    if header.format != "JPEG":
        assert seen.pixels.shape[:2] == (header.height, header.width)
    assert fit(seen.pixels, spec).shape == (8, 8, 3)


def test_a_reason_quotes_no_control_character() -> None:
    data = bytearray(saved(Image.new("L", (8, 8)), "PNG"))
    data[data.index(b"IHDR") + 1] = 0
    with pytest.raises(DecodeError, match=r"wrong checksum of I\\x00DR") as caught:
        decode(bytes(data))
    assert caught.value.reason.isprintable()


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_image_or_a_reason(data: bytes) -> None:
    image_or_reason(data)
    for start in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF\xff\0\0\0WEBPVP8 "):
        image_or_reason(start + data)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.sampled_from(["flip", "set", "cut", "insert", "repeat"]),
            st.binary(min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_changed_files_are_a_image_or_a_reason(data: bytes, changes: list[tuple[float, str, bytes]]) -> None:
    changed = bytearray(data)
    for share, how, new in changes:
        at = int(share * max(0, len(changed) - 1))
        if how == "flip" and changed:
            changed[at] ^= new[0]
        elif how == "set":
            changed[at : at + len(new)] = new
        elif how == "cut":
            del changed[at : at + 1 + new[0]]
        elif how == "insert":
            changed[at:at] = new
        else:
            changed[at:at] = changed[at : at + new[0]]
    image_or_reason(bytes(changed))
