"""The expectation of a selected model: its bias, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from housetrain.evaluation.selection import expected_of_best

MODELS, REPEATS = 9, 200


def drawn(images: int, spread: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Models of about 90 % accuracy whose errors share the difficulty of the images: losses, correct, true accuracy."""
    level = norm.ppf(0.9) + spread * random.standard_normal(MODELS)
    shared, own = random.standard_normal(images), random.standard_normal((MODELS, images))
    margin = level[:, None] + math.sqrt(0.6) * shared + math.sqrt(0.4) * own
    return np.logaddexp(0, -3 * margin), margin > 0, norm.cdf(level)


@pytest.mark.parametrize("spread", [0.0, 0.1])
@pytest.mark.parametrize(("images", "bound"), [(60, 0.006), (300, 0.0035), (1200, 0.0025)])
def test_the_figure_of_the_best_is_too_high_and_the_expected_one_is_not(
    images: int, bound: float, spread: float
) -> None:
    random = np.random.default_rng(images)
    naive, corrected = [], []
    for _ in range(REPEATS):
        losses, correct, truth = drawn(images, spread, random)
        order = losses.mean(axis=1).argsort()
        losses, correct, truth = losses[order], correct[order], truth[order]
        # the luck of these images with all models has mean zero: without it, the simulation needs fewer repeats
        luck = float((correct.mean(axis=1) - truth).mean())
        naive.append(correct[0].mean() - truth[0] - luck)
        corrected.append(expected_of_best(losses, correct).val_accuracy - truth[0] - luck)
    error = np.std(naive, ddof=1) / math.sqrt(REPEATS)
    assert np.mean(naive) > 3 * error, "the winner's figure is biased"
    assert -bound < np.mean(corrected) < bound / 2, "the expected figure errs to the low side, if at all"
    assert abs(np.mean(corrected)) < 0.6 * np.mean(naive)


def test_the_loss_of_equal_models_is_expected_to_be_their_common_one() -> None:
    random = np.random.default_rng(1)
    lowest, expected = [], []
    for _ in range(REPEATS):
        losses = 0.5 + random.standard_normal((MODELS, 100))
        losses = losses[losses.mean(axis=1).argsort()]
        lowest.append(losses[0].mean())
        expected.append(expected_of_best(losses, losses < 0.5).val_loss)
    assert np.mean(lowest) < 0.5 - 0.1, "of 9 equal models, about 1.5 standard errors of 0.1"
    assert np.mean(expected) == pytest.approx(0.5, abs=0.02)


def test_one_model_and_one_far_better_model_keep_their_figures() -> None:
    random = np.random.default_rng(2)
    losses = random.exponential(0.1, (2, 500))
    correct = losses < 0.2
    alone = expected_of_best(losses[:1], correct[:1])
    assert alone == (correct[0].mean(), losses[0].mean(), 1)
    better = expected_of_best(np.stack([losses[0], losses[1] + 5]), correct)
    assert better == (pytest.approx(correct[0].mean()), pytest.approx(losses[0].mean()), 2)


def test_equal_losses_give_equal_figures_however_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    losses, correct, _ = drawn(50, 0.1, np.random.default_rng(3))
    whole = expected_of_best(losses, correct)
    assert expected_of_best(losses, correct) == whole
    monkeypatch.setattr("housetrain.evaluation.selection._CELLS", 50 * 7)
    assert expected_of_best(losses, correct) == pytest.approx(whole), "in pieces"
