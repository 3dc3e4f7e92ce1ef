"""Arithmetic on pixels: any numbers that an image can hold -> uint8, grayscale or RGB, upright.

In: numpy arrays. Out: numpy arrays, uint8. It does not know files, formats or the model input.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from housetrain.images.input_spec import WHITE

Pixels = npt.NDArray[np.uint8]

_GRAY = np.array([4899, 9617, 1868], dtype=np.uint32)  # ITU-R BT.601 weights 0.299, 0.587, 0.114 as 14-bit integers
_ROWS = 64


def to_gray(rgb: Pixels) -> Pixels:
    """Convert RGB to grayscale with the weights of the Y channel of JPEG.

    Args:
        rgb: ``(height, width, 3)`` uint8.

    Returns:
        ``(height, width, 1)`` uint8: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded.
    """
    import cv2

    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)[:, :, np.newaxis]


def gray_of(color_mode: tuple[int, int, int]) -> int:
    """Return the brightness, 0 to 255, of one RGB color, rounded as :func:`to_gray` does."""
    return int((np.array(color_mode, dtype=np.uint32) * _GRAY).sum() + (1 << 13)) >> 14


def to_rgb(pixels: Pixels, color_mode: str) -> Pixels:
    """Return pixels in ``color_mode`` (``"grayscale"`` or ``"rgb"``): ``(height, width, 1 or 3)``, uint8."""
    if color_mode == "grayscale":
        return pixels if pixels.shape[2] == 1 else to_gray(pixels)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def composite(pixels: Pixels, alpha: Pixels, background: tuple[int, int, int]) -> Pixels:
    """Composite pixels over a background.

    Args:
        pixels: ``(height, width, 1 or 3)`` uint8.
        alpha: ``(height, width)`` uint8; 0 shows the background, 255 the image.
        background: RGB, each 0 to 255; gray pixels take its brightness.

    Returns:
        Pixels of the same shape, uint8, rounded to the nearest.
    """
    if alpha.size and alpha.min() == 255:
        return pixels
    below = np.array((gray_of(background),) if pixels.shape[2] == 1 else background, dtype=np.uint16)
    mixed = np.empty_like(pixels)
    for start in range(0, len(pixels), _ROWS):  # a whole large image in 16 bits would take one or two gigabytes
        rows = slice(start, start + _ROWS)
        weight = alpha[rows, :, np.newaxis].astype(np.uint16)
        mixed[rows] = (pixels[rows] * weight + below * (255 - weight) + 127) // 255
    return mixed


def peak_of(values: npt.NDArray[np.generic]) -> int:
    """Return the largest of integers from 0 to 65535 of more than 8 bits; 0 for other numbers."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize == 1 or not values.size:
        return 0
    low, high = int(values.min()), int(values.max())
    return high if low >= 0 and high <= WHITE else 0


def to_uint8(values: npt.NDArray[np.generic], white: int = WHITE) -> Pixels:
    """Scale any numbers to 0..255.

    16-bit integers are divided by ``white / 255``: by 257 where they use all bits, so nothing is clipped. Wider
    integers and floats have no standard white, so their range decides: 0 to 1 (floats), 0 to 255 and 0 to 65535 are
    scaled as such, integers up to 65535 by a smaller ``white`` as those of 16 bits; any other range is stretched from
    its minimum to its maximum. NaN becomes black.

    Args:
        values: An array of bool, integers or floats of any shape.
        white: The integer that becomes 255; larger ones do, too.

    Returns:
        uint8 of the same shape.
    """
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype == np.bool_:
        return np.where(values, np.uint8(255), np.uint8(0))
    if white < WHITE and peak_of(values):
        clipped = np.minimum(values, white).astype(np.uint32)
        return np.asarray((clipped * 255 + white // 2) // white, dtype=np.uint8)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return ((values.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)  # exactly rounded v / 257
    real = values.astype(np.float64)
    finite = np.isfinite(real)
    if not finite.any():
        return np.zeros(values.shape, dtype=np.uint8)
    low, high = float(real[finite].min()), float(real[finite].max())
    real[~finite] = low if low < 0 else 0.0
    if low >= 0 and values.dtype.kind == "f" and high <= 1:
        scaled = real * 255
    elif low >= 0 and high <= 255:
        scaled = real
    elif low >= 0 and values.dtype.kind in "iu" and high <= WHITE:
        scaled = real / 257
    else:
        scaled = (real - low) * (255 / (high - low)) if high > low else np.zeros_like(real)
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Apply the EXIF orientation to stored pixels.

    Args:
        pixels: ``(height, width, channels)``.
        orientation: The EXIF tag 274, 1 to 8 (Exif 2.32, 4.6.4 A); 5 to 8 swap width and height.

    Returns:
        A contiguous array, or ``pixels`` itself for orientation 1.
    """
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows, columns = _FLIPS[orientation]
    return np.ascontiguousarray(pixels[::rows, ::columns])


# (rows, columns) steps after the transposition, if any
_FLIPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
