"""The average of a model's weights before and after fine-tuning, where validation says that it pays.

In: a fine-tuned model, its weights before. Out: the model with averaged weights, or with its own. It does not know how
a model is fine-tuned, or run folders.

Wortsman et al. 2022 (arXiv:2109.01903): fine-tuning moves weights within one basin of the loss, so a point between
start and end is a model of its own, often a better one. Unlike an average of two models' outputs it costs nothing in
prediction, is one ordinary Keras model, and is exported and explained like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.models.outputs import class_probabilities, cross_entropy
from housetrain.system.events import Callbacks
from housetrain.training.losses import scores

SHARES = (0.75, 0.5, 0.25)
"""Shares of the fine-tuned weights that are tried."""


class Average(NamedTuple):
    """An average that was kept.

    Attributes:
        share: Share of the fine-tuned weights.
        outputs: For the validation images, (N, 1) or (N, classes).
        numbers: ``val_loss`` and ``val_accuracy``.
        gain: How much lower the validation loss is than without averaging, nats.
        gain_error: Standard error of ``gain``.
    """

    share: float
    outputs: NDArray[np.float32]
    numbers: dict[str, float]
    gain: float
    gain_error: float


def average(
    model: Any,
    before: Sequence[NDArray[Any]],
    outputs_of: Callable[[Any], NDArray[np.float32]],
    labels: NDArray[np.int64],
    classes: int,
) -> Average | None:
    """Set the model's weights to the best average, and return it; ``None`` where none is better by its standard error.

    Args:
        model: The fine-tuned model.
        before: Its weights before, as ``get_weights`` lists them.
        outputs_of: Returns a model's outputs for the validation images.
        labels: Class numbers of these images, (N,).
        classes: Number of classes.
    """
    after = [np.array(weight) for weight in model.get_weights()]

    def losses(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        return cross_entropy(labels, class_probabilities(outputs, classes, dtype=np.float64))

    own, best = losses(outputs_of(model)), None
    for share in SHARES:
        model.set_weights([share * new + (1 - share) * old for new, old in zip(after, before, strict=True)])
        outputs = np.asarray(outputs_of(model), dtype=np.float32)
        lower = own - losses(outputs)
        gain, error = float(lower.mean()), float(lower.std(ddof=1) / math.sqrt(len(lower)))
        if gain > error and (best is None or gain > best.gain):
            best = Average(share, outputs, scores(outputs, labels, classes)[0], gain, error)
    share = 1.0 if best is None else best.share
    model.set_weights([share * new + (1 - share) * old for new, old in zip(after, before, strict=True)])
    return best


def average_noted(
    before: Sequence[NDArray[Any]],
    classes: int,
    events: Callbacks,
    model: Any,
    outputs_of: Callable[[Any], NDArray[np.float32]],
    labels: NDArray[np.int64],
) -> Average | None:
    """Return `average`, and tell the callbacks what it gave."""
    found = average(model, before, outputs_of, labels, classes)
    if found is None:
        events.note("Averaging with the weights before fine-tuning gains nothing")
    else:
        events.note(
            f"Averaged with the weights before fine-tuning (share of the new ones: {found.share:g}): "
            f"validation loss {found.numbers['val_loss']:.4f}, lower by {found.gain:.4f} ± {found.gain_error:.4f}"
        )
    return found
