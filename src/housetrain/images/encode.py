"""uint8 pixels -> the bytes of an image file: the one place that encodes an image.

In: a uint8 array, or the bytes of an image file. Out: PNG, JPEG or WebP bytes; a ``data:`` URI of them. It does not
know where the pixels come from.
"""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from housetrain.errors import HousetrainError

FileFormat = Literal["png", "jpeg", "webp"]


def encode(
    image: npt.NDArray[np.uint8], file_format: FileFormat = "png", *, quality: int = 82, compression: int = 6
) -> bytes:
    """Encode one image.

    Args:
        image: uint8 ``(height, width)`` or ``(height, width, 1 or 3)``, RGB.
        file_format: ``"png"`` (exact), ``"jpeg"`` or ``"webp"`` (small).
        quality: Of JPEG and WebP, 1 to 100.
        compression: Of PNG, 0 (fast, large) to 9 (slow, small).

    Raises:
        ValueError: The array is not an image.
        HousetrainError: The format cannot hold the image, for example a JPEG wider than 65,535 pixels.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(
            f"image must be uint8 (height, width) or (height, width, 1 or 3). Received: {image.dtype}, {image.shape}"
        )
    import cv2

    pixels: Any = image[:, :, ::-1] if image.ndim == 3 and image.shape[2] == 3 else image
    options = {
        "png": [cv2.IMWRITE_PNG_COMPRESSION, compression],
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }
    try:
        done, data = cv2.imencode(f".{file_format}", np.ascontiguousarray(pixels), options[file_format])
    except cv2.error:
        done = False
    if not done:
        raise HousetrainError(
            "The image cannot be encoded", do="make it smaller", file_format=file_format, shape=image.shape
        )
    return data.tobytes()


def data_uri(data: bytes, file_format: FileFormat = "png") -> str:
    """Return the bytes of an image file as a ``data:`` URI, for a page that loads nothing."""
    return f"data:image/{file_format};base64,{base64.b64encode(data).decode('ascii')}"
