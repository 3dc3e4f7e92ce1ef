"""The loss that is minimized, and the scores of a model on the validation split.

In: the number of classes, a model's outputs. Out: a Keras loss and metrics; loss, accuracy and confusion as numbers.
It does not know images, optimizers or epochs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from housetrain.models.outputs import class_probabilities, cross_entropy


def loss_and_metrics(classes: int, *, smoothed: bool = False) -> tuple[Any, list[Any]]:
    """Return the loss and the metrics to compile with.

    Args:
        classes: Number of classes; two have one sigmoid unit, more have softmax units.
        smoothed: Whether the targets are smoothed. Then the metric ``crossentropy`` is the loss against the plain
            targets, which can be compared with the validation loss.
    """
    import keras
    from keras import ops

    def hard(targets: Any) -> Any:
        return ops.cast(targets > 0.5, "float32") if classes == 2 else ops.argmax(targets, axis=-1)

    def accuracy(targets: Any, outputs: Any) -> Any:
        if classes == 2:
            return ops.mean(ops.cast(ops.equal(targets > 0.5, outputs > 0.5), "float32"), axis=-1)
        return ops.cast(ops.equal(hard(targets), ops.argmax(outputs, axis=-1)), "float32")

    def crossentropy(targets: Any, outputs: Any) -> Any:
        if classes == 2:
            return keras.losses.binary_crossentropy(hard(targets), outputs)
        return keras.losses.sparse_categorical_crossentropy(hard(targets), outputs)

    if smoothed:
        loss = keras.losses.BinaryCrossentropy() if classes == 2 else keras.losses.CategoricalCrossentropy()
        return loss, [accuracy, crossentropy]
    if classes == 2:
        return keras.losses.BinaryCrossentropy(), [accuracy]
    return keras.losses.SparseCategoricalCrossentropy(), [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]


def scores(outputs: np.ndarray, labels: np.ndarray, classes: int) -> tuple[dict[str, float], np.ndarray]:
    """Return ``{"val_loss", "val_accuracy"}`` and the confusion counts, rows being the true classes.

    The loss is the mean cross-entropy in nats against plain targets, summed in float64. It does not depend on the batch
    size, label smoothing or class weights, so it can be compared between runs.

    Args:
        outputs: ``(N, 1)`` probability of the second class, or ``(N, classes)``; values 0 to 1.
        labels: Class numbers, ``(N,)``.
        classes: Number of classes.
    """
    probabilities = class_probabilities(outputs, classes, dtype=np.float64)
    loss = float(np.mean(cross_entropy(labels, probabilities)))
    predicted = (probabilities[:, 1] > 0.5).astype(np.int64) if classes == 2 else probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    return {"val_loss": loss, "val_accuracy": float(np.mean(predicted == labels))}, confusion


@contextlib.contextmanager
def averaged(model: Any) -> Iterator[None]:
    """Use the moving averages as the weights inside the block, where the optimizer keeps them."""
    optimizer = model.optimizer
    if not optimizer.use_ema:
        yield
        return
    import keras

    variables, averages = optimizer._trainable_variables, optimizer._model_variables_moving_average
    own = [keras.ops.convert_to_numpy(variable.value) for variable in variables]
    for variable, average in zip(variables, averages, strict=True):
        # A copy: on JAX two variables would share one buffer, and predict() donates its buffers.
        variable.assign(keras.ops.convert_to_numpy(average.value))
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)
