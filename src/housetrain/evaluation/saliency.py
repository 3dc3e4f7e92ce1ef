"""Where a model looks: Grad-CAM, occlusion, feature maps, filters, as plain arrays.

In: a Keras model of one flat graph (uint8 images in, probabilities out) and a prepared image. Out: numbers. It does
not know how they are drawn, nor runs. Works on every Keras backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import ModelError
from housetrain.system.backend import load_keras

Array = NDArray[np.float32]
ImageRecord = NDArray[np.uint8]

_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv2DTranspose", "SeparableConv2D", "DepthwiseConv2D")
_POOLS = ("MaxPooling2D", "AveragePooling2D")


@dataclass(frozen=True)
class FeatureMap:
    """What one layer makes of an image.

    Attributes:
        name: The layer's name.
        kind: ``"convolution"`` or ``"pool"``.
        values: (height, width, channels).
    """

    name: str
    kind: Literal["convolution", "pool"]
    values: Array


def grad_cam(model: Any, image: ImageRecord, index: int) -> Array | None:
    """Return how much each place speaks for a class.

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): the channels of the last feature map, each weighted with the
    mean gradient of the class's score (before the softmax or sigmoid) with respect to it, summed, and what is negative
    cut off.

    Args:
        model: The model.
        image: uint8 (height, width, channels), as it eats them.
        index: Which class; for a single sigmoid 0 is the first class, whose score is the negative of the output's.

    Returns:
        (h, w) of the last feature map, 0 to 1 (all 0 where no place speaks for the class); ``None`` for a model without
        a convolution, which has no map of places.

    Raises:
        ModelError: The model's graph is not one chain from the last feature map to the answer.
    """
    layer = last_map(model)
    if layer is None:
        return None
    keras = load_keras("explaining a model")
    final, activation = _final(model)
    try:
        below = keras.Model(model.input, layer.output)
        above = keras.Model(layer.output, final.input if activation else final.output)
    except ValueError as error:
        raise ModelError(
            "The model's last feature map is not all that its answer comes from",
            expected="a flat graph, as housetrain and keras.applications build it",
            layer=layer.name,
        ) from error

    def score(hidden: Any) -> Any:
        values = keras.ops.matmul(hidden, final.kernel) + final.bias if _is_dense(final) else hidden
        if values.shape[-1] == 1:
            return values[0, 0] if index == 1 else -values[0, 0]
        return values[0, index]

    maps = keras.ops.convert_to_numpy(below(image[None], training=False)).astype(np.float32)
    gradient = _gradient(keras, above, score, maps)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    heat = np.maximum((maps * weights).sum(axis=-1)[0], 0)
    top = float(heat.max())
    return np.asarray(heat / top if top > 0 else heat, np.float32)


def last_map(model: Any) -> Any | None:
    """Return the last layer that still knows places (4 dimensions, more than one place) after a convolution."""
    found, convolved = None, False
    for layer in model.layers:
        # a nested model counts as the convolutions in it
        convolved |= type(layer).__name__ in _CONVOLUTIONS or bool(getattr(layer, "layers", None))
        shape = tuple(getattr(getattr(layer, "output", None), "shape", ()))
        if convolved and len(shape) == 4 and shape[1] * shape[2] > 1:
            found = layer
    return found


def occlusion(
    probabilities: Callable[[ImageRecord], Array], image: ImageRecord, index: int, *, steps: int = 12
) -> tuple[Array, float]:
    """Return how much the probability of a class falls where a place is covered with the image's mean color.

    Zeiler and Fergus 2014, arXiv:1311.2901. Differences are of log odds, so that a sure answer has places, too.

    Args:
        probabilities: uint8 (N, height, width, channels) -> (N, classes).
        image: uint8 (height, width, channels).
        index: Which class.
        steps: The cover, a fifth of the image, is put in so many places a side.

    Returns:
        (height, width), 0 to 1, what is negative cut off; and the probability that is left at the worst place.
    """
    height, width = image.shape[:2]
    tall, wide = max(1, round(height / 5)), max(1, round(width / 5))
    rows = np.unique(np.linspace(0, height - tall, min(steps, height - tall + 1)).round().astype(int))
    columns = np.unique(np.linspace(0, width - wide, min(steps, width - wide + 1)).round().astype(int))
    places = [(int(row), int(column)) for row in rows for column in columns]
    covered = np.repeat(image[None], len(places), axis=0)
    color = image.reshape(-1, image.shape[2]).mean(axis=0).round().astype(np.uint8)
    for one, (row, column) in zip(covered, places, strict=True):
        one[row : row + tall, column : column + wide] = color
    given = np.concatenate([probabilities(covered[at : at + 36])[:, index] for at in range(0, len(covered), 36)])
    loss = _log_odds(probabilities(image[None])[0, index]) - _log_odds(given)
    heat, count = np.zeros((height, width)), np.zeros((height, width))
    for value, (row, column) in zip(loss, places, strict=True):
        heat[row : row + tall, column : column + wide] += value
        count[row : row + tall, column : column + wide] += 1
    heat = np.maximum(heat / np.maximum(count, 1), 0)
    top = float(heat.max())
    return np.asarray(heat / top if top > 0 else heat, np.float32), float(given.min())


def feature_maps(model: Any, image: ImageRecord) -> list[FeatureMap]:
    """Return what every convolution and pool makes of an image, in order. Empty where there is none."""
    keras = load_keras("explaining a model")
    layers = [layer for layer in model.layers if type(layer).__name__ in (*_CONVOLUTIONS, *_POOLS)]
    if not layers:
        return []
    outputs = keras.Model(model.input, [layer.output for layer in layers])(image[None], training=False)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [
        FeatureMap(
            layer.name,
            "pool" if type(layer).__name__ in _POOLS else "convolution",
            keras.ops.convert_to_numpy(output)[0].astype(np.float32),
        )
        for layer, output in zip(layers, outputs, strict=True)
    ]


def first_filters(model: Any) -> Array | None:
    """Return the kernels of the first convolution, (height, width, channels in, filters), or ``None``."""
    for layer in model.layers:
        if type(layer).__name__ == "Conv2D":
            keras = load_keras("explaining a model")
            return np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float32)
    return None


def _log_odds(probability: Any) -> Any:
    clipped = np.clip(np.asarray(probability, np.float64), 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def _is_dense(layer: Any) -> bool:
    return type(layer).__name__ == "Dense"


def _final(model: Any) -> tuple[Any, bool]:
    """Return the last layer, and whether it turns scores into probabilities: its scores are then looked at."""
    final = model.layers[-1]
    named = getattr(getattr(final, "activation", None), "__name__", "")
    return final, _is_dense(final) or named in ("softmax", "sigmoid") or type(final).__name__ == "Softmax"


def _gradient(keras: Any, above: Any, score: Callable[[Any], Any], maps: Array) -> Array:
    """Return the gradient of a score with respect to feature maps, on whichever backend there is."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow

        given = tensorflow.convert_to_tensor(maps)
        with tensorflow.GradientTape() as tape:
            tape.watch(given)
            value = score(above(given, training=False))
        return np.asarray(tape.gradient(value, given))
    if backend == "jax":
        import jax

        trainable = [variable.value for variable in above.trainable_variables]
        fixed = [variable.value for variable in above.non_trainable_variables]

        def value_of(given: Any) -> Any:
            return score(above.stateless_call(trainable, fixed, given, training=False)[0])

        return np.asarray(jax.grad(value_of)(maps))
    if backend == "torch":
        given = keras.ops.convert_to_tensor(maps).detach().requires_grad_(True)
        score(above(given, training=False)).backward()
        return np.asarray(given.grad.detach().cpu())
    raise ModelError("This backend gives no gradients", expected="tensorflow, jax or torch", backend=backend)
