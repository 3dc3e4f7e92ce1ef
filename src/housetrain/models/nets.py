"""What a recipe does to the shape of an image, worked out without Keras.

In: a `Recipe`, the `InputSpec` of the images, the number of classes.
Out: whether the net fits the images (before anything is built), and its parameters and FLOPs where they have a
closed form. A sweep uses both before the first trial: to list infeasible cells, and to start the longest trials first.
Does not know: Keras; weights; speed. `models.describe` gives the same numbers from a built net, for every model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from housetrain.errors import RecipeError
from housetrain.models.backbones import BACKBONES

if TYPE_CHECKING:
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.recipe import Recipe

KERNEL = 3
"""Side of every convolution kernel of the cnn and deep nets."""
_SMALLEST_SIDE = {"deep": 8, "best": 8} | {name: backbone.smallest for name, backbone in BACKBONES.items()}


@dataclass(frozen=True)
class Cost:
    """What a net costs.

    Args:
        parameters: Weights that are trained or kept.
        flops: Floating-point operations of one forward pass of one image, a multiply and an add counted as two.
    """

    parameters: int
    flops: int


def infeasible(recipe: Recipe, spec: InputSpec) -> str:
    """Return why ``recipe`` cannot take images of ``spec``, or ``""`` where it can.

    Each 3x3 convolution of the cnn takes 2 pixels off a side and each pool halves it, rounding down, so a 50-pixel
    side goes 50 -> 24 -> 11 -> 4 -> 1: a fifth convolution has nothing left to stand on.
    """
    height, width = spec.height, spec.width
    if recipe.model == "cnn":
        for index in range(1, recipe.conv + 1):
            if min(height, width) < KERNEL:
                return (
                    f"convolution {index} of {recipe.conv} gets a {height}x{width} feature map, smaller than its "
                    f"{KERNEL}x{KERNEL} kernel; {spec.height}x{spec.width} images allow {index - 1}"
                )
            height, width = (height - KERNEL + 1), (width - KERNEL + 1)
            if min(height, width) < 2:
                return (
                    f"pool {index} of {recipe.conv} gets a {height}x{width} feature map, smaller than its 2x2 window; "
                    f"{spec.height}x{spec.width} images allow {index - 1} convolutions"
                )
            height, width = height // 2, width // 2
        return ""
    smallest = _SMALLEST_SIDE.get(recipe.model, 1)
    if min(height, width) < smallest:
        return f"the model {recipe.model!r} needs images of at least {smallest}x{smallest} pixels, not {height}x{width}"
    return ""


def check_feasible(recipe: Recipe, spec: InputSpec) -> None:
    """Raise unless the net of ``recipe`` fits images of ``spec``.

    Raises:
        RecipeError: In one line: which layer gets too small a feature map, or that the recipe asks for another size or
            color than the images were prepared in.
    """
    reasons = [reason] if (reason := infeasible(recipe, spec)) else []
    if recipe.image_size is not None and (spec.height, spec.width) != (recipe.image_size, recipe.image_size):
        reasons.append(
            f"the recipe asks for image_size {recipe.image_size}, the images are prepared {spec.height}x{spec.width}"
        )
    if recipe.color_mode is not None and recipe.color_mode != spec.color_mode:
        reasons.append(f"the recipe asks for {recipe.color_mode}, the images are prepared {spec.color_mode}")
    if reasons:
        raise RecipeError(
            f"The recipe {recipe.name!r} does not fit the images: {'; '.join(reasons)}",
            do="prepare the images in another size, or change the recipe",
        )


def cost(recipe: Recipe, spec: InputSpec, classes: int) -> Cost | None:
    """Return the cost of the nets that have a closed form (mlp, cnn, deep), else ``None``.

    Args:
        recipe: A feasible recipe.
        spec: Height, width and channels of the input.
        classes: Number of classes, two or more; two end in one sigmoid unit.
    """
    outputs = 1 if classes == 2 else classes
    height, width, channels = spec.shape
    parameters = flops = 0
    if recipe.model == "cnn":
        filters, valid, units = [recipe.nodes] * recipe.conv, True, [recipe.nodes] * recipe.dense
    elif recipe.model == "deep":
        filters, valid, units = [64, 128, 256], False, [128, 64]
    elif recipe.model == "mlp":
        filters, valid, units = [], False, [128, 128]
    else:
        return None
    for count in filters:
        if valid:
            height, width = height - KERNEL + 1, width - KERNEL + 1
        weights = KERNEL * KERNEL * channels * count
        parameters += weights + count
        flops += 2 * weights * height * width
        height, width, channels = height // 2, width // 2, count
    inputs = math.prod((height, width, channels))
    for count in (*units, outputs):
        parameters += inputs * count + count
        flops += 2 * inputs * count
        inputs = count
    return Cost(parameters, flops)
