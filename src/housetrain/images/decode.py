"""Bytes -> uint8 pixels -> model input: the only place that decodes an image.

In: bytes, a path, an array or a Pillow image, and an `InputSpec`. Out: a uint8 array of the spec's shape. Preparing,
predicting and the page all call `load_image`, so that identical bytes give identical numbers everywhere.
It does not know folders, labels or models, and it does not trust its input: a FIFO is not opened, a header that
announces 60000x60000 pixels is refused before memory is allocated, and damage that libjpeg would hide is an error.
(A decoder that hangs or crashes ends its process: for whole folders it runs in `housetrain.system.process_pool`.)

Whether an image is used, and why not, depends on its bytes alone: not on the color mode, the size or the caller.
Colors of wide-gamut profiles (phones, cameras) become sRGB: see `housetrain.images.color_profile`.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from housetrain.errors import DecodeError
from housetrain.images.color_profile import conversion_of
from housetrain.images.decode_jpeg import JpegHeader, decode_jpeg, read_header
from housetrain.images.decode_pillow import (
    check_rows,
    conversion_in,
    frames_of,
    gray_and_alpha,
    low_bytes,
    open_image,
    orientation_of,
    pixels_of,
    pixels_of_array,
    tiff_by_opencv,
)
from housetrain.images.decode_tiff import read_layout
from housetrain.images.input_spec import WHITE, ColorMode, InputSpec
from housetrain.images.pixel_ops import Pixels, to_rgb, turn
from housetrain.images.sniff import JPEG_START, Header, outline, sniff, too_many_pixels
from housetrain.system.regular_files import MAX_BYTES as MAX_BYTES
from housetrain.system.regular_files import read_bytes as read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 100_000_000
"""The most pixels that are decoded: 300 MB as RGB. A larger JPEG is decoded at 1/2 to 1/8 of its size, see
`housetrain.images.decode_jpeg`; a larger image of another format is refused."""

PIXELS = 6
"""Raised whenever `load_image` returns other numbers for a file than before: prepared arrays are then decoded again."""

_NEARLY = 1.05


@dataclass(frozen=True)
class Examined:
    """A decoded image with its header and harmless defects.

    Args:
        header: The header of the file.
        pixels: uint8 ``(height, width, 1 or 3)``, upright.
        oddity: Harmless defects of the file, or ``""``.
        peak: The largest value of a 16-bit image, or an upper limit that needs as many bits; 0 for other images.
        profile: Name of the color profile that the pixels were converted from; ``""`` where nothing was converted.
    """

    header: Header
    pixels: Pixels
    oddity: str
    peak: int = 0
    profile: str = ""


def probe(data: bytes) -> Header:
    """Read the header of an image; no memory of the image's size is allocated.

    Args:
        data: The whole file.

    Returns:
        The header. Width and height are as the file claims, however large.

    Raises:
        DecodeError: Not a supported image, or its outer structure is truncated or corrupt.
    """
    format_ = sniff(data)
    if format_ == "JPEG":
        return _jpeg_header(read_header(data))
    return _other(data, format_, max_pixels=None, frames=True).header


def decode(
    data: bytes,
    *,
    color_mode: ColorMode = "rgb",
    background: tuple[int, int, int] = (255, 255, 255),
    max_pixels: int = MAX_PIXELS,
    at_least: tuple[int, int] | None = None,
    white: int | None = WHITE,
) -> Pixels:
    """Decode a whole image strictly: a corrupt image is an error, not gray stripes.

    Args:
        data: The whole file, of one of `housetrain.images.sniff.FORMATS`; its name does not matter. The first of
            several frames is used; 16-bit values are scaled; CMYK and palettes become RGB.
        color_mode: ``"grayscale"`` or ``"rgb"``.
        background: RGB, each 0 to 255, shown through transparent pixels.
        max_pixels: The most pixels that are decoded; checked in the header before memory is allocated. A larger JPEG
            is decoded at 1/2, 1/4 or 1/8.
        at_least: Height and width in pixels, upright, that the result must reach: a larger JPEG is then decoded at
            1/8, 1/4 or 1/2 where that is enough. ``None``: full size.
        white: The value of a 16-bit image that becomes 255; ``None``: that of the bits that it uses, see
            `housetrain.images.input_spec.white_of`.

    Returns:
        uint8 ``(height, width, 1 or 3)``, upright (EXIF orientation is applied).

    Raises:
        DecodeError: With a short stable ``reason``: ``empty file``, ``truncated``, ``not an image (HTML)``,
            ``damaged (...)``, ``too many pixels (60000x60000)``, ...
    """
    return examine(
        data,
        color_mode=color_mode,
        background=background,
        max_pixels=max_pixels,
        at_least=at_least,
        white=white,
        frames=False,
    ).pixels


def examine(
    data: bytes,
    *,
    color_mode: ColorMode = "rgb",
    background: tuple[int, int, int] = (255, 255, 255),
    max_pixels: int = MAX_PIXELS,
    at_least: tuple[int, int] | None = None,
    white: int | None = WHITE,
    frames: bool = True,
) -> Examined:
    """Decode as `decode` does, and keep the header and harmless defects.

    Args:
        data: As for :func:`decode`.
        color_mode: As for :func:`decode`.
        background: As for :func:`decode`.
        max_pixels: As for :func:`decode`.
        at_least: As for :func:`decode`.
        white: As for :func:`decode`.
        frames: Whether to count the frames, which reads the whole file in some formats; otherwise the number is 1.

    Raises:
        DecodeError: As for :func:`decode`.
    """
    format_ = sniff(data)
    if format_ == "JPEG":
        jpeg = read_header(data)
        if at_least and jpeg.orientation >= 5:
            at_least = at_least[1], at_least[0]
        to_srgb = conversion_of(jpeg.profile) if jpeg.profile and jpeg.components == 3 else None
        mode: ColorMode = "rgb" if to_srgb else color_mode
        pixels, oddity = decode_jpeg(data, jpeg, color_mode=mode, max_pixels=max_pixels, at_least=at_least)
        if to_srgb:
            pixels = to_rgb(to_srgb(pixels), color_mode)
        header = _jpeg_header(jpeg)
        return Examined(header, turn(pixels, jpeg.orientation), oddity, profile=to_srgb.name if to_srgb else "")
    other = _other(data, format_, max_pixels=max_pixels, frames=frames, background=background, white=white)
    return replace(other, pixels=to_rgb(other.pixels, color_mode))


def fit(image: Pixels, spec: InputSpec) -> Pixels:
    """Resize and convert a decoded image to a spec.

    Downscaling averages areas (``cv2.INTER_AREA``: no pixel is skipped, no aliasing; see `_scale`); upscaling is
    bilinear.

    Args:
        image: uint8 ``(height, width, 1 or 3)`` of any size.
        spec: The result.

    Returns:
        uint8 of ``spec.shape``, contiguous.
    """
    image = to_rgb(image, spec.color_mode)
    height, width = image.shape[:2]
    if spec.resize == "stretch":
        return np.ascontiguousarray(_scale(image, spec.height, spec.width))
    inner_height, inner_width = _scaled(height, width, spec)
    scaled = _scale(image, inner_height, inner_width)
    if spec.resize == "crop":
        top, left = (inner_height - spec.height) // 2, (inner_width - spec.width) // 2
        return np.ascontiguousarray(scaled[top : top + spec.height, left : left + spec.width])
    top, left = (spec.height - inner_height) // 2, (spec.width - inner_width) // 2
    canvas = to_rgb(np.full((spec.height, spec.width, 3), spec.background, dtype=np.uint8), spec.color_mode)
    canvas = np.ascontiguousarray(canvas)
    canvas[top : top + inner_height, left : left + inner_width] = scaled
    return canvas


def load_image(
    source: bytes | str | os.PathLike[str] | npt.NDArray[Any] | Image, spec: InputSpec | None = None
) -> Pixels:
    """Load an image as an array, as training and prediction see it. A path and its bytes give identical arrays.

    Args:
        source: A path, the bytes of a file, a Pillow image, or an array ``(height, width)`` or
            ``(height, width, 1, 3 or 4)`` of uint8, uint16, bool or floats (RGB order; the fourth is alpha).
        spec: Size, color mode and resize rule of the result. Without one the image keeps its size and is RGB, also when
            the file is grayscale; transparent pixels become white.

    Returns:
        uint8 of ``spec.shape``, or ``(height, width, 3)`` without a spec; upright (EXIF orientation is applied).

    Raises:
        DecodeError: The image cannot be used; ``reason`` says why.
    """
    if isinstance(source, (str, os.PathLike)):
        try:
            return _load_bytes(read_bytes(Path(source)), spec)
        except DecodeError as error:
            raise DecodeError(error.reason, path=str(source)) from error
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _load_bytes(bytes(source), spec)
    background, white = (spec.background, spec.white) if spec else ((255, 255, 255), WHITE)
    if isinstance(source, np.ndarray):
        pixels = pixels_of_array(source, background, white)
    else:
        _check_pixels(source.width, source.height, source.format or "Pillow image", MAX_PIXELS)
        pixels, _ = pixels_of(source, background, white=white)
        orientation = source.getexif().get(274, 1)  # after decoding: Pillow turns TIFFs then, and forgets the tag
        pixels = turn(pixels, orientation if orientation in range(1, 9) else 1)
    return fit(pixels, spec) if spec else to_rgb(pixels, "rgb")


def _load_bytes(data: bytes, spec: InputSpec | None) -> Pixels:
    if spec is None:
        return decode(data)
    at_least = spec.height, spec.width
    if spec.resize != "stretch" and data[:3] == JPEG_START:  # only the JPEG decoder uses it
        header = probe(data)
        at_least = _scaled(header.height, header.width, spec)
    options: dict[str, Any] = {"color_mode": spec.color_mode, "background": spec.background, "white": spec.white}
    return fit(decode(data, at_least=at_least, **options), spec)


def _scaled(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """Return the size of an image inside ``pad`` (at most the spec's) or before ``crop`` (at least the spec's)."""
    choose = min if spec.resize == "pad" else max
    factor = choose(spec.height / height, spec.width / width)
    inner = max(1, round(height * factor)), max(1, round(width * factor))
    limit = min if spec.resize == "pad" else max
    return limit(inner[0], spec.height), limit(inner[1], spec.width)


def _scale(image: Pixels, height: int, width: int) -> Pixels:
    """Return the image at another size; see `fit`.

    OpenCV averages over whole numbers of pixels several times as fast as over fractions. So an image at least twice as
    large as wanted is first brought to a whole multiple, bilinearly: a step of less than half, in which every pixel
    still counts. Bilinear is as good for the last few per cent, too. Measured against the averages of a full decode at
    96x96 RGB: 300 photos 1.0 -> 1.1 of 255, 600 of 200x200 1.75 -> 1.76, decoding and all in 0.9 and 0.6 of the time.
    """
    rows, columns = image.shape[:2]
    times, across = rows // height, columns // width
    if min(times, across) >= 2:
        image = _resized(image, times * height, across * width, cv2.INTER_LINEAR)
        return _resized(image, height, width, cv2.INTER_AREA)
    if max(rows / height, columns / width) <= _NEARLY and min(rows / height, columns / width) >= 1:
        return _resized(image, height, width, cv2.INTER_LINEAR)
    # one axis may shrink while the other grows: each gets its own filter
    image = _resized(image, min(height, rows), min(width, columns), cv2.INTER_AREA)
    return _resized(image, height, width, cv2.INTER_LINEAR)


def _resized(image: Pixels, height: int, width: int, how: int) -> Pixels:
    if image.shape[:2] == (height, width):
        return image
    resized = cv2.resize(image, (width, height), interpolation=how)
    return np.asarray(resized, dtype=np.uint8).reshape(height, width, image.shape[2])


def _check_pixels(width: int, height: int, format_: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise too_many_pixels(width, height, format_, max_pixels)


def _jpeg_header(jpeg: JpegHeader) -> Header:
    width, height = (jpeg.height, jpeg.width) if jpeg.orientation >= 5 else (jpeg.width, jpeg.height)
    return Header("JPEG", width, height, jpeg.mode, 1, jpeg.orientation)


def _other(
    data: bytes,
    format_: str,
    *,
    max_pixels: int | None,
    frames: bool,
    background: tuple[int, int, int] = (0, 0, 0),
    white: int | None = WHITE,
) -> Examined:
    """Decode an image that is not a JPEG. With ``max_pixels=None`` only read its header; the pixels are then empty."""
    layout = read_layout(data) if format_ == "TIFF" else None
    shape = layout or outline(data, format_)
    if shape and max_pixels is not None:
        _check_pixels(shape.width, shape.height, format_, max_pixels)
    if layout and max_pixels is not None:
        layout.check_supported()
    if layout and layout.by_opencv:
        header = Header("TIFF", layout.width, layout.height, "RGB", 1, layout.orientation)
        return Examined(header, _NOTHING if max_pixels is None else tiff_by_opencv(data, layout), "")
    try:
        image = open_image(data, format_)
    except DecodeError as error:
        if layout and "unknown pixel mode" in error.reason:
            raise DecodeError(layout.unsupported) from error
        raise
    with image:
        orientation = (shape.orientation if shape else 0) or orientation_of(image)
        width, height = image.size
        if orientation >= 5 and format_ != "TIFF":  # Pillow gives a TIFF's size as turned, and turns it itself
            width, height = height, width
        mode, pixels, peak = image.mode, _NOTHING, 0
        if max_pixels is not None:
            _check_pixels(width, height, format_, max_pixels)
            with low_bytes(image, data) or contextlib.nullcontext() as low:
                both = gray_and_alpha(image, data)
                if format_ == "PNG":
                    check_rows(image, data)
                pixels, peak = pixels_of(image, background, layout, white=white, low=low, both=both)
            pixels = pixels if format_ == "TIFF" else turn(pixels, orientation)
        to_srgb = conversion_in(image)
        count, oddity = frames_of(image) if frames else (1, "")
        header = Header(format_, width, height, mode, count, orientation)
        return Examined(header, pixels, oddity, peak, to_srgb.name if to_srgb else "")


_NOTHING = np.empty((0, 0, 1), dtype=np.uint8)
