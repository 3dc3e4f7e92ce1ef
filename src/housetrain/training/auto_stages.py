"""The stages of `run` where the images, not the settings, choose the model: which are trained, and in which order.

In: a recipe for each way to train, what kind of images they are. Out: the stages for `ladder.climb`. It does not know
the images themselves, how a stage is trained, or the test split.

The kind of images decides only which way comes first. The other way is trained where the first leaves room for it, at
the cheap end before in full. All thresholds are module constants; docs/log.md has what they were measured on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from housetrain.models.choose import PRETRAINED, SCRATCH, SMALL, Ways
from housetrain.models.recipe import Recipe
from housetrain.training.finetune import finetuned_recipe
from housetrain.training.ladder import Stage, StageRow, Standing

_STAGES = 6  # of a backbone, side by side: 4,048 features of EfficientNet-Lite0
_FROZEN = ("pretrained", "several-stages", "flips-horizontal", "flips-both")
_CLEAR_ERROR, _CLEAR_MISTAKES = 0.02, 3
"""At most this share, or this many, of the validation images wrong: no other way could be seen to be better."""
_TRIAL_EPOCHS, _TRIAL_IMAGES = (3, 10), 16_000  # epochs of the cheap trial; images that all of them see together
_STILL_FALLS_TO = 0.15
"""Share of a trial's validation error that the whole training may be left with, where the trial learned a lot."""
_SLOPE = 1.7
"""How fast that share falls from 1 with the share of the most frequent class's error that the trial removed. Of three
sets the one that removed 0.20 kept 0.89 (docs/log.md): this spares such a training and changes nothing from half on."""
_PATIENCE, _LEAST_S = 10.0, 300.0
"""Without a time limit: a way that is in doubt may take this many times the seconds so far, or these seconds."""
_FINETUNE: Mapping[str, object] = {
    "optimizer": "adamw",
    "learning_rate": 4e-4,
    "schedule": "cosine",
    "weight_decay": 0.01,
    "zoom": 0.0,
    "rotate": 0.0,
    "contrast": 0.0,
}
_FINETUNE_EPOCHS, _LEAST_FINETUNE_EPOCHS, _ALL_LAYERS = 10, 3, 1000
"""At most and at least so many epochs: 1.1 of 8 left a model worse than the frozen one (docs/log.md)."""
_NEAR_ERROR = 0.05  # between cats and dogs (0.015) and solar cells (0.15); nothing between them was measured
"""Up to this validation error the features suit the images, and fine-tuning starts from the fitted head; its large
weights cost the first epochs where the features have to change (docs/log.md), so above it the head is a new one."""
_SHARE_FOR_TRAINING = 0.85  # of the time that is left; then averages are validated
_FINETUNE_IMAGES_PER_S = 8.0  # per core, at 224 pixels: at most, on AVX-512 cores
_FINETUNE_OF_FEATURES = 0.2  # images fine-tuned in the time of one image's features: 0.16 to 0.35 measured


def stages_of(ways: Ways, images: int, cores: int) -> tuple[Stage, ...]:
    """Return the stages in the order of training.

    Args:
        ways: The recipes.
        images: Number of training images.
        cores: Of this machine: fine-tuning gets the epochs that fit into the time that is left.
    """
    pretrained = Stage("pretrained", lambda _: ways.pretrained, in_doubt, whole=True)
    wide = Stage("several-stages", lambda _: ways.pretrained.but(stages=_STAGES), _pretrained_is_best, whole=True)
    flips = [
        Stage(f"flips-{name}", partial(_flipped, flips=name), partial(_wants_flips, flips=name), dearer=True)
        for name in (("horizontal", "both") if ways.pretrained.flip != "none" else ())
    ]
    trial = Stage("scratch-trial", lambda _: _trial(ways.scratch, images), in_doubt)
    tuned = Stage(
        "fine-tuned",
        partial(_tuned, images=images, cores=cores),
        partial(_wants_tuning, images=images, cores=cores),
    )
    tuned_flips = Stage("fine-tuned-flips", _tuned_flips, _wants_tuned_flips, dearer=True)
    scratch = Stage("from-scratch", partial(_in_time, ways.scratch), _is_promising)
    small = Stage("small", lambda _: ways.recipe, in_doubt, whole=True)
    return {
        SMALL: (small, pretrained, wide, *flips, trial, scratch, tuned, tuned_flips),
        SCRATCH: (scratch._replace(whole=True), pretrained, wide, *flips, tuned, tuned_flips),
        PRETRAINED: (pretrained, wide, *flips, tuned, tuned_flips, trial, scratch),
    }[ways.first]


def advice(rows: Sequence[StageRow], ways: Ways, images: int, cores: int) -> str:
    """Return how to get a better model from more time, in one sentence; ``""`` where nothing suggests it.

    Args:
        rows: What the stages gave.
        ways: The recipes.
        images: Number of training images.
        cores: Of this machine.
    """
    best = next(row for row in rows if row.best)
    if ways.time_limit_s is not None or best.name not in _FROZEN or 1 - best.val_accuracy <= _CLEAR_ERROR:
        return ""
    side = ways.pretrained.prepare_options["image_size"]
    tuning = _FINETUNE_EPOCHS * images / (_FINETUNE_IMAGES_PER_S * cores * (224 / side) ** 2)
    minutes = 5 * math.ceil((sum(row.seconds for row in rows) + tuning / _SHARE_FOR_TRAINING) / 300)
    return f"With --time-limit {minutes}m the pretrained model is fine-tuned as well, which may be more accurate"


def in_doubt(standing: Standing) -> bool:
    """Return whether the best run makes enough mistakes on the validation images for another way to be better."""
    return standing.mistakes > _CLEAR_MISTAKES and standing.error > _CLEAR_ERROR


