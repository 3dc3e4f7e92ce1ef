"""Overfitting: the epoch from which a model only improves on its training images.

In: the history of a run, one mapping per epoch. Out: an epoch, or ``None``. It does not know where the history came
from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def overfitting(history: Sequence[Mapping[str, Any]], *, patience: int = 2, rise: float = 0.05) -> int | None:
    """Return the epoch at which overfitting began: validation loss rises while training loss still falls.

    The smallest validation loss is the turning point. The validation loss varies from epoch to epoch, so a turn counts
    only when at least ``patience`` epochs follow it, when the validation loss of each of the last ones lies above the
    smallest by more than ``rise`` of it, and when their mean training loss lies below that of the turning point.

    Rows of a regularization path (``step`` instead of ``epoch``) have no overfitting: along it the validation loss must
    rise in the end, which is how the strength is chosen.

    Args:
        history: One mapping per epoch, in order, with ``loss`` and ``val_loss`` (and ``epoch``, counted from 1). Rows
            whose losses are missing or ``None`` (not a number) are skipped.
        patience: Epochs after the smallest validation loss that must agree; 1 or more.
        rise: How much the validation loss must have risen, as a share of its smallest value.

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
    if min(row[2] for row in last) <= smallest * (1 + rise):
        return None
    if sum(row[1] for row in last) / patience >= training:
        return None
    return after[0][0]


def overfitting_text(history: Sequence[Mapping[str, Any]]) -> str:
    """Return one sentence about overfitting, or an empty string when there is none."""
    began = overfitting(history)
    if began is None:
        return ""
    losses = [float(row["val_loss"]) for row in history if row.get("val_loss") is not None]
    return (
        f"Overfitting began at epoch {began}: since then the validation loss rose from {min(losses):.4f} "
        f"to {losses[-1]:.4f} while the training loss kept falling. The weights of the best epoch are kept."
    )
