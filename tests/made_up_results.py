"""Evaluations with chosen numbers."""

from __future__ import annotations

import numpy as np

from housetrain.evaluation.evaluate import Evaluation, evaluate_probabilities


def made_up(right: int, wrong: int, sure: float = 0.9, classes: tuple[str, ...] = ("cat", "dog")) -> Evaluation:
    n = right + wrong
    labels = np.arange(n) % 2
    called = np.where(np.arange(n) < right, labels, 1 - labels)
    given = np.full((n, len(classes)), (1 - sure) / (len(classes) - 1))
    given[np.arange(n), called] = sure
    return evaluate_probabilities(labels, given, classes, paths=["p"] * n, sha256=["s"] * n)
