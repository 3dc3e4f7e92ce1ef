"""Shapes: the low frequencies of images, by which copies are found in every turn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hostile import photo

from housetrain.data import turned_shapes
from housetrain.data.image_metadata import low_frequencies
from housetrain.data.turned_shapes import candidates, packed, turn_between, turn_pixels, turned, unpacked


def gray(seed: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.ascontiguousarray(photo(height, width, seed)[:, :, 1])


def shape(image: np.ndarray) -> str:
    return packed(low_frequencies(cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)))


@pytest.mark.parametrize("turn", range(8))
def test_turning_a_shape_is_turning_the_image(turn: int) -> None:
    images = [gray(seed) for seed in range(5)]
    by_pixels = unpacked([shape(turn_pixels(image, turn)) for image in images])
    by_shape = turned(unpacked([shape(image) for image in images]), turn)
    assert np.abs(by_pixels - by_shape).max() < 0.02
    each = turned(unpacked([shape(image) for image in images]), np.full(5, turn))
    assert np.array_equal(each, by_shape)


def test_a_packed_shape_is_a_string_of_84_characters_whatever_the_image() -> None:
    for image in (gray(0), np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)):
        assert len(shape(image)) == 84
    assert np.isfinite(unpacked([shape(np.zeros((64, 64), np.uint8))])).all()


def test_copies_are_candidates_in_every_turn_and_different_images_are_not() -> None:
    images = [gray(seed) for seed in range(160)]
    copies = [turn_pixels(images[number], number % 8)[3:61, 2:62] for number in range(80)]
    shapes = unpacked([shape(image) for image in (*images, *copies)])
    found = candidates(shapes, np.arange(len(shapes)))
    pairs = {(int(one), int(other)): int(turn) for one, other, turn in zip(*found[:3], strict=True)}
    right = {(number, 160 + number): number % 8 for number in range(80)}
    assert len(right.items() & pairs.items()) >= 78, "copies are missed"
    assert len(pairs.keys() - right) <= 80, "too many different images are candidates"


def test_pairs_that_are_joined_already_are_left_out() -> None:
    shapes = unpacked([shape(gray(1))] * 3)
    assert len(candidates(shapes, np.arange(3)).left) == 3
    found = candidates(shapes, np.array([0, 0, 2]))
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(0, 2), (1, 2)]


def test_of_too_many_pairs_the_most_alike_are_kept() -> None:
    kept = turned_shapes._Kept(10, 0.5)
    alike = np.random.default_rng(0).permutation(np.linspace(0.5, 1, 40)).astype(np.float32)
    for start in range(0, 40, 8):
        numbers = np.arange(start, start + 8)
        kept.add(np.stack((numbers, numbers)), alike[numbers])
    assert len(kept.pairs()[0]) <= 20 and kept.least > 0.7
    assert set(np.argsort(-alike)[:10]) <= set(kept.pairs()[0].tolist())


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (lambda image: image, ""),
        (lambda image: image[:, ::-1], "mirrored"),
        (lambda image: image[::-1], "mirrored top to bottom"),
        (np.rot90, "rotated by 90°"),
        (lambda image: np.rot90(image, 2), "rotated by 180°"),
        (lambda image: np.rot90(image, 3), "rotated by 90°"),
        (lambda image: image.T, "mirrored and rotated by 90°"),
    ],
)
def test_how_a_copy_is_turned_is_said_in_words(turn, words: str) -> None:
    image = gray(7, 90, 120)
    assert turn_between(shape(image), shape(np.ascontiguousarray(turn(image)))) == words
    assert turn_between("", shape(image)) == ""


def test_a_symmetric_image_is_not_called_turned() -> None:
    image = cv2.addWeighted(gray(3), 0.5, gray(3)[:, ::-1], 0.5, 0)
    assert turn_between(shape(image), shape(np.ascontiguousarray(image[:, ::-1]))) == ""
