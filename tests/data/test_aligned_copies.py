"""Alignment of candidates: one image with a part of the other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hostile import photo

from housetrain.data.aligned_copies import (
    Aligned,
    agree_in_own_content,
    agrees,
    aligned_pairs,
    fitted_crops,
    in_crowds,
)
from housetrain.data.chains import Chains
from housetrain.data.image_metadata import low_frequencies, perceptual_hash
from housetrain.data.shared_content import SIDE, own_content
from housetrain.data.turned_shapes import candidates, packed, unpacked

WHOLE = np.array([1, 0, 1, 0], np.float32)


def gray(seed: int) -> np.ndarray:
    return np.ascontiguousarray(photo(320, 400, seed)[:, :, 1])


def small(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def shapes(images: list[np.ndarray]) -> np.ndarray:
    return unpacked([packed(low_frequencies(small(image))) for image in images])


@pytest.mark.parametrize(("top", "bottom", "left", "right"), [(0, 320, 0, 400), (16, 304, 20, 380), (0, 290, 36, 400)])
def test_a_crop_is_fitted_by_the_frequencies_alone(top: int, bottom: int, left: int, right: int) -> None:
    images = [gray(seed) for seed in range(30)]
    crops = [image[top:bottom, left:right] for image in images]
    true = np.array([(right - left) / 400, left / 400, (bottom - top) / 320, top / 320])
    for one, other, is_right in ((images, crops, False), (crops, images, True)):
        similar, boxes, swapped = fitted_crops(shapes(one), shapes(other))
        off = np.abs(boxes - true).max(axis=1)
        assert np.median(off) < 0.015 and np.mean(off < 0.04) >= 0.9
        assert np.mean(similar >= 0.9) >= 0.9
        if bottom - top < 320:
            assert np.mean(swapped == is_right) >= 0.9


def test_different_images_do_not_fit() -> None:
    similar, _, _ = fitted_crops(
        shapes([gray(seed) for seed in range(40)]), shapes([gray(seed) for seed in range(40, 80)])
    )
    assert similar.max() < 0.9


def test_a_copy_agrees_and_an_image_of_the_same_composition_does_not() -> None:
    image, rng = gray(1), np.random.default_rng(0)
    copy = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)
    soft = cv2.GaussianBlur(image, (0, 0), 18).astype(np.float32)
    grain = cv2.resize(rng.normal(0, 12, (SIDE, SIDE)).astype(np.float32), (400, 320))
    assert agrees(small(image), small(copy), WHOLE)
    assert not agrees(small(image), small((soft + grain).clip(0, 255).astype(np.uint8)), WHOLE)
    assert not agrees(small(image), small(gray(2)), WHOLE)


def test_a_crop_that_is_fitted_roughly_is_aligned() -> None:
    image = gray(4)
    crop = small(image[16:304, 20:380])
    assert agrees(small(image), crop, np.array([0.92, 0.03, 0.88, 0.07], np.float32))
    assert not agrees(small(gray(5)), crop, np.array([0.9, 0.05, 0.9, 0.05], np.float32))


def test_images_that_show_hardly_the_same_do_not_agree() -> None:
    image = small(gray(6))
    assert not agrees(image, image, np.array([0.3, 0.9, 0.3, 0.9], np.float32))


def test_no_more_pairs_are_aligned_than_join_all_copies() -> None:
    image = gray(8)
    images = [image, image[:, ::-1], image[::-1], np.rot90(image), image[8:312, 10:390], gray(9)]
    known, pictures = shapes(images), np.stack([small(one) for one in images])
    hashes = np.array([int(perceptual_hash(low_frequencies(small(one))), 16) for one in images], np.uint64)
    pairs, each = candidates(known, np.arange(6)), np.arange(6)
    found = aligned_pairs(pairs, known, lambda numbers: pictures[list(numbers)], each, hashes)
    assert found is not None and len(found) == 4
    assert Chains((pair.left, pair.right) for pair in found).parts() == [[0, 1, 2, 3, 4]]


def test_in_a_set_of_one_kind_no_pair_is_told_from_a_copy() -> None:
    rng = np.random.default_rng(8)
    frame = gray(8).astype(np.float32)
    frame = (frame + frame[:, ::-1] + frame[::-1] + frame[::-1, ::-1]) / 4  # the same mirrored
    images = [(frame + rng.normal(0, 9, frame.shape)).clip(0, 255).astype(np.uint8) for _ in range(50)]
    known, pictures = shapes(images), np.stack([small(one) for one in images])
    hashes = np.array([int(perceptual_hash(low_frequencies(small(one))), 16) for one in images], np.uint64)
    pairs = candidates(known, np.arange(50))
    assert aligned_pairs(pairs, known, lambda numbers: pictures[list(numbers)], np.arange(50), hashes) is None


def test_crowds_are_left_out_and_copies_are_not() -> None:
    copies = [(one, other) for one in range(9) for other in range(one)]
    line = [(100 + number, 101 + number) for number in range(30)]
    many = [(200 + one, 200 + other) for one in range(41) for other in range(one)]
    some = [(300 + one, 300 + other) for one in range(30) for other in range(one) if (one + other) % 2]
    pairs = np.array([*copies, *line, *many, *some])
    crowded = in_crowds(pairs[:, 0], pairs[:, 1])
    assert set(pairs[crowded].min(axis=1) // 100) == {1, 2}
    assert crowded.sum() == len(line) + len(many)


def test_a_frame_that_a_long_chain_shares_is_not_what_makes_copies() -> None:
    frame, rng = gray(10), np.random.default_rng(1)
    grains = [cv2.resize(rng.normal(0, 4, (32, 40)).astype(np.float32), (400, 320)) for _ in range(24)]
    parts = [(frame + grain).clip(0, 255).astype(np.uint8) for grain in grains]
    images = np.stack([small(part) for part in parts])
    own = dict(enumerate(own_content(images, components=0)))
    assert agrees(images[0], images[1], WHOLE)
    assert not agree_in_own_content(Aligned(0, 1, 0, WHOLE, False), own)
    assert agree_in_own_content(Aligned(0, 0, 0, WHOLE, False), own)
