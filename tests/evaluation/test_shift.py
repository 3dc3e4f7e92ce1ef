"""Shifts between two sets of images are found, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from housetrain.evaluation.elsewhere import Shift
from housetrain.evaluation.shift import joined, measure, shifts


def scenes(seed: int, count: int = 120) -> NDArray[np.uint8]:
    """Soft color images, as uint8 (count, 24, 24, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 200, (count, 4, 4, 3)).repeat(6, axis=1).repeat(6, axis=2)
    return np.clip(coarse + rng.normal(0, 8, coarse.shape), 0, 255).astype(np.uint8)


def found(here: NDArray[np.uint8]) -> dict[str, Shift]:
    trained = scenes(0, 600)
    return {one.name: one for one in shifts(measure(trained[:500]), measure(trained[500:]), measure(here), {})}


def test_images_of_the_same_kind_are_not_shifted() -> None:
    assert [name for name, one in found(scenes(1)).items() if one.shifted] == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("brightness", lambda images: images * 0.6),
        ("brightness", lambda images: np.clip(images * 1.0 + 60, 0, 255)),
        ("contrast", lambda images: 120 + (images - 120.0) * 0.5),
        ("color", lambda images: images.mean(axis=-1, keepdims=True).repeat(3, axis=-1)),
        ("novelty", lambda images: np.random.default_rng(3).integers(0, 256, images.shape)),
    ],
)
def test_each_change_is_named(name: str, change: object) -> None:
    here = change(scenes(1)).astype(np.uint8)  # type: ignore[operator]
    one = found(here)[name]
    assert one.shifted, one
    assert one.name in one.text


def test_copies_of_training_images_are_not_novel() -> None:
    one = found(scenes(0, 600)[:100])["novelty"]
    assert one.here[1] == pytest.approx(0, abs=1e-3)
    assert not one.shifted


def test_batches_are_joined() -> None:
    images = scenes(2)
    parts = joined([measure(images[:50]), measure(images[50:])])
    whole = measure(images)
    assert all(np.array_equal(parts.numbers[name], whole.numbers[name]) for name in whole.numbers)
    assert np.array_equal(parts[10:20].thumbnails, whole.thumbnails[10:20])


def test_grayscale_inputs_have_no_color() -> None:
    gray = scenes(1)[..., :1]
    assert "color" not in measure(gray).numbers
