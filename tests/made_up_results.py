"""Evaluations with chosen numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from housetrain.evaluation.evaluate import Evaluation, evaluate_probabilities


def made_up(right: int, wrong: int, sure: float = 0.9, classes: tuple[str, ...] = ("cat", "dog")) -> Evaluation:
    n = right + wrong
    labels = np.arange(n) % 2
    called = np.where(np.arange(n) < right, labels, 1 - labels)
    given = np.full((n, len(classes)), (1 - sure) / (len(classes) - 1))
    given[np.arange(n), called] = sure
    return evaluate_probabilities(labels, given, classes, paths=["p"] * n, sha256=["s"] * n)


def quick(labels: Any, probabilities: Any, classes: Any = ("cat", "dog"), **more: Any) -> Evaluation:
    """Return the evaluation of images ``0.jpg``, ``1.jpg``, ..."""
    paths = [f"{index}.jpg" for index in range(len(labels))]
    return evaluate_probabilities(labels, probabilities, classes, paths=paths, sha256=["0"] * len(paths), **more)


def random_evaluation(
    classes: tuple[str, ...], n: int = 300, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, Evaluation]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(classes), n)
    probabilities = random.dirichlet(np.full(len(classes), 0.4), n)
    paths = [f"{classes[label]}/{index}.jpg" for index, label in enumerate(labels)]
    result = evaluate_probabilities(
        labels, probabilities, classes, paths=paths, sha256=[f"{index:064x}" for index in range(n)]
    )
    return labels, probabilities, result
