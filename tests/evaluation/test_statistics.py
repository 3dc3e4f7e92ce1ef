"""Chance: against SciPy where it has the same, else against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from housetrain.evaluation.statistics import (
    at_least,
    chance_of_fall,
    confidence_set,
    corrected,
    expected_maximum,
    joint_error,
    mcnemar,
    of_seeds,
    paired,
    share_error,
    smallest_difference,
)


@pytest.mark.parametrize(("k", "n", "p"), [(0, 10, 0.3), (7, 10, 0.3), (10, 10, 0.5), (650, 1200, 0.5), (3, 3, 1.0)])
def test_the_binomial_tail_is_scipys(k: int, n: int, p: float) -> None:
    assert at_least(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-9)


def test_the_tail_at_its_ends() -> None:
    assert at_least(0, 0, 0.5) == 1.0
    assert at_least(1, 5, 0.0) == 0.0
    assert at_least(6, 5, 0.5) == 0.0


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 5), (1, 9), (9, 1), (40, 70)])
def test_mcnemar_is_the_two_sided_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-9)


def test_the_expected_maximum_is_what_a_simulation_finds() -> None:
    drawn = np.random.default_rng(0).standard_normal((40_000, 27)).max(axis=1)
    assert expected_maximum(27) == pytest.approx(drawn.mean(), abs=0.02)
    assert expected_maximum(1) == pytest.approx(0.0, abs=1e-9)
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), rel=1e-4)


def test_pairing_takes_the_shared_luck_out() -> None:
    rng = np.random.default_rng(1)
    hard = rng.exponential(1.0, 2000)
    first, second = hard + rng.normal(0, 0.1, 2000), hard + 0.02 + rng.normal(0, 0.1, 2000)
    found = paired(first, second)
    assert found.mean == pytest.approx(0.02, abs=3 * found.error)
    assert found.error < 0.2 * hard.std() / math.sqrt(2000)


def test_seeds_and_shares() -> None:
    assert of_seeds([1.0, 3.0]) == (2.0, 1.0)
    assert math.isnan(of_seeds([1.0]).error)
    assert share_error(0.5, 100) == pytest.approx(0.05)


def test_both_sources_of_chance_count() -> None:
    assert joint_error(3.0, 4.0) == 5.0
    assert joint_error(math.nan, 4.0) == 4.0
    assert math.isnan(joint_error(math.nan, math.nan))


def test_the_best_of_many_equal_models_is_rarely_called_better_than_the_last() -> None:
    random = np.random.default_rng(0)
    plain = fair = 0
    for _ in range(200):
        correct = random.random((12, 300)) < 0.8
        order = correct.sum(axis=1).argsort()
        last, best = correct[order[0]], correct[order[-1]]
        p_value = mcnemar(int((best & ~last).sum()), int((last & ~best).sum()))
        plain, fair = plain + (p_value < 0.05), fair + (corrected(p_value, 12) < 0.05)
    assert plain > 40 and fair <= 17, "5 % of 200 are 10; more than 17 have a probability of 1 %"


@pytest.mark.parametrize("images", [60, 300])
def test_equal_models_all_stay_in_the_set_and_worse_ones_leave(images: int) -> None:
    random = np.random.default_rng(images)
    left_out, worse = 0, []
    for _ in range(40):
        losses = random.exponential(0.5, images) + random.normal(0.3, 0.3, (27, images))
        left_out += not all(confidence_set(losses))
        losses[9:] += 0.3
        worse.append(sum(confidence_set(losses)[9:]) / 18)
    assert left_out <= 6, "5 % of 40 are 2; more than 6 have a probability of 1 %"
    assert np.mean(worse) < 0.05


def test_the_set_knows_the_noise_of_the_seeds_and_of_one_model() -> None:
    losses = np.random.default_rng(0).normal(0.5, 0.1, (3, 400)) + np.array([[0.0], [0.0], [0.05]])
    assert confidence_set(losses) == (True, True, False)
    assert confidence_set(losses, seed_errors=(0.05, 0.05, 0.05)) == (True, True, True)
    assert confidence_set(losses[:1]) == (True,)
    assert confidence_set(np.repeat(losses[:1], 3, axis=0)) == (True, True, True), "the same model three times"


def test_a_test_below_validation_is_called_so_at_the_nominal_rate() -> None:
    random = np.random.default_rng(0)
    best = random.binomial(100, 0.85, (400, 20)).max(axis=1)  # of 20 epochs, which chance alone tells apart
    tested = random.binomial(150, 0.85, 400)
    chosen = [chance_of_fall(int(a), 100, int(b), 150, tries=20) <= 0.05 for a, b in zip(best, tested, strict=True)]
    assert sum(chosen) <= 29, "5 % of 400 are 20; more than 29 have a probability of 2 %"
    first = random.binomial(100, 0.85, 400)
    single = [chance_of_fall(int(a), 100, int(b), 150) <= 0.05 for a, b in zip(first, tested, strict=True)]
    assert 4 <= sum(single) <= 29
    assert chance_of_fall(915, 1000, 561, 1000, tries=40) < 1e-6
    assert chance_of_fall(9, 10, 4, 10) == pytest.approx(stats.fisher_exact([[9, 1], [4, 6]], "greater").pvalue)


@pytest.mark.parametrize(("images", "disagreed"), [(300, 40), (1200, 100)])
def test_the_smallest_difference_is_found_in_80_percent_of_the_tests(images: int, disagreed: int) -> None:
    random = np.random.default_rng(images)
    difference = smallest_difference(disagreed, images)
    share = 0.5 * (1 + difference * images / disagreed)
    total = random.binomial(images, disagreed / images, 600)
    ahead = random.binomial(total, share)
    power = np.mean([mcnemar(int(one), int(all_ - one)) < 0.05 for one, all_ in zip(ahead, total, strict=True)])
    assert 0.72 <= power <= 0.86, "the exact test is slightly conservative"
    assert smallest_difference(disagreed, images, models=10) > difference


def test_without_disagreement_the_smallest_difference_is_what_the_exact_test_needs() -> None:
    assert smallest_difference(0, 100) == 0.06, "6 of 6 have p = 0.03, 5 of 5 p = 0.06"
    assert mcnemar(6, 0) < 0.05 < mcnemar(5, 0)
    assert smallest_difference(3, 2) == 1.0
