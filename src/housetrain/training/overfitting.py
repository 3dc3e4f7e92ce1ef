"""Overfitting: the epoch from which a model only improves on its training images.

In: the history of a run, one mapping per epoch. Out: an epoch, or ``None``. It does not know where the history came
from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THRESHOLD = 6.0
"""Of the test statistic: at most 5 % of curves that are flat, or fall and stay flat, exceed it, at 10 to 40 epochs and
2 to 5 % noise (docs/log.md)."""
LIVE_THRESHOLD = 15.0
"""For a test after every epoch, where each is another chance of a false alarm; together about 5 %."""
_FEW = 5  # epochs; with fewer a single bad one decides, and `LIVE_THRESHOLD` holds
_TURNS = 60  # at most so many epochs are tried as the turn
_SMALLEST_LOSS = 1e-3
"""Nats. Changes below it are too small to matter."""
_NOISE = (2, 0.04)
"""Assumed before any epoch: noise of 4 % of the loss, with the weight of two epochs."""


def overfitting(
    history: Sequence[Mapping[str, Any]], *, patience: int = 2, rise: float = 0.05, threshold: float = THRESHOLD
) -> int | None:
    """Return the epoch at which overfitting began: validation loss rises while training loss still falls.

    The smallest validation loss is the turning point. A turn counts only when at least ``patience`` epochs follow it,
    when the mean validation loss of the last ones lies above the smallest by more than ``rise`` of it, when their mean
    training loss lies below that of the turning point, and when noise does not explain the rise: a curve that falls
    and then rises in a straight line fits the logarithms of the validation losses better than one that falls and stays
    flat, by more than ``threshold`` times the variance of the residuals (a likelihood-ratio test of segmented
    regression; Seber and Lee, Linear Regression Analysis, 2003). The smallest of many noisy losses is low by chance,
    so a comparison with it alone is not enough.

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
    needed = threshold if len(epochs) >= _FEW else max(threshold, LIVE_THRESHOLD)
    return after[0][0] if _rise([row[2] for row in epochs]) > needed else None


def _rise(losses: Sequence[float]) -> float:
    """Return how much better a curve that rises in the end fits than one that does not, in variances of its residuals.

    Both fall along a parabola until the turn. The turn is where the fit is best, for each of the two.
    """
    import numpy as np  # reading a run needs none

    logs = np.log(np.maximum(losses, _SMALLEST_LOSS))
    count, epoch = len(logs), np.arange(len(logs), dtype=np.float64)
    flat, turned = float(((logs - logs.mean()) ** 2).sum()), math.inf
    for turn in np.unique(np.linspace(1, count - 2, min(count - 2, _TURNS)).round()):
        falling, rising = (np.minimum(epoch, turn) - turn) ** 2, np.maximum(epoch - turn, 0)
        error, _ = _fitted(logs, np.ones(count), falling)
        flat = min(flat, error)
        error, weights = _fitted(logs, np.ones(count), falling, rising)
        turned = min(turned, error) if weights[-1] > 0 else turned
    if turned >= flat:
        return 0.0
    weight, noise = _NOISE
    return (flat - turned) / ((weight * noise**2 + turned) / (weight + count - 3))


def _fitted(values: NDArray[np.float64], *columns: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the squared error of the best weighted sum of the columns, and the weights."""
    import numpy as np

    table = np.stack(columns, axis=1)
    weights = np.asarray(np.linalg.lstsq(table, values, rcond=None)[0], np.float64)
    return float(((values - table @ weights) ** 2).sum()), weights


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
