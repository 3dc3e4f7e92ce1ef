"""PNG, GIF, BMP, TIFF, WebP and AVIF -> uint8 pixels, through Pillow (and OpenCV for the TIFFs it has no mode for).

In: bytes whose format is known, or Pillow images and arrays. Out: uint8 pixels, gray or RGB, laid over a background.
It does not know JPEG, files, or what a model wants. Pillow is imported when first needed: most folders are all JPEG.

Plugins are called by name, not through ``Image.open``: no other plugin (Ghostscript!) ever sees the bytes, and the
pixel limit is ours alone.
"""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from housetrain.errors import DecodeError
from housetrain.images.pixel_ops import Pixels, composite, to_uint8, turn
from housetrain.images.sniff import Outline, exif_orientation, without_bad_notes

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_PLUGINS = {
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
}


@contextmanager
def failures_named() -> Iterator[None]:
    """Turn whatever a decoder throws into a :class:`DecodeError` with a short reason."""
    try:
        yield
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError("needs too much memory") from error
    except Exception as error:
        # short and the same every time: no addresses of objects, no chains of commands to follow
        said = " ".join(re.sub(r"<[^>]*>|0x[0-9a-f]{6,}", "", str(error)).split()).lower()[:80].strip(" .:")
        cut = any(word in said for word in ("truncated", "not enough", "unexpected end", "ran out"))
        raise DecodeError("truncated" if cut else f"damaged ({said or type(error).__name__})") from error


def open_image(data: bytes, format_: str) -> ImageFile:
    """Read an image's header.

    Args:
        data: The whole file.
        format_: What :func:`housetrain.images.sniff.sniff` said; not ``JPEG``.

    Returns:
        Pillow's image, not decoded yet. Close it.

    Raises:
        DecodeError: ``truncated`` or ``damaged (...)``.
    """
    module, name = _PLUGINS[format_]
    if format_ == "PNG":
        data = without_bad_notes(data)
    with failures_named():
        plugin = getattr(importlib.import_module(f"PIL.{module}"), name)
        image: ImageFile = plugin(io.BytesIO(data))
    return image


def orientation_of(image: Image, outline: Outline | None) -> int:
    """Return EXIF tag 274 of an opened image, 1 to 8, without decoding it."""
    if outline is not None and outline.orientation:
        return outline.orientation
    if image.format == "AVIF":  # its own turning boxes count as well; Pillow adds the two up
        found = image.getexif().get(274, 1)
        return found if found in range(1, 9) else 1
    return exif_orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def frames_of(image: Image) -> int:
    """Count frames or pages. Raises :class:`DecodeError` where a later one is cut."""
    with failures_named():
        return max(1, int(getattr(image, "n_frames", 1)))


def pixels_of(image: Image, background: tuple[int, int, int]) -> Pixels:
    """Decode an opened image's first frame.

    Args:
        image: Any Pillow image.
        background: RGB, each 0 to 255, shown through transparent pixels.

    Returns:
        uint8 ``(height, width, 1 or 3)`` as Pillow stores it: only TIFFs are turned already.

    Raises:
        DecodeError: ``truncated``, ``damaged (...)`` or ``needs too much memory``.
    """
    with failures_named():
        mode = image.mode
        if mode == "F" or mode.startswith("I"):
            values = np.asarray(image)
            pixels, clear = _with_channel(to_uint8(values)), image.info.get("transparency")
            if clear is None:
                return pixels
            return composite(pixels, np.where(values == clear, np.uint8(0), np.uint8(255)), background)
        if mode in ("LA", "La"):
            both = np.asarray(image if mode == "LA" else image.convert("LA"))
            return composite(both[:, :, :1], both[:, :, 1], background)
        if mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
            four = np.asarray(image if mode == "RGBA" else image.convert("RGBA"))
            return composite(four[:, :, :3], four[:, :, 3], background)
        if mode in ("1", "L"):
            return _with_channel(np.asarray(image if mode == "L" else image.convert("L")))
        return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def pixels_of_array(array: npt.NDArray[Any], background: tuple[int, int, int]) -> Pixels:
    """Take an array for an image: gray or RGB, with alpha or without.

    Args:
        array: ``(height, width)`` or ``(height, width, 1 to 4)``: gray, gray and alpha, RGB, RGB and alpha; uint8,
            uint16, bool, other integers or floats, scaled as :func:`housetrain.images.pixel_ops.to_uint8` says.
        background: RGB, each 0 to 255, shown through transparent pixels.

    Returns:
        uint8 ``(height, width, 1 or 3)``.

    Raises:
        DecodeError: The shape or type is not that of an image.
    """
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4 or not array.size or array.dtype.kind not in "buif":
        raise DecodeError(f"not an image (array of shape {array.shape}, {array.dtype})")
    pixels = to_uint8(array)
    if array.shape[2] in (2, 4):
        return composite(pixels[:, :, :-1], pixels[:, :, -1], background)
    return pixels


def tiff_by_opencv(data: bytes, outline: Outline, background: tuple[int, int, int]) -> Pixels:
    """Decode a TIFF that Pillow has no mode for, for instance RGB of 32-bit floats; turned the right way up."""
    import cv2

    with failures_named():
        array = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.shape[:2] != (outline.height, outline.width):
        raise DecodeError("damaged (no decoder can read this TIFF)")
    if array.ndim == 3 and array.shape[2] >= 3:
        array = array[:, :, [2, 1, 0, 3][: array.shape[2]]]
    return turn(pixels_of_array(array, background), outline.orientation)


def _with_channel(pixels: Pixels) -> Pixels:
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
