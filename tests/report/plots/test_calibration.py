"""Calibration: the tables, the description, the drawings."""

from __future__ import annotations

import numpy as np
import pytest
from drawings import of_class
from made_up_results import made_up

from housetrain.evaluation import metrics
from housetrain.evaluation.evaluation import ImageResult
from housetrain.report.plots import calibration


def test_reliability_points_are_the_bins_that_hold_something() -> None:
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 500)
    right = random.uniform(size=500) < sure
    table = calibration.reliability_table(metrics.calibration_bins(sure, right), classes=2)
    assert table.low == 0.5 and table.total == 500
    assert table.accuracy == pytest.approx(right.mean())
    assert table.confidence == pytest.approx(sure.mean())
    assert len(of_class(calibration.draw_reliability(table), "point")) == len(table.points) == 8
    assert calibration.reliability_table(metrics.calibration_bins(sure, right), classes=3).low == 0.0


def test_confidence_of_correct_and_wrong_predictions() -> None:
    def predicted(probability: float, right: bool) -> ImageResult:
        return ImageResult("p", "", "a", "a" if right else "b", probability, (probability, 1 - probability))

    rows = [predicted(0.5, False), predicted(0.99, True), predicted(1.0, True), predicted(0.74, False)]
    table = calibration.confidence_table(rows, classes=2, bins=10)
    assert (table.correct[-1], sum(table.correct)) == (2, 2)
    assert (table.wrong[0], table.wrong[4], sum(table.wrong)) == (1, 1, 2)
    assert len(of_class(calibration.draw_confidence(table), "bar")) == 3
    calibration.draw_confidence(calibration.confidence_table(rows[1:3], classes=2))  # no mistake


def test_the_description_says_in_which_direction_the_confidence_is_off() -> None:
    def describe(sure: float, right: int) -> str:
        result = made_up(right, 1000 - right, sure=sure)
        return calibration.describe_calibration(
            calibration.reliability_table(result.bins, classes=2), result.calibration
        )

    result = made_up(900, 100, sure=0.9)
    scaled = calibration.describe_calibration(
        calibration.reliability_table(result.bins, classes=2),
        result.calibration,
        before=made_up(900, 100, sure=0.99).calibration,
        temperature=1.8341,
    )
    assert "temperature 1.83" in scaled and "Without it the error is 9.0 %" in scaled
    assert describe(0.95, 800).endswith("The model is overconfident.")
    assert describe(0.8, 950).endswith("The model is underconfident.")
    assert "mean confidence 90.0 %, accuracy 90.0 %" in describe(0.9, 900) and "by chance" in describe(0.9, 900)
