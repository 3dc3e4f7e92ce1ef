"""Cross-validated accuracy: honest about chance, about near-duplicates, and about how far it can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from housetrain.training.cross_validation import cross_validate, describe


def data(per_class: int, *, classes: int = 3, apart: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    centers = rng.normal(size=(classes, 20))
    centers *= apart / np.linalg.norm(centers, axis=1, keepdims=True)
    return (centers[labels] + rng.normal(size=(len(labels), 20))).astype(np.float16), labels


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def found_for(
    features: np.ndarray, labels: np.ndarray, groups: list[str], classes: int = 3, strength: float = 0.1
) -> dict[str, Any]:
    found = cross_validate(features, labels, groups, classes=classes, strength=strength, weighted=True)
    assert found is not None
    low, high = found["interval"]
    assert 0 <= low <= found["accuracy"] <= high <= 1
    return found


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("per_class", [10, 50])
def test_ten_to_fifty_images_a_class_work_and_the_accuracy_is_that_of_new_images(per_class: int, classes: int) -> None:
    features, labels = data(per_class, classes=classes)
    found = found_for(features, labels, names(len(labels)), classes)
    assert found["accuracy"] > 0.8 and found["images"] == len(labels) and (found["folds"], found["repeats"]) == (5, 2)
    text = describe(found)
    assert f"over {len(labels)} training and validation images" in text and "95 % interval" in text


def test_labels_that_mean_nothing_are_at_chance_although_every_fold_is_fitted_perfectly() -> None:
    features, labels = data(40, apart=0.0)
    found = found_for(features, labels, names(len(labels)))
    low, high = found["interval"]
    assert low < 1 / 3 < high


def test_copies_of_an_image_stay_in_one_fold() -> None:
    """Five copies of each image, with labels that mean nothing: a copy in the training set would give it away."""
    labels = np.repeat(np.arange(3), 20)
    features = np.random.default_rng(0).normal(size=(60, 200)).astype(np.float16)
    copied, fivefold = np.repeat(features, 5, axis=0), np.repeat(labels, 5)
    honest = found_for(copied, fivefold, [str(number // 5) for number in range(len(fivefold))], strength=1e-4)
    leaking = found_for(copied, fivefold, names(len(fivefold)), strength=1e-4)
    assert honest["accuracy"] < 0.6 and leaking["accuracy"] > 0.95


def test_folds_that_all_agree_leave_an_interval_as_wide_as_the_number_of_images_says() -> None:
    features, labels = data(20, apart=40.0)
    found = found_for(features, labels, names(len(labels)))
    low, high = found["interval"]
    assert found["accuracy"] == high == 1 and 0.9 < low < 0.97, "the Wilson interval of 60 of 60"


def test_a_class_with_one_group_cannot_be_cross_validated() -> None:
    features, labels = data(10)
    groups = ["all" if label == 2 else str(number) for number, label in enumerate(labels)]
    assert cross_validate(features, labels, groups, classes=3, strength=0.1, weighted=False) is None
    few = np.flatnonzero((labels < 2) | (np.arange(len(labels)) < 22))  # two images of the last class
    found = cross_validate(features[few], labels[few], names(len(few)), classes=3, strength=0.1, weighted=False)
    assert found is not None and found["folds"] == 2
