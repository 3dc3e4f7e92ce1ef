"""Image files and arrays -> small images to look at.

In: a path, the bytes of an image file, or a uint8 array. Out: a uint8 array that fits into a square. It does not know
where the image is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from housetrain.images.decode import decode, read_bytes
from housetrain.images.pixel_ops import Pixels


def thumbnail(source: Path | bytes, side: int) -> Pixels:
    """Decode an image at the size of a thumbnail, in RGB.

    Args:
        source: A file, or its content.
        side: Longest side in pixels.

    Returns:
        uint8 ``(height, width, 3)``.

    Raises:
        DecodeError: It cannot be read.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    return shrink(decode(data, at_least=(side, side), white=None), side)


def shrink(image: Pixels, side: int) -> Pixels:
    """Return the image shrunk to fit into a square, its proportions kept; a small image is returned as it is.

    Args:
        image: uint8 ``(height, width, channels)``.
        side: Longest side in pixels.
    """
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    if shape == (width, height):
        return image
    pixels: Any = image
    small = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(shape[1], shape[0], image.shape[2])


def fit(image: Pixels, side: int) -> Pixels:
    """Return the image at the largest whole multiple of its size that fits into a square, or shrunk if it does not fit.

    Args:
        image: uint8 ``(height, width, channels)``.
        side: Longest side in pixels.
    """
    times = side // max(image.shape[:2])
    return image.repeat(times, axis=0).repeat(times, axis=1) if times else shrink(image, side)
