"""Encoding: what is encoded decodes to the same image."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from housetrain.errors import HousetrainError
from housetrain.images.decode import decode
from housetrain.images.encode import data_uri, encode

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_png_is_exact_and_keeps_the_order_of_colors(shape: tuple[int, ...]) -> None:
    image = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    color_mode = "rgb" if shape[-1] == 3 else "grayscale"
    decoded = decode(encode(image), color_mode=color_mode)  # type: ignore[arg-type]
    np.testing.assert_array_equal(decoded, image.reshape(5, 7, -1))


@pytest.mark.parametrize("file_format", ["jpeg", "webp"])
def test_jpeg_and_webp_are_close(file_format: str) -> None:
    image = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    decoded = decode(encode(image, file_format, quality=95))  # type: ignore[arg-type]
    assert abs(decoded.astype(int) - image.astype(int)).max() < 12


@pytest.mark.parametrize("image", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4), np.float32), np.zeros(4, np.uint8)])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="image must be uint8"):
        encode(image)


def test_an_image_that_the_format_cannot_hold_is_one_error() -> None:
    with pytest.raises(HousetrainError, match="cannot be encoded"):
        encode(np.zeros((1, 70_000), np.uint8), "jpeg")


def test_a_data_uri_holds_the_bytes() -> None:
    uri = data_uri(b"abc", "jpeg")
    assert uri.startswith("data:image/jpeg;base64,") and base64.b64decode(uri.split(",")[1]) == b"abc"
