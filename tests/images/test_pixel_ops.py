"""Arithmetic on pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hostile import (
    encode,
    jpeg,
    photo,
    tiff,
)
from images.decoding import DEEP, far

from housetrain.images.decode import decode, fit
from housetrain.images.input_spec import InputSpec
from housetrain.images.pixel_ops import to_uint8


@pytest.mark.parametrize(
    "values",
    [
        DEEP.astype(np.float32) / 65535,
        DEEP.astype(np.float32) / 257,
        DEEP.astype(np.int32),
        DEEP.astype(np.int32) * 30000,
        DEEP.astype(np.float32) - 30000,
    ],
    ids=["0 to 1", "0 to 255", "0 to 65535", "large", "negative"],
)
def test_wide_numbers_use_the_whole_range(values: Any) -> None:
    gray = decode(tiff(values), color_mode="grayscale")[:, :, 0]
    assert np.abs(gray.astype(float) - DEEP / 257).max() <= 1


def test_what_is_not_a_number_is_black() -> None:
    values = np.array([[0.0, 0.5, 1.0, np.nan, np.inf, -np.inf]])
    assert to_uint8(values).tolist() == [[0, 128, 255, 0, 0, 0]]
    assert not to_uint8(np.full((2, 2), np.nan)).any()


def test_gray_is_weighted_as_the_eye_does() -> None:
    colors = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert fit(colors, InputSpec(1, 4)).ravel().tolist() == [76, 150, 29, 255]
    assert decode(encode(colors, "PNG"), color_mode="grayscale").ravel().tolist() == [76, 150, 29, 255]
    assert far(decode(jpeg(seed=22), color_mode="grayscale"), fit(photo(seed=22), InputSpec(120, 160))) < 3
