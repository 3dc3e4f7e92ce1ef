"""The options for an image encoder of the user's own as the backbone, and the recipe that they mean.

In: what was typed. Out: a recipe. It does not know how an encoder is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from housetrain.models.recipe import Recipe

Backbone = Annotated[
    Path | None,
    typer.Option(
        help="The .onnx file of an image encoder of your own, run frozen; a logistic regression is fitted on its "
        "features.",
        metavar="FILE.onnx",
    ),
]
BackbonePreprocessing = Annotated[
    str,
    typer.Option(
        help="How an .onnx encoder wants its pixels: imagenet, clip, or mean and standard deviation of pixels from "
        "0 to 1, such as 0.5,0.5.",
        metavar="imagenet|clip|MEAN,STD",
    ),
]


def recipe_on(
    backbone: Path | None,
    preprocessing: str,
    settings: Mapping[str, Any],
    *,
    others: Mapping[str, Any],
    image_size: int | None = None,
) -> Recipe:
    """Return the recipe on an encoder, which is checked.

    Args:
        backbone: Its file.
        preprocessing: How it wants its pixels.
        settings: Recipe fields.
        others: Options that choose another model -> whether they were given.
        image_size: Of images that are prepared already, pixels.

    Raises:
        RecipeError: There is no file, or other options contradict it. Others: see `encoder_recipe`.
    """
    from housetrain.errors import RecipeError
    from housetrain.inference.encoder import SUFFIX, encoder_recipe

    if backbone is None:
        raise RecipeError("--backbone-preprocessing is for an encoder of your own", do="add --backbone FILE.onnx")
    if backbone.suffix.lower() != SUFFIX:
        raise RecipeError(
            "--backbone is not an .onnx file",
            expected="the .onnx file of an image encoder",
            do="choose a built-in pretrained model by --model NAME",
            backbone=str(backbone),
        )
    given = [name for name, is_given in others.items() if is_given] + ["--weights"] * ("weights" in settings)
    if given:
        raise RecipeError(f"--backbone is the model: leave out {', '.join(given)}", backbone=str(backbone))
    rest = dict(settings)
    side = rest.pop("image_size", image_size)
    return encoder_recipe(backbone, preprocessing, side, **rest)
