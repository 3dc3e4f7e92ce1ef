"""What several tests of the decoder use."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image  # noqa: TID253

from housetrain.errors import DecodeError
from housetrain.images.decode import decode

LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}


DEEP = np.linspace(0, 65535, 40 * 64).astype(np.uint16).reshape(40, 64)


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
