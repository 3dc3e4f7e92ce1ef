"""What a model costs: parameters, operations and memory, from its layers and without Keras.

In: a `Recipe`, the `InputSpec` of the images, the number of classes. Out: a `Cost`. Does not know: Keras; speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from housetrain.models.layers import FLIP_MEAN, FLIPS, Layer, total
from housetrain.models.nets import layers_of

if TYPE_CHECKING:
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.recipe import Recipe


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Args:
        parameters: Weights that are trained or kept.
        flops: Floating-point operations of one forward pass of one image, a multiply-add counted as two; ``None`` for
            the backbones of `keras.applications`.
        activations: Numbers that all layers put out for one image, which training keeps in memory; ``None`` likewise.
    """

    parameters: int
    flops: int | None
    activations: int | None


def cost(recipe: Recipe, spec: InputSpec, classes: int) -> Cost:
    """Return what a model costs.

    Args:
        recipe: A feasible recipe.
        spec: Height, width and channels of the images.
        classes: Two or more.

    Raises:
        TooSmallError: The images are too small for its layers.
    """
    layers = layers_of(recipe, spec, classes)
    times = _times(layers)
    multiply_adds = total([layer.multiply_adds for layer in layers])
    if multiply_adds is None:
        return Cost(sum(layer.parameters or 0 for layer in layers), None, None)
    multiply_adds = sum(count * (layer.multiply_adds or 0) for count, layer in zip(times, layers, strict=True))
    outputs = sum(count * math.prod(layer.shape) for count, layer in zip(times, layers, strict=True))
    return Cost(sum(layer.parameters or 0 for layer in layers), 2 * multiply_adds, outputs)


def _times(layers: Sequence[Layer]) -> list[int]:
    """Return how often each layer computes for one image: once, or for each of its mirror images."""
    found, views = [], 1
    for layer in layers:
        views = int(layer.config["views"]) if layer.kind == FLIPS else 1 if layer.kind == FLIP_MEAN else views
        found.append(views)
    return found
