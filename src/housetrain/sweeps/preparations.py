"""The same images at every size and in every color that the recipes of a sweep ask for.

In: prepared images, the recipes. Out: the prepared images of each recipe, all with one split, so that their validation
results can be compared image by image. It does not know trials or how they are trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from housetrain.errors import RecipeError, SourceChanged
from housetrain.images.input_spec import InputSpec
from housetrain.system.events import Callback

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.models.recipe import Recipe


def spec_for(recipe: Recipe, spec: InputSpec) -> InputSpec:
    """Return the spec of prepared images with the size and color that a recipe asks for."""
    return replace(
        spec,
        height=recipe.image_size or spec.height,
        width=recipe.image_size or spec.width,
        color_mode=recipe.color_mode or spec.color_mode,
    )


def preparations(
    prepared: Prepared, recipes: Iterable[Recipe], callbacks: Sequence[Callback] = ()
) -> dict[InputSpec, Prepared]:
    """Prepare the images of a split for all recipes, beside the folder that is given; what exists is used.

    Args:
        prepared: The images of recipes that ask for no size and color of their own.
        recipes: The recipes.
        callbacks: Receive the progress of the stage ``prepare``.

    Returns:
        `spec_for` of each recipe -> its images.

    Raises:
        RecipeError: The images come from arrays, which have one size.
        SourceChanged: The images are no longer those that were split.
    """
    from housetrain.data.prepare import prepare

    found = {prepared.spec: prepared}
    for recipe in recipes:
        spec = spec_for(recipe, prepared.spec)
        if spec in found:
            continue
        size = f"{spec.height}x{spec.width}-{spec.color_mode}"
        if prepared.split.options.get("arrays"):
            raise RecipeError(
                "Images from arrays have one size and color",
                expected=f"{prepared.spec.height}x{prepared.spec.width} {prepared.spec.color_mode}",
                do="make the other arrays and sweep them, too",
                asked=size,
            )
        folder = prepared.folder.with_name(f"{prepared.folder.name}-{size}")
        made = prepare(prepared.split, folder, spec=spec, callbacks=callbacks)
        if made.split.rows != prepared.split.rows:
            raise SourceChanged(
                "Some images can no longer be read, so the sizes would be compared on different images",
                do="prepare the images again",
                folder=str(made.folder),
            )
        found[spec] = made
    return found
