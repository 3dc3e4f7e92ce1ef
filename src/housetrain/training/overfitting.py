"""Overfitting: the epoch from which a model only improves on its training images.

In: the history of a run, one mapping per epoch. Out: an epoch, or ``None``. It does not know where the history came
from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

THRESHOLD = 28.0
"""Of the test statistic: at most 5 % of curves without a trend exceed it, at 5 to 40 epochs and 2 to 5 % noise."""
LIVE_THRESHOLD = 50.0
"""For a test after every epoch, where each is another chance of a false alarm; together about 5 %."""
_SMALLEST_LOSS = 1e-3
"""Nats. Changes below it are no overfitting that anybody could notice."""
_NOISE = (2, 0.04)
"""Assumed before any epoch: noise of 4 % of the loss, with the weight of two epochs."""


def overfitting(
    history: Sequence[Mapping[str, Any]], *, patience: int = 2, rise: float = 0.05, threshold: float = THRESHOLD
) -> int | None:
    """Return the epoch at which overfitting began: validation loss rises while training loss still falls.

    The smallest validation loss is the turning point. A turn counts only when at least ``patience`` epochs follow it,
    when the mean validation loss of the last ones lies above the smallest by more than ``rise`` of it, when their mean
    training loss lies below that of the turning point, and when noise does not explain the rise: a curve that first
    falls and then rises fits the logarithms of the validation losses better than one that never rises, by more than
    ``threshold`` times the variance of the residuals (a likelihood-ratio test of two isotonic regressions; Robertson,
    Wright and Dykstra, Order Restricted Statistical Inference, 1988). The smallest of many noisy losses is low by
    chance, so a comparison with it alone is not enough.

    Rows of a regularization path (``step`` instead of ``epoch``) have no overfitting: along it the validation loss must
    rise in the end, which is how the strength is chosen.

    Args:
        history: One mapping per epoch, in order, with ``loss`` and ``val_loss`` (and ``epoch``, counted from 1). Rows
            whose losses are missing or ``None`` (not a number) are skipped.
        patience: Epochs after the smallest validation loss that must agree; 1 or more.
        rise: How much the validation loss must have risen, as a share of its smallest value.
        threshold: Of the test statistic.

    Returns:
        The first epoch after the turning point (counted from 1), or ``None`` when there is no overfitting.
    """
    epochs = [
        (int(row.get("epoch", number)), float(row["loss"]), float(row["val_loss"]))
        for number, row in enumerate(history, 1)
        if row.get("loss") is not None and row.get("val_loss") is not None and "step" not in row
    ]
    if len(epochs) <= patience:
        return None
    turn = min(range(len(epochs)), key=lambda index: epochs[index][2])
    after = epochs[turn + 1 :]
    if len(after) < patience:
        return None
    last = after[-patience:]
    smallest, training = epochs[turn][2], epochs[turn][1]
    if sum(row[2] for row in last) / patience <= smallest * (1 + rise):
        return None
    if sum(row[1] for row in last) / patience >= training:
        return None
    return after[0][0] if _rise([row[2] for row in epochs]) > threshold else None


def _rise(losses: Sequence[float]) -> float:
    """Return how much better a curve with a turn fits than one that never rises, in variances of its residuals."""
    logs = [math.log(max(loss, _SMALLEST_LOSS)) for loss in losses]
    falling, rising = _falling(logs), _falling(logs[::-1])[::-1]
    turned = min([falling[-1], *(left + right for left, right in zip(falling, rising[1:], strict=False))])
    weight, noise = _NOISE
    variance = (weight * noise**2 + turned) / (weight + len(logs) - 2)
    return (falling[-1] - turned) / variance


def _falling(values: Sequence[float]) -> list[float]:
    """Return the squared error of the best fit that never rises, for the first value, the first two, and so on."""
    blocks: list[tuple[float, int]] = []  # mean, count; pool adjacent violators
    error, errors = 0.0, []
    for value in values:
        mean, count = value, 1
        while blocks and blocks[-1][0] < mean:
            before, many = blocks.pop()
            error += many * count / (many + count) * (before - mean) ** 2
            mean, count = (before * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
        errors.append(error)
    return errors


def overfitting_text(history: Sequence[Mapping[str, Any]], *, threshold: float = THRESHOLD) -> str:
    """Return one sentence about overfitting, or an empty string when there is none."""
    began = overfitting(history, threshold=threshold)
    if began is None:
        return ""
    losses = [float(row["val_loss"]) for row in history if row.get("val_loss") is not None]
    return (
        f"Overfitting began at epoch {began}: since then the validation loss rose from {min(losses):.4f} "
        f"to {losses[-1]:.4f} while the training loss kept falling. The weights of the best epoch are kept."
    )
