"""Thumbnails: proportions are kept, small images are not blurred."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from housetrain.errors import DecodeError
from housetrain.images.encode import encode
from housetrain.images.thumbnail import fit, shrink, thumbnail


def test_a_large_image_fits_and_a_small_one_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 120, 1), dtype=np.uint8)
    assert shrink(image, 40).shape == (20, 40, 1)
    assert shrink(image, 120) is image


def test_enlarging_repeats_whole_pixels() -> None:
    image = np.array([[[10], [20], [30]]], np.uint8)
    enlarged = fit(image, 10)
    assert enlarged.shape == (3, 9, 1)
    np.testing.assert_array_equal(enlarged[0, :, 0], [10] * 3 + [20] * 3 + [30] * 3)
    assert fit(np.zeros((1, 50, 3), np.uint8), 25).shape == (1, 25, 3)


def test_a_thumbnail_of_a_file_and_of_its_bytes_is_the_same(tmp_path: Path) -> None:
    data = encode(np.random.default_rng(0).integers(0, 256, (90, 30), dtype=np.uint8))
    (tmp_path / "a.png").write_bytes(data)
    small = thumbnail(tmp_path / "a.png", 45)
    assert small.shape == (45, 15, 3)
    np.testing.assert_array_equal(small, thumbnail(data, 45))
    with pytest.raises(DecodeError):
        thumbnail(b"<html>", 45)
