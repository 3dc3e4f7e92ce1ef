"""Confident learning: the same images as cleanlab, and a list that holds what it promises on planted labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from housetrain.evaluation.confident_learning import (
    COMPONENTS,
    components,
    confident_joint,
    neighbors,
    out_of_fold,
    wrong_labels,
)

GOLDEN = json.loads(Path(__file__).with_name("confident_learning.json").read_text())
"""``compute_confident_joint`` and ``find_label_issues`` of cleanlab 2.9.0, with their defaults, on made-up outputs."""


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{len(case['joint'])} classes")
def test_the_result_is_that_of_cleanlab(case: dict[str, list]) -> None:
    labels, probabilities = np.array(case["labels"]), np.array(case["probabilities"])
    joint = confident_joint(labels, probabilities)
    assert np.abs(joint - np.array(case["joint"])).max() <= 1, "only rounding may differ"
    assert joint.sum(axis=1).tolist() == np.bincount(labels).tolist()
    found = wrong_labels(labels, probabilities)
    assert len(set(found.tolist()) ^ set(case["wrong"])) <= 1
    margins = probabilities[found].max(axis=1) - probabilities[found, labels[found]]
    assert (np.diff(margins) <= 0).all() and (margins > 0).all()


def blobs(count: int, classes: int, *, seed: int, width: int = 40, apart: float = 1.4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    centers = random.normal(0, apart, (classes, width))
    return (centers[labels] + random.normal(0, 2.0, (count, width))).astype(np.float32), labels


@pytest.mark.parametrize(("classes", "recall"), [(2, 0.95), (5, 0.8)])
def test_planted_labels_are_found(classes: int, recall: float) -> None:
    hits = proposed = planted = 0
    for seed in range(4):
        rows, truth = blobs(600, classes, seed=seed)
        random = np.random.default_rng(100 + seed)
        wrong = random.choice(600, 30, replace=False)
        labels = truth.copy()
        labels[wrong] = (truth[wrong] + random.integers(1, classes, 30)) % classes
        groups = [str(number) for number in range(600)]
        out = out_of_fold(components(rows), labels, groups, classes=classes)
        found = wrong_labels(labels, out.probabilities)
        hits, proposed, planted = hits + len({*found} & {*wrong}), proposed + len(found), planted + 30
    assert hits / planted >= recall and hits / proposed >= 0.85


def test_true_labels_of_separate_classes_are_left_alone() -> None:
    rows, labels = blobs(400, 3, seed=0, apart=6.0)
    out = out_of_fold(components(rows), labels, [str(number) for number in range(400)], classes=3)
    assert len(wrong_labels(labels, out.probabilities)) == 0


def test_near_duplicates_do_not_vouch_for_each_other() -> None:
    """Each image twice, both copies with the same wrong label: found only if both are in one fold."""
    rows, truth = blobs(300, 2, seed=1)
    wrong = np.random.default_rng(0).choice(300, 15, replace=False)
    labels = truth.copy()
    labels[wrong] = 1 - labels[wrong]
    twice, pairs = np.repeat(rows, 2, axis=0), np.repeat(labels, 2)
    groups = [str(number // 2) for number in range(600)]
    out = out_of_fold(components(twice), pairs, groups, classes=2)
    found = {place // 2 for place in wrong_labels(pairs, out.probabilities)}
    assert len(found & {*wrong}) >= 13
    near = neighbors(components(twice), np.arange(6), groups, count=5)
    for place, one in enumerate(near):
        assert place // 2 not in {other // 2 for other in one.places} and len(one.places) == 5
        assert (np.diff(one.similarity) <= 1e-6).all()


def test_components_keep_what_matters_and_constant_features_do_no_harm() -> None:
    rows = np.zeros((20, 2 * COMPONENTS), np.float16)
    rows[:, 0] = np.arange(20)
    found = components(rows)
    assert found.dtype == np.float32 and np.isfinite(found).all() and found.shape == (20, 19)
    assert abs(np.corrcoef(found[:, 0], np.arange(20))[0, 1]) > 0.999
    assert (components(rows) == found).all()


def test_a_class_without_images_in_the_confident_set_breaks_nothing() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2])
    probabilities = np.full((21, 3), 1 / 3, np.float32)
    assert confident_joint(labels, probabilities).sum() == 21
    assert len(wrong_labels(labels, probabilities)) == 0
