"""The calibration verdict keeps its level, finds what is miscalibrated, and its estimate has no bias to speak of."""

from __future__ import annotations

import numpy as np
import pytest

from housetrain.evaluation.calibration import Calibration, calibration


def simulated(n: int, seed: int, *, overconfident: float = 0.0) -> tuple[Calibration, float]:
    """Return the verdict of ``n`` predictions, and the true error."""
    random = np.random.default_rng(seed)
    confidence = 1 - 0.5 * random.beta(0.6, 1.5, n)
    correct = random.random(n) < confidence - overconfident
    return calibration(confidence, correct), overconfident


def test_a_calibrated_model_is_called_miscalibrated_in_5_percent_of_the_tests() -> None:
    found = [simulated(n, seed)[0] for n in (60, 150, 300, 600) for seed in range(40)]
    assert sum(one.deviates for one in found) <= 14, "5 % of 160 are 8; more than 14 have a probability of 1 %"
    assert np.mean([one.p_value for one in found]) == pytest.approx(0.5, abs=0.08)
    assert sum(one.interval[0] > 0 for one in found) <= 9, "the bound is one-sided: 2.5 %"


def test_the_estimate_is_that_of_the_truth_and_the_interval_covers_it() -> None:
    found = [simulated(300, seed, overconfident=0.08) for seed in range(40)]
    assert sum(one.deviates for one, _ in found) >= 33
    assert np.mean([one.corrected for one, _ in found]) == pytest.approx(0.08, abs=0.012)
    assert np.mean([one.ece for one, _ in found]) > 0.085, "without correction it is too high"
    assert sum(one.interval[0] <= true <= one.interval[1] for one, true in found) >= 34


@pytest.mark.parametrize(("confidence", "share"), [(1.0, 1.0), (0.5, 0.5), (0.99, 0.0)])
def test_extremes(confidence: float, share: float) -> None:
    correct = np.arange(100) < 100 * share
    found = calibration(np.full(100, confidence), correct)
    assert found.ece == pytest.approx(abs(confidence - share))
    assert found.deviates == (share == 0.0)
    assert 0 <= found.interval[0] <= found.corrected <= found.interval[1] <= 1
    assert found == calibration(np.full(100, confidence), correct), "equal predictions give equal numbers"


def test_without_predictions_nothing_is_known() -> None:
    assert calibration(np.zeros(0), np.zeros(0, dtype=bool)) == Calibration(0.0, 0.0, (0.0, 1.0), 1.0)
