"""Imbalanced classes: the test against chance keeps its level, the intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_results import quick

from housetrain.evaluation.balance import LEVEL, chance_of_balanced_accuracy, imbalanced, mean_interval
from housetrain.evaluation.evaluation import ClassScores

PRIORS = np.array([0.7, 0.2, 0.1])


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


@pytest.mark.parametrize("priors", [(0.95, 0.05), tuple(PRIORS)])
def test_predictions_that_do_not_depend_on_the_class_are_found_better_at_the_nominal_rate(priors: tuple) -> None:
    random = np.random.default_rng(0)
    classes = len(priors)
    alarms = sum(
        chance_of_balanced_accuracy(confusion(*random.choice(classes, (2, 300), p=priors), classes)) <= LEVEL
        for _ in range(100)
    )
    assert alarms <= 6, "2.5 % of 100 are 2.5; more than 6 have a probability of 1 %"


def test_a_rare_class_that_is_found_is_better_than_chance_though_the_accuracy_is_below_the_baseline() -> None:
    labels = np.repeat([0, 1], [380, 20])
    wrong = np.r_[np.arange(380) < 25, np.arange(20) < 1]
    said = np.eye(2)[np.where(wrong, 1 - labels, labels)] * 0.8 + 0.1
    result = quick(labels, said)
    assert result.macro_recall == pytest.approx(0.942, abs=0.001)
    assert result.accuracy < result.baseline.accuracy and result.imbalanced and result.beats_baseline
    summary = result.summary()
    assert "balanced accuracy 94.2 %, 95 % interval 8" in summary and "macro F1" in summary
    assert "Not significantly" not in summary
    value = result.to_json()
    assert value["imbalanced"] and value["macro_recall_interval"] == result.macro_recall_interval
    rare = min(result.per_class.values(), key=lambda scores: scores.support)
    assert rare.average_precision is not None and rare.average_precision_interval is not None
    low, high = rare.average_precision_interval
    assert low < rare.average_precision < high and rare.average_precision > rare.support / result.n, "above chance"
    assert not quick(labels, np.tile([0.9, 0.1], (400, 1))).beats_baseline, "always the majority"


def test_equal_classes_are_tested_by_accuracy() -> None:
    labels = np.repeat([0, 1], [60, 40])
    result = quick(labels, np.eye(2)[labels] * 0.8 + 0.1)
    assert not result.imbalanced and "balanced accuracy" not in result.summary() and result.beats_baseline
    assert imbalanced((41, 20, 0)) and not imbalanced((40, 20, 0))


def test_the_intervals_of_the_means_cover_the_truth() -> None:
    random = np.random.default_rng(1)
    keep, repeats, n = 0.85, 200, 250
    joint = PRIORS[:, None] * (keep * np.eye(3) + (1 - keep) / 3)
    true_f1 = float(np.mean(2 * joint.diagonal() / (joint.sum(axis=0) + joint.sum(axis=1))))
    covered = np.zeros(2)
    for counts in random.multinomial(n, joint.ravel(), repeats).reshape(-1, 3, 3):
        sums = zip(counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0), strict=True)
        found = [ClassScores.of(int(hit), support=int(own), predicted=int(called)) for hit, own, called in sums]
        recall = mean_interval([(one.recall, one.recall_interval) for one in found])  # type: ignore[misc]
        f1 = mean_interval([(one.f1, one.f1_interval) for one in found], shared=True)  # type: ignore[misc]
        covered += [recall[0] <= keep + 0.05 <= recall[1], f1[0] <= true_f1 <= f1[1]]
    assert (covered >= 0.91 * repeats).all(), covered / repeats


def test_no_mistake_is_not_certainty_and_one_class_is_no_evidence() -> None:
    assert mean_interval([(1.0, (0.8, 1.0)), (1.0, (0.9, 1.0))])[0] == pytest.approx(1 - np.hypot(0.2, 0.1) / 2)
    assert chance_of_balanced_accuracy([[5, 0], [0, 0]]) == 1.0
    assert chance_of_balanced_accuracy([[5, 0, 0], [0, 5, 0], [0, 0, 0]]) < 0.02
