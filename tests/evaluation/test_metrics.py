"""Every number against another way to reach it: SciPy, scikit-learn, simulation or a sum done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy.stats import binomtest
from sklearn import metrics as theirs  # noqa: TID253

from housetrain.evaluation import metrics


@given(some.integers(1, 5000).flatmap(lambda n: some.tuples(some.integers(0, n), some.just(n))))
def test_wilson_is_that_of_scipy_and_holds_the_share(counts: tuple[int, int]) -> None:
    hits, trials = counts
    low, high = metrics.wilson(hits, trials)
    expected = binomtest(hits, trials).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= hits / trials <= high <= 1


def test_wilson_of_nothing_knows_nothing_and_refuses_nonsense() -> None:
    assert metrics.wilson(0, 0) == (0.0, 1.0)
    for hits, trials in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="within 0 and trials"):
            metrics.wilson(hits, trials)


def test_wilson_covers_what_it_says() -> None:
    random = np.random.default_rng(0)
    for share, trials in ((0.9, 60), (0.5, 200), (0.99, 300)):
        bounds = [metrics.wilson(int(hits), trials) for hits in random.binomial(trials, share, 3000)]
        assert 0.93 < np.mean([low <= share <= high for low, high in bounds]) < 0.98


def test_f1_interval_holds_f1_and_covers_the_true_one() -> None:
    assert metrics.f1_interval(0, 0, 0) is None
    random = np.random.default_rng(1)
    chances = np.array([0.4, 0.06, 0.09, 0.45])  # hits, misses, false alarms, the rest
    true = 2 * chances[0] / (2 * chances[0] + chances[1] + chances[2])
    covered = []
    for hits, misses, alarms, _ in random.multinomial(300, chances, 3000):
        bounds = metrics.f1_interval(int(hits), int(misses), int(alarms))
        assert bounds is not None
        assert bounds[0] <= 2 * hits / (2 * hits + misses + alarms) <= bounds[1]
        covered.append(bounds[0] <= true <= bounds[1])
    assert 0.93 < np.mean(covered) < 0.97


def test_calibration_error_by_hand() -> None:
    sure = np.array([0.55, 0.65, 0.95, 0.95])
    right = np.array([True, False, True, False])
    bins = metrics.calibration_bins(sure, right, bins=2)
    assert [one.count for one in bins] == [0, 4]
    assert (bins[0].accuracy, bins[0].confidence, bins[0].interval) == (None, None, None)
    assert bins[1].confidence == pytest.approx(0.775)
    assert bins[1].accuracy == 0.5
    assert bins[1].interval == metrics.wilson(2, 4)
    assert metrics.expected_calibration_error(bins) == pytest.approx(0.275)


def test_a_certainty_on_an_edge_belongs_to_the_bin_below_and_one_to_the_last() -> None:
    bins = metrics.calibration_bins(np.array([0.5, 0.5000001, 1.0, 0.0]), np.ones(4, bool), bins=2)
    assert [one.count for one in bins] == [2, 2]


def test_calibration_error_is_small_when_meant_and_large_when_not() -> None:
    random = np.random.default_rng(2)
    sure = random.uniform(0.5, 1, 40_000)
    meant = metrics.calibration_bins(sure, random.uniform(size=sure.size) < sure)
    boastful = metrics.calibration_bins(sure, random.uniform(size=sure.size) < sure - 0.2)
    assert metrics.expected_calibration_error(meant) < 0.01
    assert metrics.expected_calibration_error(boastful) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_loss_auc_and_top_k_are_those_of_scikit_learn(classes: int) -> None:
    random = np.random.default_rng(classes)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, 200)])
    given_ = random.dirichlet(np.ones(classes), len(labels))
    assert metrics.log_loss(labels, given_) == pytest.approx(theirs.log_loss(labels, given_), rel=1e-6)
    scores = given_[:, 1] if classes == 2 else given_
    assert metrics.roc_auc(labels, given_) == pytest.approx(theirs.roc_auc_score(labels, scores, multi_class="ovr"))
    by_hand = np.mean([label in np.argsort(-row)[:2] for label, row in zip(labels, given_, strict=True)])
    if classes > 2:
        assert metrics.top_k(labels, given_, 2) == pytest.approx(by_hand)


def test_a_certain_mistake_costs_what_keras_says() -> None:
    assert metrics.log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-math.log(1e-7))


def test_auc_skips_classes_that_do_not_occur() -> None:
    given_ = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1]])
    assert metrics.roc_auc(np.array([0, 1, 1]), given_) == 1.0
    assert metrics.roc_auc(np.array([1, 1, 1]), given_) is None
    assert metrics.roc_auc(np.array([0, 1]), np.full((2, 2), 0.5)) == 0.5


def test_average_precision_of_a_rare_class_by_hand() -> None:
    own = np.array([True, False, True, False, False])
    # sorted by probability: own, other, own, other, other: precision 1 at the first, 2/3 at the second
    assert metrics.average_precision(own, np.array([0.9, 0.8, 0.7, 0.2, 0.1])) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision(own, np.zeros(5)) == pytest.approx(0.4), "chance is the share of the class"
    assert metrics.average_precision(np.ones(3, bool), np.ones(3)) is None


def test_the_interval_of_the_average_precision_covers_what_it_says() -> None:
    random = np.random.default_rng(1)

    def drawn(images: int, rare: int) -> tuple[np.ndarray, np.ndarray]:
        own = np.arange(images) < rare
        return own, random.normal(size=images) + 1.5 * own

    truth = metrics.average_precision(*drawn(200_000, 20_000))
    assert truth is not None
    held = []
    for _ in range(400):
        found = metrics.average_precision(*drawn(400, 40))
        assert found is not None
        low, high = metrics.average_precision_interval(found, 40)
        held.append(low <= truth <= high)
    assert 0.92 <= np.mean(held) <= 0.995
    assert metrics.average_precision_interval(1.0, 20)[0] == pytest.approx(metrics.wilson(20, 20)[0])
