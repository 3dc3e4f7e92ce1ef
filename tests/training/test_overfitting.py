"""Overfitting is told from wobble."""

from __future__ import annotations

import numpy as np
import pytest

from housetrain.training.overfitting import LIVE_THRESHOLD, overfitting, overfitting_text


def rows(training: list[float], validation: list[float]) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "loss": a, "val_loss": b}
        for epoch, (a, b) in enumerate(zip(training, validation, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("training", "validation", "began"),
    [
        ([0.7, 0.5, 0.4, 0.3, 0.2], [0.7, 0.5, 0.45, 0.55, 0.7], 4),  # the textbook
        ([0.7, 0.5, 0.4, 0.3, 0.2], [0.7, 0.6, 0.5, 0.45, 0.4], None),  # still learning
        ([0.7, 0.5, 0.4, 0.3, 0.2], [0.7, 0.5, 0.45, 0.46, 0.455], None),  # a flat end
        ([0.7, 0.5, 0.4, 0.3, 0.2], [0.7, 0.4, 0.6, 0.42, 0.39], None),  # a wobble that came back
        ([0.7, 0.68, 0.66, 0.64], [0.65, 0.6262, 0.6284, 0.7208], None),  # one bad epoch is no trend
        ([0.3, 0.4, 0.5, 0.6], [0.3, 0.5, 0.6, 0.8], None),  # both rise: diverging, not overfitting
        ([0.7, 0.5], [0.5, 0.9], None),  # too short to say
        ([], [], None),
    ],
)
def test_where_overfitting_begins(training: list[float], validation: list[float], began: int | None) -> None:
    assert overfitting(rows(training, validation)) == began


def test_epochs_that_are_not_numbers_are_passed_over() -> None:
    history: list[dict[str, float | None]] = [*rows([0.7, 0.4, 0.3, 0.2], [0.7, 0.4, 0.6, 0.8])]  # type: ignore[list-item]
    history.append({"epoch": 5, "loss": None, "val_loss": None})
    assert overfitting(history) == 3  # type: ignore[arg-type]


def test_it_is_said_in_words_with_the_epoch() -> None:
    assert "epoch 3" in overfitting_text(rows([0.7, 0.4, 0.3, 0.2], [0.7, 0.4, 0.6, 0.8]))
    assert overfitting_text(rows([0.7, 0.4, 0.3], [0.7, 0.4, 0.3])) == ""


# ------------------------------------------------------------------------------------------------- rates
def noisy(shape: np.ndarray, noise: float, random: np.random.Generator) -> list[dict[str, float]]:
    validation = shape * (1 + noise * random.standard_normal(len(shape)))
    return rows([1 / epoch for epoch in range(1, len(shape) + 1)], validation.tolist())


def u_shape(epochs: int, turn: float) -> np.ndarray:
    """Return a curve that halves until ``turn``, a share of the epochs, and then rises by 20 %."""
    at = np.linspace(0, 1, epochs)
    return np.where(at < turn, 1 + ((turn - at) / turn) ** 2, 1 + 0.2 * (at - turn) / (1 - turn)) / 2


def no_rise(kind: str, epochs: int) -> np.ndarray:
    """Return a curve that stays flat, or falls to a third or to the end and stays flat after it."""
    at = np.linspace(0, 1, epochs)
    curves = {"flat": np.ones(epochs), "early": 1 + np.maximum(0, (0.3 - at) / 0.3) ** 2, "decay": 1 + np.exp(-4 * at)}
    return curves[kind] if kind != "late" else 1 + np.maximum(0, (0.7 - at) / 0.7) ** 2


@pytest.mark.parametrize("epochs", [10, 20, 40])
@pytest.mark.parametrize("noise", [0.02, 0.035, 0.05])
@pytest.mark.parametrize("kind", ["flat", "early", "late", "decay"])
def test_a_curve_that_does_not_rise_is_rarely_called_overfitting(kind: str, epochs: int, noise: float) -> None:
    random = np.random.default_rng(epochs)
    alarms = sum(overfitting(noisy(no_rise(kind, epochs), noise, random)) is not None for _ in range(200))
    assert alarms <= 17, "5 % of 200 are 10; more than 17 have a probability of 1 %"


@pytest.mark.parametrize("epochs", [10, 20, 40])
def test_a_curve_that_rises_by_a_fifth_is_called_so(epochs: int) -> None:
    random = np.random.default_rng(epochs)
    curves = [noisy(u_shape(epochs, turn), noise, random) for turn in (0.3, 0.5) for noise in (0.02, 0.035, 0.05) * 60]
    assert sum(overfitting(curve) is not None for curve in curves) >= 0.9 * len(curves)


def test_a_training_that_patience_2_ends_is_not_too_short() -> None:
    assert overfitting(rows([0.7, 0.5, 0.4, 0.3, 0.2], [0.70, 0.52, 0.45, 0.55, 0.60])) == 4


def test_a_test_after_every_epoch_is_not_a_chance_for_an_alarm_each() -> None:
    random = np.random.default_rng(0)
    curves = [noisy(no_rise(kind, 20), 0.05, random) for kind in ("flat", "early") for _ in range(50)]
    alarms = [any(overfitting(one[:end], threshold=LIVE_THRESHOLD) for end in range(3, 21)) for one in curves]
    assert sum(alarms) <= 11, "5 % of 100; more than 11 have a probability of 1 %"
