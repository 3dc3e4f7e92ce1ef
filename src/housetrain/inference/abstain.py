"""When a model should say that it is not sure: a threshold on its probability, found on validation images.

In: what a model says of the validation images, and what is true. Out: the least probability at which its answers are
right often enough, and how that was found, as plain values for ``bundle.json``. It knows neither models nor images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

AIM = 0.95
"""Share of right answers that an answer given without "unsure" should have, at least."""
LEAST_IMAGES = 20
"""Fewer validation images than this say nothing about rare mistakes."""

RULE = (
    "the least probability such that at least `aim` of the validation images with that probability or more were "
    "named right; `aim` is 95 %, or half-way from the accuracy to 100 % where the model is that good without it"
)


def threshold(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, Any] | None:
    """Find the threshold below which an answer is called unsure.

    Args:
        labels: Int (N,), the true classes.
        probabilities: Float (N, C), what the model says of the same images, rows summing to 1.

    Returns:
        ``threshold`` (answers below it are unsure), ``aim``, ``reached`` (share right at or above the threshold),
        ``coverage`` (share of images at or above it), ``images``, ``rule``; ``None`` where there are too few
        images. Where no threshold reaches the aim on at least a tenth of the images, it is the one that comes
        nearest on a tenth or more.
    """
    true, given = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if len(true) < LEAST_IMAGES or not np.isfinite(given).all():
        return None
    sure: NDArray[np.float64] = given.max(axis=1)
    right = given.argmax(axis=1) == true
    order = np.argsort(-sure, kind="stable")
    sure, right = sure[order], right[order]
    counts = np.arange(1, len(true) + 1)
    share = np.cumsum(right) / counts
    # Images of one and the same probability stand or fall together: look only where the next one is less sure.
    ends = np.flatnonzero(np.append(sure[1:] < sure[:-1], True))
    aim = max(AIM, (1 + float(share[-1])) / 2)
    enough = ends[counts[ends] >= max(1, math.ceil(len(true) / 10))]
    reached = enough[share[enough] >= aim]
    place = int(reached[-1] if len(reached) else enough[np.argmax(share[enough])])
    everything = place == len(true) - 1
    return {
        "threshold": 0.0 if everything else float(sure[place]),
        "aim": round(aim, 4),
        "reached": round(float(share[place]), 4),
        "coverage": round(float(counts[place] / len(true)), 4),
        "images": len(true),
        "rule": RULE,
    }
