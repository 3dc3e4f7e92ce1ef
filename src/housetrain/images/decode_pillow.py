"""PNG, GIF, BMP, TIFF, WebP and AVIF -> uint8 pixels, through Pillow (and OpenCV for the TIFFs it has no mode for).

In: bytes of a known format, or Pillow images and arrays. Out: uint8 pixels, grayscale or RGB, composited over a
background. It does not know JPEG, files, or the model input. Pillow is imported when first needed: most folders hold
only JPEGs.

Plugins are called by name, not through ``Image.open``: no other plugin (such as Ghostscript) sees the bytes, and only
our pixel limit applies.
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
from housetrain.images.decode_tiff import TiffLayout
from housetrain.images.pixel_ops import Pixels, composite, to_uint8
from housetrain.images.sniff import exif_orientation, has_all_rows, without_metadata

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
    """Convert any exception of a decoder into a `DecodeError` with a short reason."""
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
    """Read the header of an image.

    Args:
        data: The whole file.
        format_: What `housetrain.images.sniff.sniff` returned; not ``JPEG``.

    Returns:
        Pillow's image, not decoded yet. Close it.

    Raises:
        DecodeError: ``truncated`` or ``damaged (...)``.
    """
    module, name = _PLUGINS[format_]
    if format_ == "PNG":
        data = without_metadata(data)
    with failures_named():
        plugin = getattr(importlib.import_module(f"PIL.{module}"), name)
        image: ImageFile = plugin(io.BytesIO(data))
        if format_ == "PNG" and isinstance(clear := image.info.get("transparency"), int):
            # Pillow scales grays of 2 and 4 bits to 8, but not the gray that is transparent
            image.info["transparency"] = clear * {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
    return image


def check_rows(image: Image, data: bytes) -> None:
    """Raise `DecodeError` where rows of a PNG are missing at the end: Pillow fills them with zeros.

    Args:
        image: The opened image; it is decoded.
        data: The whole file.
    """
    with failures_named():
        image.load()
        last = image.crop((0, image.height - 1, image.width, image.height))
        if (image.info.get("interlace") or last.getbbox() is None) and not has_all_rows(data):
            raise DecodeError("truncated")


def orientation_of(image: Image) -> int:
    """Return EXIF tag 274 of an opened image, 1 to 8, without decoding it."""
    if image.format == "AVIF":  # it has rotation boxes of its own, which Pillow adds to the EXIF orientation
        found = image.getexif().get(274, 1)
        return found if found in range(1, 9) else 1
    return exif_orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def frames_of(image: Image) -> tuple[int, str]:
    """Count frames or pages.

    Returns:
        The number, and what is wrong with a later frame, or ``""``. The number is 1 where it cannot be counted.
    """
    try:
        with failures_named():
            return max(1, int(getattr(image, "n_frames", 1))), ""
    except DecodeError:  # only the first frame is used, and it was decoded
        return 1, "a later frame is damaged"


def pixels_of(image: Image, background: tuple[int, int, int], layout: TiffLayout | None = None) -> Pixels:
    """Decode the first frame of an opened image.

    Args:
        image: Any Pillow image.
        background: RGB, each 0 to 255, shown through transparent pixels.
        layout: How the file stores the pixels, where it is a TIFF.

    Returns:
        uint8 ``(height, width, 1 or 3)`` as stored; only for TIFFs the orientation is already applied.

    Raises:
        DecodeError: ``truncated``, ``damaged (...)`` or ``needs too much memory``.
    """
    with failures_named():
        mode = image.mode
        if mode == "F" or mode.startswith("I"):
            values = layout.values(image) if layout else np.asarray(image)
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
    """Convert an array to pixels: grayscale or RGB, with or without alpha.

    Args:
        array: ``(height, width)`` or ``(height, width, 1 to 4)``: gray, gray and alpha, RGB, RGB and alpha; uint8,
            uint16, bool, other integers or floats, scaled by `housetrain.images.pixel_ops.to_uint8`.
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


def tiff_by_opencv(data: bytes, layout: TiffLayout) -> Pixels:
    """Decode a TIFF that Pillow has no mode for: RGB of 32-bit or 64-bit floats."""
    import cv2

    with failures_named():
        array = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:  # libtiff does not distinguish what is cut from what is changed
        raise DecodeError("damaged (the TIFF cannot be decoded)")
    if array.shape != (layout.height, layout.width, 3):
        raise DecodeError(layout.unsupported)
    return to_uint8(array[:, :, ::-1])


def _with_channel(pixels: Pixels) -> Pixels:
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
