"""Wide-gamut images become sRGB, the same way for every format, size and caller; a profile never costs an image."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import chunk, encode, jpeg, photo, png16
from images.decoding import LOSSLESS, far, refused, saved
from images.profiles import (
    SPACES,
    gamma,
    jpeg_with_profile,
    parametric,
    png_with_profile,
    profile,
    table,
)
from PIL import Image, ImageCms  # noqa: TID253

from housetrain.data.catalog import scan
from housetrain.data.checks import check
from housetrain.images import color_profile
from housetrain.images.color_profile import ColorConversion, conversion_of, profile_in_jpeg, profile_in_png
from housetrain.images.decode import decode, examine, load_image
from housetrain.images.input_spec import InputSpec
from housetrain.images.unsupported import conversion

COLORS = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)
WIDE = [name for name in SPACES if not name.startswith("sRGB")]
P3 = profile("Display P3")


def by_littlecms(pixels: Any, icc: bytes) -> Any:
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.HIGHRESPRECALC,
    )
    return np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform))


def converted(icc: bytes, pixels: Any = COLORS) -> Any:
    conversion = conversion_of(icc)
    assert conversion is not None
    return conversion(pixels)


@pytest.mark.parametrize("name", WIDE)
def test_a_wide_space_becomes_srgb_as_another_program_converts_it(name: str) -> None:
    icc = profile(name)
    assert np.abs(converted(icc).astype(int) - by_littlecms(COLORS, icc)).max() <= 1
    assert far(converted(icc), COLORS) > 3
    grays = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)
    assert np.ptp(converted(icc, grays), axis=2).max() <= 1, "gray stays gray"


@pytest.mark.parametrize(
    "curve",
    [
        gamma(1.0),
        table(np.linspace(0, 1, 16)),
        b"curv" + bytes(8),
        parametric(0, 1.8),
        parametric(1, 2.0, 0.9, 0.1),
        parametric(2, 2.0, 0.9, 0.1, 0.02),
        parametric(4, 2.4, 0.94, 0.05, 0.07, 0.04, 0.01, 0.005),
    ],
)
def test_every_kind_of_curve(curve: bytes) -> None:
    icc = profile("Display P3", curve=curve)
    assert np.abs(converted(icc).astype(int) - by_littlecms(COLORS, icc)).mean() < 0.7


def test_srgb_and_its_variants_are_left_alone() -> None:
    pillow = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (profile("sRGB"), profile("sRGB as a gamma"), pillow):
        assert conversion_of(icc) is None
        assert np.array_equal(decode(png_with_profile(encode(COLORS, "PNG"), icc)), COLORS)


def test_the_name_of_a_profile_is_printable_and_short() -> None:
    for options in ({}, {"v4_name": True}):
        named = conversion_of(profile("Display P3", called="Some\x1b[31mMonitor " * 9, **options))
        assert named is not None and named.name.startswith("Some[31mMonitor") and len(named.name) <= 40


# ---------------------------------------------------------------------------------------------- formats


def in_format(format_: str, icc: bytes, image: Any = COLORS) -> bytes:
    if format_ == "JPEG":
        return jpeg_with_profile(encode(image, "JPEG", quality=97), icc, parts=3)
    return saved(Image.fromarray(image), format_, icc_profile=icc, **LOSSLESS.get(format_, {}))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("color_mode", ["rgb", "grayscale"])
def test_the_same_pixels_whoever_asks(format_: str, color_mode: Any, tmp_path: Path) -> None:
    image = photo(160, 240, seed=31)
    data, spec = in_format(format_, P3, image), InputSpec(40, 60, color_mode)
    seen = examine(data, color_mode=color_mode)
    assert seen.profile == "Display P3"
    plain = decode(in_format(format_, profile("sRGB"), image))
    expected = converted(P3, plain)
    if color_mode == "grayscale":
        expected = load_image(expected, InputSpec(160, 240, "grayscale"))
    assert far(seen.pixels, expected) < 1e-9 and far(expected, plain[:, :, : expected.shape[2]]) > 1
    (tmp_path / "image").write_bytes(data)
    assert np.array_equal(load_image(tmp_path / "image", spec), load_image(data, spec))
    assert far(load_image(data, spec), load_image(seen.pixels, spec)) < 1.5  # JPEG: decoded at a half
    assert far(load_image(Image.open(io.BytesIO(data)), spec), load_image(data, spec)) < 2


def exif(*, index: bytes = b"R03\0", order: str = ">") -> bytes:
    """EXIF as a camera writes it: directory, EXIF directory, interoperability directory; quarter turn."""
    mark = b"MM\0*" if order == ">" else b"II*\0"
    first = struct.pack(f"{order}IHHHIHHHHIII", 8, 2, 274, 3, 1, 6, 0, 0x8769, 4, 1, 38, 0)
    own = struct.pack(f"{order}HHHIIHHIHHI", 2, 0xA005, 4, 1, 68, 0xA001, 3, 1, 0xFFFF, 0, 0)
    return mark + first + own + struct.pack(f"{order}HHHI4sI", 1, 1, 2, 4, index, 0)


@pytest.mark.parametrize("order", [">", "<"])
def test_adobe_rgb_that_only_the_camera_names_becomes_srgb(order: str, tmp_path: Path) -> None:
    """Cameras set to Adobe RGB embed no profile."""
    image = photo(160, 240, seed=32)
    data = {
        name: saved(Image.fromarray(image), "JPEG", quality=97, exif=b"Exif\0\0" + exif(index=name, order=order))
        for name in (b"R03\0", b"R98\0")
    }
    plain, seen = examine(data[b"R98\0"]), examine(data[b"R03\0"])
    assert (plain.profile, seen.profile) == ("", "Adobe RGB (1998)") and seen.header.orientation == 6
    assert far(seen.pixels, converted(profile("Adobe RGB (1998)"), plain.pixels)) < 0.1 < far(seen.pixels, plain.pixels)
    assert far(load_image(Image.open(io.BytesIO(data[b"R03\0"])), None), load_image(data[b"R03\0"], None)) < 0.5
    own = jpeg_with_profile(data[b"R03\0"], profile("sRGB"))
    assert np.array_equal(examine(own).pixels, plain.pixels), "an embedded profile counts more"
    whole = data[b"R03\0"]
    for cut in range(1, 90, 7):  # damaged metadata costs no image
        examine(whole.replace(exif(order=order)[:90], exif(order=order)[:cut] + bytes(90 - cut)))


def test_alpha_palettes_and_16_bits_are_converted_before_they_are_composited() -> None:
    alpha = np.linspace(0, 255, 100 * 120).astype(np.uint8).reshape(100, 120)
    data = png_with_profile(encode(np.dstack((COLORS, alpha)), "PNG"), P3)
    weight = alpha[:, :, np.newaxis] / 255
    assert np.abs(decode(data) - (converted(P3) * weight + 255 * (1 - weight))).max() <= 1
    small = Image.fromarray(photo(40, 40, seed=10)).quantize(16)
    palette = decode(png_with_profile(saved(small, "PNG"), P3))
    assert np.array_equal(palette, converted(P3, np.asarray(small.convert("RGB"))))
    deep = decode(png_with_profile(png16(COLORS.astype(np.uint16) * 257, color_type=2), P3))
    assert np.array_equal(deep, converted(P3))


def test_grayscale_and_cmyk_images_keep_their_numbers() -> None:
    gray = COLORS[:, :, 0]
    assert np.array_equal(decode(png_with_profile(encode(gray, "PNG"), P3), color_mode="grayscale")[:, :, 0], gray)
    plain = encode(gray, "JPEG")
    assert np.array_equal(decode(jpeg_with_profile(plain, P3)), decode(plain))


# ---------------------------------------------------------------------------------------------- damage


def test_a_damaged_profile_costs_no_image_and_changes_no_pixel_at_random() -> None:
    plain, chance = encode(COLORS, "PNG"), random.Random(1)
    conversion_of.cache_clear()
    for _ in range(300):
        changed = bytearray(P3)
        for _ in range(chance.choice((1, 4, 40))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        icc = bytes(changed[: chance.choice((len(changed), chance.randrange(len(changed))))])
        pixels = decode(png_with_profile(plain, icc))
        assert pixels.shape == COLORS.shape and np.array_equal(pixels, decode(png_with_profile(plain, icc)))


@pytest.mark.parametrize(
    "curve",
    [
        b"",
        b"curv",
        b"curv" + bytes(4) + b"\xff\xff\xff\xff",
        parametric(1, 2, 0, 1),
        parametric(9, 1),
        parametric(0, -3),
    ],
)
def test_a_curve_that_is_none_means_no_conversion(curve: bytes) -> None:
    assert conversion_of(profile("Display P3", curve=curve or b"none")) is None


def test_other_kinds_of_profile_are_not_applied() -> None:
    lab = P3[:20] + b"Lab " + P3[24:]
    singular = P3.replace(b"XYZ " + bytes(4), b"XYZ " + bytes(16), 3)
    for icc in (b"", P3[:100], lab, P3[:16] + b"CMYK" + P3[20:], P3[:16] + b"GRAY" + P3[20:], bytes(5000)):
        assert conversion_of(icc) is None
    assert decode(png_with_profile(encode(COLORS, "PNG"), singular)).shape == COLORS.shape


def test_parts_that_do_not_make_a_profile() -> None:
    parts = [bytes([1, 2]) + b"ab", bytes([2, 2]) + b"cd"]
    assert profile_in_jpeg(parts) == profile_in_jpeg(parts[::-1]) == b"abcd"
    for wrong in (parts[:1], [parts[0], parts[0]], [*parts, parts[1]], [b"", b""], [bytes([1, 3]) + b"a", parts[1]]):
        assert profile_in_jpeg(wrong) == b""


def test_a_compressed_profile_is_bounded() -> None:
    assert profile_in_png(b"name\0\0" + zlib.compress(b"abc")) == b"abc"
    bomb = zlib.compress(bytes(color_profile.MAX_BYTES + 1), 9)
    for wrong in (b"", b"name", b"name\0\0", b"name\0\0" + bomb, b"name\0\0" + zlib.compress(b"abc")[:-3]):
        assert profile_in_png(wrong) == b""
    assert np.array_equal(decode(png_with_profile(encode(COLORS, "PNG"), b"", compressed=bomb)), COLORS)


def test_a_large_image_is_converted_in_parts() -> None:
    tall = np.resize(COLORS, (color_profile._ROWS * 3 + 5, 7, 3))
    whole = conversion_of(P3)
    assert isinstance(whole, ColorConversion)
    rows = np.concatenate([whole(tall[row : row + 1]) for row in range(len(tall))])
    assert np.array_equal(whole(tall), rows)


def test_an_xyb_jpeg_is_named() -> None:
    for v4_name in (False, True):
        icc = profile("sRGB", called="XYB_Per", v4_name=v4_name)
        reason = refused(jpeg_with_profile(jpeg(), icc))
        assert reason == "unsupported JPEG (XYB colors)" and "vips icc_transform" in conversion(reason)


# ---------------------------------------------------------------------------------------------- findings


def test_check_says_how_many(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(4):
            image = photo(60, 80, seed=number + 10 * (label == "b"))
            icc = profile(("sRGB", "Display P3", "Display P3", "Adobe RGB (1998)")[number])
            (tmp_path / label / f"{number}.jpg").write_bytes(jpeg_with_profile(encode(image, "JPEG"), icc))
    catalog = scan(tmp_path, cache=False)
    found = [one for one in check(catalog) if one.kind == "color-profile"]
    assert [one.message for one in found] == [
        "2 images with the color profile Adobe RGB (1998)",
        "4 images with the color profile Display P3",
    ]
    assert not any(one.leaves_out for one in found) and "sRGB" in found[0].do


def with_cicp(png: bytes, *numbers: int) -> bytes:
    return png[:33] + chunk(b"cICP", bytes(numbers)) + png[33:]


def test_a_color_space_that_a_png_names_by_numbers() -> None:
    """What screenshots of newer systems hold: ITU-T H.273 numbers in a cICP chunk."""
    plain = encode(COLORS, "PNG")
    for primaries, name in ((12, "Display P3"), (9, "BT.2020")):
        seen = examine(with_cicp(plain, primaries, 13, 0, 1))
        assert seen.profile == name and far(seen.pixels, COLORS) > 2
    p3 = examine(png_with_profile(plain, P3)).pixels
    assert far(examine(with_cicp(plain, 12, 13, 0, 1)).pixels, p3) < 0.2
    for other in ((1, 13, 0, 1), (9, 16, 0, 1), (12, 18, 0, 1), (2, 2, 2, 2), (12, 13, 0)):
        assert np.array_equal(examine(with_cicp(plain, *other)).pixels, COLORS)
    both = with_cicp(png_with_profile(plain, profile("Adobe RGB (1998)")), 1, 13, 0, 1)
    assert np.array_equal(examine(both).pixels, COLORS), "the numbers count more than a profile"
