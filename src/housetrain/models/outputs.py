"""What the outputs of a classifier mean: the probability of each class, and their cross-entropy.

In: outputs of any engine, labels. Out: arrays. Does not know: Keras, models, files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from housetrain.errors import ModelError

SMALLEST_PROBABILITY = 1e-7
"""Probabilities are clipped to this and to 1 minus this before the logarithm, as ``keras.config.epsilon()`` does: the
losses of validation, test and sweep are the same quantity."""


def class_probabilities(outputs: NDArray[Any], classes: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return one probability per class; the only place that expands the single sigmoid of a two-class model.

    Args:
        outputs: (N, classes) softmax probabilities; or (N, 1) or (N,), for two classes, the probability of the second.
        classes: Number of classes, two or more.
        dtype: Of the result, and of the subtraction from 1.

    Returns:
        ``dtype`` (N, classes).

    Raises:
        ModelError: The outputs do not match the number of classes.
    """
    values = np.asarray(outputs, dtype=dtype)
    if classes == 2 and values.ndim in (1, 2) and values.size == len(values):
        second = values.reshape(-1)
        return np.stack([1 - second, second], axis=1)
    if values.ndim != 2 or values.shape[1] != classes:
        raise ModelError(
            "The model's output does not match its class names",
            expected=f"{classes} probabilities per image" + (", or one" if classes == 2 else ""),
            shape=tuple(values.shape),
        )
    return values


def cross_entropy(labels: NDArray[Any], probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return the cross-entropy of each image in nats, float64 (N,). NaN stays NaN.

    Args:
        labels: Class indices, (N,).
        probabilities: (N, classes).
    """
    of_truth = np.asarray(probabilities, dtype=np.float64)[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)))
