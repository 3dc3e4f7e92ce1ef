"""Saliency: Grad-CAM, occlusion sensitivity, feature maps and kernels, as plain arrays.

In: a Keras model of one flat graph (uint8 images in, probabilities out) and a prepared image. Out: numbers. It does
not know how they are drawn, nor runs. It works with every Keras backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import ModelError
from housetrain.images.pixel_ops import Pixels
from housetrain.models.efficientnet_lite import SIDE_BY_SIDE
from housetrain.system.backend import load_keras

Array = NDArray[np.float32]

_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv2DTranspose", "SeparableConv2D", "DepthwiseConv2D")
_POOLS = ("MaxPooling2D", "AveragePooling2D")


@dataclass(frozen=True)
class FeatureMap:
    """The output of one layer for an image.

    Attributes:
        name: The layer's name.
        kind: ``"convolution"`` or ``"pool"``.
        values: (height, width, channels).
    """

    name: str
    kind: Literal["convolution", "pool"]
    values: Array


def grad_cam(model: Any, image: Pixels, index: int) -> Array | None:
    """Return how much each region raises the score of a class (Grad-CAM).

    The channels of the last feature map, each weighted with the mean gradient of the class's score (before the softmax
    or sigmoid) with respect to it, summed; negative values are set to 0.

    Source: Selvaraju et al. 2017, arXiv:1610.02391.

    Args:
        model: The model.
        image: uint8 (height, width, channels), the model input.
        index: Which class; for a single sigmoid 0 is the first class, whose score is the negative of the output's.

    Returns:
        (h, w) of the last feature map, 0 to 1 (all 0 where no region raises the score); ``None`` for a model without
        a convolution.

    Raises:
        ModelError: The model's graph is not one chain from the last feature map to the output.
    """
    layer = last_map(model)
    if layer is None:
        return None
    keras = load_keras("explaining a model")
    final, activation = _final(model)
    beside = _beside(model, layer)
    try:
        below = keras.Model(model.input, [layer.output, *beside])
        above = keras.Model([layer.output, *beside], final.input if activation else final.output)
    except ValueError as error:
        raise ModelError(
            "The model's output does not depend on its last feature map alone",
            expected="a flat graph, as housetrain and keras.applications build it",
            layer=layer.name,
        ) from error

    def score(hidden: Any) -> Any:
        values = keras.ops.matmul(hidden, final.kernel) + final.bias if _is_dense(final) else hidden
        if values.shape[-1] == 1:
            return values[0, 0] if index == 1 else -values[0, 0]
        return values[0, index]

    found = below(image[None], training=False)
    found = found if isinstance(found, list | tuple) else [found]
    maps, *others = [keras.ops.convert_to_numpy(one).astype(np.float32) for one in found]
    gradient = _gradient(keras, above, score, maps, others)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    heat = np.maximum((maps * weights).sum(axis=-1)[0], 0)
    top = float(heat.max())
    return np.asarray(heat / top if top > 0 else heat, np.float32)


def _beside(model: Any, layer: Any) -> list[Any]:
    """Return the tensors that reach the output beside a feature map: the pooled features of earlier stages."""
    merged = next((one for one in model.layers if one.name == SIDE_BY_SIDE), None)
    if merged is None:
        return []
    return [one for one in merged.input if one._keras_history.operation.input is not layer.output]


def last_map(model: Any) -> Any | None:
    """Return the last layer after a convolution whose output is a feature map of more than one pixel."""
    found, convolved = None, False
    for layer in model.layers:
        # a nested model counts as the convolutions in it
        convolved |= type(layer).__name__ in _CONVOLUTIONS or bool(getattr(layer, "layers", None))
        shape = tuple(getattr(getattr(layer, "output", None), "shape", ()))
        if convolved and len(shape) == 4 and shape[1] * shape[2] > 1:
            found = layer
    return found


def occlusion(
    probabilities: Callable[[Pixels], Array], image: Pixels, index: int, *, steps: int = 12
) -> tuple[Array, float]:
    """Return how much the probability of a class falls where a region is covered with the image's mean color.

    The differences are of log odds, so that a confident prediction has a map, too.

    Source: Zeiler and Fergus 2014, arXiv:1311.2901.

    Args:
        probabilities: uint8 (N, height, width, channels) -> (N, classes).
        image: uint8 (height, width, channels).
        index: Which class.
        steps: Positions of the cover, a fifth of the image, along each side.

    Returns:
        (height, width), 0 to 1, negative values set to 0; and the lowest probability that a cover leaves.
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


def feature_maps(model: Any, image: Pixels) -> list[FeatureMap]:
    """Return the output of every convolution and pooling layer for an image, in order."""
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
    """Return the last layer, and whether it turns scores into probabilities (then its input has the scores)."""
    final = model.layers[-1]
    named = getattr(getattr(final, "activation", None), "__name__", "")
    return final, _is_dense(final) or named in ("softmax", "sigmoid") or type(final).__name__ == "Softmax"


def _gradient(keras: Any, above: Any, score: Callable[[Any], Any], maps: Array, others: Sequence[Array]) -> Array:
    """Return the gradient of a score with respect to feature maps, on the backend in use.

    Args:
        keras: The library.
        above: Takes the maps and ``others``.
        score: Takes its output.
        maps: (1, height, width, channels).
        others: The other inputs, which are constant.
    """
    backend, others = keras.backend.backend(), [keras.ops.convert_to_tensor(one) for one in others]
    if backend == "tensorflow":
        import tensorflow

        given = tensorflow.convert_to_tensor(maps)
        with tensorflow.GradientTape() as tape:
            tape.watch(given)
            value = score(above([given, *others], training=False))
        return np.asarray(tape.gradient(value, given))
    if backend == "jax":
        import jax

        trainable = [variable.value for variable in above.trainable_variables]
        fixed = [variable.value for variable in above.non_trainable_variables]

        def value_of(given: Any) -> Any:
            return score(above.stateless_call(trainable, fixed, [given, *others], training=False)[0])

        return np.asarray(jax.grad(value_of)(maps))
    if backend == "torch":
        given = keras.ops.convert_to_tensor(maps).detach().requires_grad_(True)
        score(above([given, *others], training=False)).backward()
        return np.asarray(given.grad.detach().cpu())
    raise ModelError("This backend computes no gradients", expected="tensorflow, jax or torch", backend=backend)
