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
_SMALLEST_OF_SOFTMAX = 1e-30  # exact, unlike 1 minus the output of a sigmoid


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


def at_temperature(probabilities: NDArray[Any], temperature: float) -> NDArray[Any]:
    """Return probabilities whose logits are divided by ``temperature``, in the same type; at 1 they stay as they are.

    Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number for all images that changes how confident a
    model is, but not which class it names.

    Args:
        probabilities: (N, classes).
        temperature: Above 0; above 1 makes the model less confident.
    """
    if temperature == 1:
        return probabilities
    smallest = SMALLEST_PROBABILITY if probabilities.shape[1] == 2 else _SMALLEST_OF_SOFTMAX
    logits = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), smallest, 1.0)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=probabilities.dtype)


def best_temperature(labels: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """Return the temperature between 1/8 and 8 with the lowest cross-entropy.

    Args:
        labels: Class indices, (N,).
        probabilities: (N, classes).
    """
    from scipy.optimize import minimize_scalar

    given = np.asarray(probabilities, dtype=np.float64)

    def loss(log_temperature: float) -> float:
        return float(cross_entropy(labels, at_temperature(given, float(np.exp(log_temperature)))).mean())

    bound = float(np.log(8))
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-3}).x))


def tempered(labels: NDArray[Any], probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return probabilities at their best temperature, float64 (N, classes).

    Losses of models that were trained with and without label smoothing can then be compared.

    Args:
        labels: Class indices, (N,).
        probabilities: (N, classes).
    """
    given = np.asarray(probabilities, dtype=np.float64)
    return at_temperature(given, best_temperature(labels, given))
