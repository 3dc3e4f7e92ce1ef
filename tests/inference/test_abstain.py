"""The threshold below which a model says that it is unsure."""

from __future__ import annotations

import numpy as np

from housetrain.inference.abstain import LEAST_IMAGES, threshold


def two(sure: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of two classes: the first is named, with this probability, and rightly or not."""
    return np.where(right, 0, 1), np.stack([sure, 1 - sure], axis=1)


def test_above_the_threshold_answers_are_right_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 2000)
    labels, given = two(sure, rng.uniform(size=2000) < sure)  # perfectly calibrated
    found = threshold(labels, given)
    assert found is not None
    named = sure >= found["threshold"]
    assert np.mean(labels[named] == 0) >= 0.95 and abs(named.mean() - found["coverage"]) < 1e-4
    # of uniform probabilities, those above t are right in (1 + t) / 2 of the cases: 0.95 at t = 0.9
    assert 0.85 < found["threshold"] < 0.95
    new = rng.uniform(0.5, 1, 20_000)
    later = rng.uniform(size=20_000) < new
    assert np.mean(later[new >= found["threshold"]]) > 0.935, "it holds on other images, too"


def test_a_good_model_is_asked_for_more_than_it_gives_anyway() -> None:
    rng = np.random.default_rng(1)
    sure = rng.uniform(0.5, 1, 3000)
    found = threshold(*two(sure, rng.uniform(size=3000) < 0.96 + 0.08 * (sure - 0.5)))
    assert found is not None and found["aim"] > 0.985 and 0.5 < found["threshold"] < 1


def test_a_perfect_model_is_never_unsure_and_a_hopeless_one_mostly() -> None:
    sure = np.linspace(0.5, 1, 100)
    assert threshold(*two(sure, np.ones(100, bool)))["threshold"] == 0.0  # type: ignore[index]
    hopeless = threshold(*two(sure, np.arange(100) % 2 == 0))
    assert hopeless is not None and hopeless["reached"] < 0.95 and hopeless["coverage"] >= 0.1


def test_equal_probabilities_stand_together() -> None:
    sure = np.repeat([0.9, 0.6], 50)
    right = np.concatenate([np.arange(50) != 0, np.arange(50) % 2 == 0])
    found = threshold(*two(sure, right))
    assert found is not None and found["threshold"] == 0.9 and found["coverage"] == 0.5


def test_too_few_images_say_nothing() -> None:
    few = np.full(LEAST_IMAGES - 1, 0.9)
    assert threshold(*two(few, few > 0)) is None
    assert threshold([0] * 50, np.full((50, 2), np.nan)) is None
