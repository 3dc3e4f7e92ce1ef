"""PNG, GIF, BMP, TIFF, WebP, AVIF and HEIC -> uint8 pixels, through Pillow, and OpenCV for some TIFFs.

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
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from housetrain.errors import DecodeError
from housetrain.images.color_profile import (
    MAX_BYTES,
    ColorConversion,
    conversion_of,
    profile_in_cicp,
    profile_in_exif,
    profile_in_png,
)
from housetrain.images.decode_tiff import TiffLayout
from housetrain.images.input_spec import WHITE, white_of
from housetrain.images.pixel_ops import Pixels, composite, peak_of, to_uint8
from housetrain.images.sniff import chunk_of, exif_orientation, has_all_rows, without_metadata
from housetrain.images.unsupported import NEEDS_HEIC, UNSUPPORTED

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_PLUGINS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
}


@contextmanager
def failures_named() -> Iterator[None]:
    """Convert any exception of a decoder into a `DecodeError` with a short reason, and hide warnings of metadata."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # under "error" the same file would be refused
            yield
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError("needs too much memory") from error
    except Exception as error:
        # short and the same every time: no addresses of objects, no chains of commands to follow
        said = " ".join(re.sub(r"<[^>]*>|0x[0-9a-f]{6,}", "", str(error)).split()).lower()[:80].strip(" .:")
        if "decoder error" in said or not any(map(str.isalpha, said)):  # numbers of the library
            said = "the pixels cannot be decoded"
        cut = any(word in said for word in ("truncated", "not enough", "unexpected end", "ran out"))
        raise DecodeError("truncated" if cut else f"damaged ({said})") from error


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
    profile = b""
    if format_ == "PNG":
        named = chunk_of(data, b"cICP")  # comes before a profile (PNG, third edition, 4.3)
        profile = profile_in_cicp(named) if named else profile_in_png(chunk_of(data, b"iCCP"))
        data = without_metadata(data)
    with failures_named():
        try:
            plugin = getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise DecodeError(NEEDS_HEIC if format_ == "HEIC" else f"{UNSUPPORTED} ({format_})") from error
        image: ImageFile = plugin(io.BytesIO(data))
        if profile:
            image.info["icc_profile"] = profile
        if format_ == "PNG" and isinstance(clear := image.info.get("transparency"), int):
            # Pillow scales grays of 2 and 4 bits to 8, but not the gray that is transparent
            image.info["transparency"] = clear * {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
    return image


def conversion_in(image: Image) -> ColorConversion | None:
    """Return the conversion to sRGB that the profile (or EXIF) of an opened image asks for, if any."""
    profile = image.info.get("icc_profile")
    if not profile and isinstance(exif := image.info.get("exif"), bytes):
        profile = profile_in_exif(exif.removeprefix(b"Exif\0\0"))
    colored = image.mode in ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA")
    return conversion_of(profile) if colored and isinstance(profile, bytes) and len(profile) <= MAX_BYTES else None


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
    if image.format in ("AVIF", "HEIF"):  # they have rotation boxes of their own; the rest is in the EXIF orientation
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


def low_bytes(image: ImageFile, data: bytes) -> ImageFile | None:
    """Open an image of 16 bits a color so that it decodes to the low bytes: Pillow keeps only the high ones of colors.

    Args:
        image: The opened image, not decoded yet.
        data: The whole file.

    Returns:
        The image, or ``None`` where it is not RGB of 16 bits, with or without alpha.
    """
    color, _, order = _raw_mode(image).partition(";16")
    if color not in ("RGB", "RGBA") or order not in ("B", "L", "N") or "transparency" in image.info:
        return None
    big = order == "B" or (order == "N" and sys.byteorder == "big")
    mode = f"{color};16{'L' if big else 'B'}"
    low = open_image(data, str(image.format))
    low.tile = [
        tile._replace(args=(mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode) for tile in low.tile
    ]
    return low


def gray_and_alpha(image: ImageFile, data: bytes) -> npt.NDArray[np.uint16] | None:
    """Decode a PNG of 16-bit gray with alpha, of which Pillow keeps only the high bytes.

    Args:
        image: The opened image, not decoded yet.
        data: The whole file.

    Returns:
        uint16 ``(height, width, 2)``, or ``None`` where it is another kind of image.
    """
    import cv2

    if image.format != "PNG" or _raw_mode(image) != "LA;16B":
        return None
    with failures_named():
        four = cv2.imdecode(np.frombuffer(without_metadata(data), np.uint8), cv2.IMREAD_UNCHANGED)
        if four is None or four.dtype != np.uint16 or four.shape != (image.height, image.width, 4):
            raise DecodeError("damaged (the pixels cannot be decoded)")
    return four[:, :, [0, 3]].astype(np.uint16)


def _raw_mode(image: ImageFile) -> str:
    """Return how the first tile of an image that is not decoded yet stores its pixels, as Pillow names it."""
    args: Any = image.tile[0].args if image.tile else ""
    return str(args[0]) if isinstance(args, tuple) and args else str(args)


def pixels_of(
    image: Image,
    background: tuple[int, int, int],
    layout: TiffLayout | None = None,
    *,
    white: int | None = WHITE,
    low: ImageFile | None = None,
    both: npt.NDArray[np.uint16] | None = None,
) -> tuple[Pixels, int]:
    """Decode the first frame of an opened image.

    Args:
        image: Any Pillow image.
        background: RGB, each 0 to 255, shown through transparent pixels.
        layout: How the file stores the pixels, where it is a TIFF.
        white: The value of a 16-bit image that becomes 255; ``None``: that of the bits that it uses.
        low: What `low_bytes` returned for the file.
        both: What `gray_and_alpha` returned for the file.

    Returns:
        uint8 ``(height, width, 1 or 3)`` as stored (only for TIFFs the orientation is already applied), in sRGB where
        the file has the profile of another color space, and the largest value of a 16-bit image or an upper limit that
        needs as many bits; 0 for other images.

    Raises:
        DecodeError: ``truncated``, ``damaged (...)`` or ``needs too much memory``.
    """
    with failures_named():
        mode = image.mode
        if both is not None:
            peak = peak_of(both[:, :, :1])
            return composite(
                to_uint8(both[:, :, :1], white or white_of(peak)), to_uint8(both[:, :, 1]), background
            ), peak
        if mode == "F" or mode.startswith("I"):
            values = layout.values(image) if layout else np.asarray(image)
            peak, clear = peak_of(values), image.info.get("transparency")
            pixels = _with_channel(to_uint8(values, white or white_of(peak)))
            if clear is None:
                return pixels, peak
            return composite(pixels, np.where(values == clear, np.uint8(0), np.uint8(255)), background), peak
        if low is not None:
            four = np.asarray(image)
            colors, peak = four[:, :, :3], int(four[:, :, :3].max()) << 8 | 255
            if (white or white_of(peak)) < WHITE:
                values = colors.astype(np.uint16) << 8 | np.asarray(low)[:, :, :3]
                colors = to_uint8(values, white or white_of(peak))
            colors = _to_srgb(colors, image)
            return (composite(colors, four[:, :, 3], background) if mode == "RGBA" else colors), peak
        return _pixels_of_bytes(image, background), 0


def _pixels_of_bytes(image: Image, background: tuple[int, int, int]) -> Pixels:
    mode = image.mode
    if mode in ("LA", "La"):
        both = np.asarray(image if mode == "LA" else image.convert("LA"))
        return composite(both[:, :, :1], both[:, :, 1], background)
    if mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
        four = np.asarray(image if mode == "RGBA" else image.convert("RGBA"))
        return composite(_to_srgb(four[:, :, :3], image), four[:, :, 3], background)
    if mode in ("1", "L"):
        return _with_channel(np.asarray(image if mode == "L" else image.convert("L")))
    return _to_srgb(np.asarray(image if mode == "RGB" else image.convert("RGB")), image)


def _to_srgb(colors: Pixels, image: Image) -> Pixels:
    conversion = conversion_in(image)
    return conversion(colors) if conversion else colors


def pixels_of_array(array: npt.NDArray[Any], background: tuple[int, int, int], white: int = WHITE) -> Pixels:
    """Convert an array to pixels: grayscale or RGB, with or without alpha.

    Args:
        array: ``(height, width)`` or ``(height, width, 1 to 4)``: gray, gray and alpha, RGB, RGB and alpha; uint8,
            uint16, bool, other integers or floats, scaled by `housetrain.images.pixel_ops.to_uint8`.
        background: RGB, each 0 to 255, shown through transparent pixels.
        white: The value of 16-bit colors that becomes 255.

    Returns:
        uint8 ``(height, width, 1 or 3)``.

    Raises:
        DecodeError: The shape or type is not that of an image.
    """
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4 or not array.size or array.dtype.kind not in "buif":
        raise DecodeError(f"not an image (array of shape {array.shape}, {array.dtype})")
    if array.shape[2] in (2, 4):
        return composite(to_uint8(array[:, :, :-1], white), to_uint8(array)[:, :, -1], background)
    return to_uint8(array, white)


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
