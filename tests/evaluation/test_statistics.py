"""Chance: against SciPy where it has the same, else against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from housetrain.evaluation.statistics import at_least, expected_maximum, mcnemar, of_seeds, paired, share_error


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