def _pretrained_is_best(standing: Standing) -> bool:
    """Return whether pretrained features have the lowest validation loss so far."""
    return standing.best.folder.name == "pretrained"


def _wants_flips(standing: Standing, *, flips: str) -> bool:
    """Return whether the mean over mirror images may help the best run; left-right ones are tried first."""
    rows = {row.name: row for row in standing.rows}
    helped = flips == "horizontal" or ("flips-horizontal" in rows and rows["flips-horizontal"].gain > 0)
    return helped and standing.best.folder.name in _FROZEN and in_doubt(standing)


def _flipped(standing: Standing, *, flips: str) -> Recipe:
    return Recipe.from_json(standing.best.recipe_json).but(test_time_flips=flips)


def _wants_tuning(standing: Standing, *, images: int, cores: int) -> bool:
    """Return whether there is time for fine-tuning, and a pretrained model to start from that nothing else beats."""
    if standing.left_s == math.inf or standing.best.folder.name not in _FROZEN:
        return False
    return _tuning_epochs(standing, images, cores) >= _LEAST_FINETUNE_EPOCHS


def _tuned(standing: Standing, *, images: int, cores: int) -> Recipe:
    """Return the recipe that trains every layer of the best run, for the epochs that fit into the time that is left."""
    epochs = min(_FINETUNE_EPOCHS, _tuning_epochs(standing, images, cores))
    limit = round(_SHARE_FOR_TRAINING * standing.left_s, 1)
    settings: dict[str, Any] = {**_FINETUNE, "layers": _ALL_LAYERS, "epochs": epochs, "time_limit_s": limit}
    if _helpful_flips(standing) == "both":
        settings["flip"] = "both"
    if standing.error <= _NEAR_ERROR:
        return finetuned_recipe(standing.best, **settings)
    frozen = standing.runs["pretrained"]
    return finetuned_recipe(frozen, **settings, weights=Recipe.from_json(frozen.recipe_json).weights)


def _helpful_flips(standing: Standing) -> str:
    """Return the mirror images over which an average lowered the validation loss."""
    rows = {row.name: row.gain for row in standing.rows}
    return next((name for name in ("both", "horizontal") if rows.get(f"flips-{name}", 0.0) > 0), "none")


def _wants_tuned_flips(standing: Standing) -> bool:
    """Return whether averages over mirror images, which helped the frozen model, may make the fine-tuned one the best.

    They may where it beats the frozen model of one view.
    """
    losses = {row.name: row.val_loss for row in standing.rows}
    tuned, frozen = losses.get("fine-tuned", math.inf), min(losses.get(name, math.inf) for name in _FROZEN[:2])
    return tuned < frozen and _helpful_flips(standing) != "none" and in_doubt(standing)


def _tuned_flips(standing: Standing) -> Recipe:
    """Return the recipe that fits a head on features of the fine-tuned model, averaged over mirror images."""
    tuned = standing.runs["fine-tuned"]
    frozen = Recipe.from_json(standing.runs["pretrained"].recipe_json)
    stages = Recipe.from_json(tuned.recipe_json).stages  # the weights are those of a model of so many
    return frozen.but(weights=str(tuned.model_path.absolute()), stages=stages, test_time_flips=_helpful_flips(standing))


def _tuning_epochs(standing: Standing, images: int, cores: int) -> int:
    """Return how many epochs of fine-tuning fit into the time that is left, by the speed at which features came."""
    side = standing.prepared.spec.height
    rate = _FINETUNE_IMAGES_PER_S * cores * (224 / side) ** 2
    facts = standing.runs["pretrained"].result or {}
    if seconds := float(facts.get("features_s") or 0.0):  # a busy machine is slow at both
        rate = min(rate, _FINETUNE_OF_FEATURES * (images + len(standing.prepared.validation)) / seconds)
    return int(standing.left_s * rate / images)


def _trial(scratch: Recipe, images: int) -> Recipe:
    """Return a short training from scratch, its learning rate falling to zero as in the whole one."""
    least, most = _TRIAL_EPOCHS
    return _with_epochs(scratch, max(least, min(most, _TRIAL_IMAGES // max(1, images))))


def _with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with at most so many epochs; the warm-up keeps its share of them."""
    epochs = min(epochs, recipe.epochs)
    return recipe.but(epochs=epochs, warmup_epochs=round(recipe.warmup_epochs * epochs / recipe.epochs, 3))


def _is_promising(standing: Standing) -> bool:
    """Return whether the whole training from scratch may end better than the best run.

    It may where the trial learned more than the most frequent class, and its error, reduced as much as the longer
    training ever reduced it, is that of the best run. A trial that removed little of the error of the most frequent
    class keeps most of it (docs/log.md). It also is where nothing beats the most frequent class.
    """
    trial = standing.runs.get("scratch-trial")
    if not standing.beats_majority(standing.best):
        return True
    if trial is None or not standing.beats_majority(trial):
        return False
    error = 1 - float((trial.result or {})["val_accuracy"])
    learned = 1 - error / (1 - standing.majority)
    return max(_STILL_FALLS_TO, 1 - _SLOPE * learned) * error <= standing.error


def _in_time(scratch: Recipe, standing: Standing) -> Recipe:
    """Return the training from scratch with the epochs that its time allows, by the seconds of the trial's epochs."""
    trial = standing.runs.get("scratch-trial")
    if trial is None:
        return scratch
    facts = trial.result or {}
    seconds = float(facts["seconds"]) / max(1, int(facts["epochs_run"]))
    spent = sum(row.seconds for row in standing.rows)
    allowed = standing.left_s if standing.limit_s is not None else max(_LEAST_S, _PATIENCE * spent)
    return _with_epochs(scratch, max(_TRIAL_EPOCHS[1], int(allowed / seconds)))
