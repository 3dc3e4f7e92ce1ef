"""When to abstain: a probability threshold below which a prediction is marked unsure, found on validation images.

In: labels and probabilities of the validation images. Out: the lowest probability at which predictions are accurate
enough, and how it was found, as plain values for ``bundle.json``. Does not know: models, images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

AIM = 0.95
"""Accuracy that predictions not marked unsure should reach."""
LEAST_IMAGES = 20
"""Fewer validation images than this are too few to estimate rare errors."""

RULE = (
    "the lowest probability such that predictions with that probability or more reach an accuracy of `aim` on the "
    "validation images; `aim` is 95 %, or halfway between the overall accuracy and 100 % if that is higher"
)


def threshold(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, Any] | None:
    """Find the probability threshold below which a prediction is marked unsure.

    Args:
        labels: Int (N,), the true classes.
        probabilities: Float (N, C), the model's probabilities for the same images, rows summing to 1.

    Returns:
        ``threshold`` (predictions below it are unsure), ``aim``, ``reached`` (accuracy at or above the threshold),
        ``coverage`` (share of images at or above it), ``images``, ``rule``; ``None`` if there are too few images.
        If no threshold reaches the aim on at least a tenth of the images, the best threshold that covers a tenth.
    """
    true, given = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if len(true) < LEAST_IMAGES or not np.isfinite(given).all():
        return None
    top: NDArray[np.float64] = given.max(axis=1)
    correct = given.argmax(axis=1) == true
    order = np.argsort(-top, kind="stable")
    top, correct = top[order], correct[order]
    counts = np.arange(1, len(true) + 1)
    share = np.cumsum(correct) / counts
    # Images with equal probability are kept or dropped together: cut only where the next probability is lower.
    ends = np.flatnonzero(np.append(top[1:] < top[:-1], True))
    aim = max(AIM, (1 + float(share[-1])) / 2)
    enough = ends[counts[ends] >= max(1, math.ceil(len(true) / 10))]
    reached = enough[share[enough] >= aim]
    place = int(reached[-1] if len(reached) else enough[np.argmax(share[enough])])
    everything = place == len(true) - 1
    return {
        "threshold": 0.0 if everything else float(top[place]),
        "aim": round(aim, 4),
        "reached": round(float(share[place]), 4),
        "coverage": round(float(counts[place] / len(true)), 4),
        "images": len(true),
        "rule": RULE,
    }
