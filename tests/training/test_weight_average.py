"""The average of weights before and after fine-tuning: kept where it pays by more than its standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from housetrain.models.outputs import cross_entropy
from housetrain.training.weight_average import SHARES, average

LABELS = np.array([0, 1] * 50)
SIGNS = 2.0 * LABELS - 1


class Model:
    """One weight, the position on the line from before (0) to after (1)."""

    def __init__(self) -> None:
        self.weights = [np.array([1.0], np.float32)]

    def get_weights(self) -> list[np.ndarray]:
        return self.weights

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self.weights = [np.asarray(weight) for weight in weights]


def outputs(sureness: Callable[[float], float]) -> Callable[[Any], np.ndarray]:
    """Right answers, as sure as a function of the position says; every tenth image is a wrong one."""
    right = np.where(np.arange(100) % 10 == 0, -SIGNS, SIGNS)

    def of(model: Any) -> np.ndarray:
        logits = right * sureness(float(model.weights[0][0]))
        return (1 / (1 + np.exp(-logits))).astype(np.float32)[:, None]

    return of


def test_the_best_share_is_set_and_its_numbers_are_those_of_its_outputs() -> None:
    model = Model()
    found = average(model, [np.zeros(1, np.float32)], outputs(lambda x: 2.2 + 40 * abs(x - 0.5)), LABELS, 2)
    assert found is not None and found.share == 0.5 and model.weights[0] == 0.5
    probabilities = np.concatenate([1 - found.outputs, found.outputs], axis=1)
    assert found.numbers["val_loss"] == pytest.approx(cross_entropy(LABELS, probabilities).mean(), rel=1e-5)
    assert found.numbers["val_accuracy"] == pytest.approx(0.9) and found.gain > found.gain_error > 0


@pytest.mark.parametrize("sureness", [lambda x: 2.2 + 5 * (1 - x), lambda x: 2.2 + 0.4 * x])
def test_no_average_is_kept_that_is_worse_or_better_by_less_than_its_error(sureness: Callable[[float], float]) -> None:
    model = Model()
    assert average(model, [np.zeros(1, np.float32)], outputs(sureness), LABELS, 2) is None
    assert model.weights[0] == 1, "the fine-tuned weights are back"
    assert 1.0 not in SHARES
