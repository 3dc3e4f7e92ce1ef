"""Fitting a head on the features of a frozen base: transfer learning in seconds.

In: prepared images, a recipe with ``frozen``. Out: a run like any other, whose ``model.keras`` (``model.xml`` where the
base is an encoder of the user's own) takes images and returns probabilities. It does not know how features are computed
and kept (`features`), or where weights come from (`backbones`).

This is the usual transfer learning recipe (base without its top, frozen, in inference mode; mean over the image; a head
on the logits), except that the base processes each image once instead of once per epoch. `HeadFit` is logistic
regression along a path of regularization strengths; `dense_material` is what `Epochs` fits for a `Dense` head.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from housetrain.errors import TrainingError
from housetrain.inference.encoder import Encoder, encoder_of
from housetrain.inference.novelty import Novelty
from housetrain.inference.quantize import CALIBRATION
from housetrain.models.augmented_views import View
from housetrain.models.backbones import BACKBONES, ENCODER, Lite
from housetrain.models.nets import FLIPPED_VIEWS
from housetrain.system.machine import quick_precisions
from housetrain.training import logistic
from housetrain.training.batches import Examples, class_weights, head_targets
from housetrain.training.cross_validation import MOST_IMAGES, cross_validate
from housetrain.training.features import Base, features_of
from housetrain.training.history import Unit
from housetrain.training.losses import scores

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.models.recipe import Recipe
    from housetrain.system.events import Callbacks
    from housetrain.training.checkpoint import Checkpoint
    from housetrain.training.clock import Clock
    from housetrain.training.epochs import Material
    from housetrain.training.history import HistoryFile
    from housetrain.training.run import Run
    from housetrain.training.trainer import Trainer

CHOSEN = "the best regularization is found"
TIME_LIMIT = "time limit"
_WORSE = 2  # weaker strengths that are fitted after the best: the loss is nearly convex along the path
_TICK_S = 0.5
_INT8_IMAGES = 1000  # fewer are done before 8 bits have paid for their second of preparation
_SAMPLE = 4  # validation images on which an engine's features are compared with those of Keras


class Frozen(NamedTuple):
    """A whole model whose base is frozen, and the features of its images.

    Attributes:
        whole: The Keras model, images in, probabilities out; or the encoder of the user's own, which has no head yet.
        train: Features and labels of the training images, then of each of their views.
        validation: Features and labels of the validation images.
        precision: Compute type of the features.
        summary: Entries of the result: how long the features took, which engine computed them.
    """

    whole: Any
    train: Examples
    validation: Examples
    precision: str
    summary: Mapping[str, Any]


class HeadFit:
    """Fits a logistic regression for one regularization strength after another, from strong to weak.

    Args:
        recipe: The settings.
        prepared: The images.
    """

    unit: Unit = "step"
    uses_kernels = False

    def __init__(self, recipe: Recipe, prepared: Prepared) -> None:
        self.recipe, self.prepared = recipe, prepared
        self.head: logistic.Head | None = None
        self._best_outputs: np.ndarray | None = None
        self._steps = 0

    @property
    def total(self) -> int:
        """See `Strategy.total`. It grows where the best strength lies outside the usual range."""
        return max(len(logistic.STRENGTHS), self._steps)

    def prepare(self, trainer: Trainer, found: Checkpoint | None) -> Any:
        """See `Strategy.prepare`. There are no checkpoints: the features are kept, and the fit takes seconds."""
        self.frozen = frozen_features(self.recipe, self.prepared, trainer)
        labels, classes = self.frozen.train.labels, len(self.prepared.classes)
        whole, self.precision = self.frozen.whole, self.frozen.precision
        if isinstance(whole, Encoder):
            self.parameters = whole.parameters + (whole.width + 1) * (1 if classes == 2 else classes)
        else:
            self.parameters = int(whole.count_params())
        self._weights = class_weights(labels, classes) if self.prepared.balance == "weights" else None
        return None if isinstance(whole, Encoder) else whole

    def facts(self) -> Mapping[str, Any]:
        """See `Strategy.facts`."""
        weights = self._weights
        return {
            "images": len(self.frozen.train.labels),
            "validation": len(self.frozen.validation.labels),
            "weights": None if weights is None else dict(zip(self.prepared.classes, weights.tolist(), strict=True)),
        }

    def fit(self, trainer: Trainer) -> None:
        """See `Strategy.fit`. It never pauses: without checkpoints there is nothing to resume from."""
        rows, labels = self.frozen.train
        targets = head_targets(labels, len(self.prepared.classes), smoothing=self.recipe.label_smoothing)
        shares = None if self._weights is None else self._weights[labels]
        for strengths in (logistic.STRENGTHS + logistic.WEAKER, logistic.STRONGER):
            start = time.monotonic()
            for head in logistic.path(rows, targets, weights=shares, strengths=strengths, check=trainer.signals.check):
                seconds = time.monotonic() - start
                row, confusion = self._score(head, trainer.history)
                row |= {
                    "iterations": head.iterations,
                    "seconds": round(time.monotonic() - start, 3),
                    "images_per_s": round(len(labels) * max(1, head.iterations) / max(seconds, 1e-6), 1),
                }
                trainer.keep(row, confusion=confusion)
                if trainer.reason:
                    return
                if strengths is not logistic.STRONGER and _weaker_is_worse(trainer.history):
                    break
                start = time.monotonic()

    def reason(self, history: HistoryFile, clock: Clock) -> str:
        """See `Strategy.reason`."""
        if _weaker_is_worse(history) and _stronger_is_worse(history):
            return CHOSEN
        return TIME_LIMIT if clock.is_over else ""

    def best_model(self, found: Checkpoint | None) -> Any | None:
        """See `Strategy.best_model`."""
        if self.head is None:
            return None
        if isinstance(self.frozen.whole, Encoder):
            return self.frozen.whole.with_head(self.head.kernel, self.head.bias)
        self.frozen.whole.get_layer("probability").set_weights([self.head.kernel, self.head.bias])
        return self.frozen.whole

    def best_outputs(self, found: Checkpoint | None) -> np.ndarray:
        """See `Strategy.best_outputs`."""
        assert self._best_outputs is not None
        return self._best_outputs

    def keep_beside(self, run: Run) -> None:
        """See `Strategy.keep_beside`: what tells novel images is kept with the features."""

    def summary(self) -> Mapping[str, Any]:
        """See `Strategy.summary`."""
        strength = None if self.head is None else self.head.strength
        return {**self.frozen.summary, "l2": strength, "cross_validation": self._cross_validated()}

    def _cross_validated(self) -> dict[str, Any] | None:
        """Return the accuracy in folds of the training and validation images, where they are few; no views of them."""
        train, validation = self.prepared.train, self.prepared.validation
        if self.head is None or len(train) + len(validation) >= MOST_IMAGES:
            return None
        return cross_validate(
            np.concatenate([self.frozen.train.inputs[: len(train)], self.frozen.validation.inputs]),
            np.concatenate([train.labels, validation.labels]),
            [row.group for row in (*train.rows, *validation.rows)],
            classes=len(self.prepared.classes),
            strength=self.head.strength,
            weighted=self._weights is not None,
            seed=self.recipe.seed,
        )

    def _score(self, head: logistic.Head, history: HistoryFile) -> tuple[dict[str, Any], np.ndarray]:
        classes = len(self.prepared.classes)
        outputs = head.probabilities(self.frozen.validation.inputs)
        numbers, confusion = scores(outputs, self.frozen.validation.labels, classes)
        fitted, _ = scores(head.probabilities(self.frozen.train.inputs), self.frozen.train.labels, classes)
        if not math.isfinite(numbers["val_loss"]):
            raise TrainingError(
                f"The validation loss is not a number at regularization strength {head.strength:g}",
                do="try precision float32",
                precision=self.precision,
            )
        if history.best is None or numbers["val_loss"] < history.best["val_loss"]:
            self.head, self._best_outputs = head, outputs
        self._steps = len(history) + 1
        row = {
            "step": self._steps,
            "l2": head.strength,
            "loss": fitted["val_loss"],
            "accuracy": fitted["val_accuracy"],
            **numbers,
        }
        return row, confusion


def _weaker_is_worse(history: HistoryFile) -> bool:
    """Return whether enough strengths below the best one were fitted, or none is left."""
    weaker = [row["l2"] for row in history.rows if row["l2"] < _best_strength(history)]
    return len(weaker) >= _WORSE or any(row["l2"] == logistic.WEAKER[-1] for row in history.rows)


def _stronger_is_worse(history: HistoryFile) -> bool:
    """Return whether a strength above the best one was fitted, or none is left."""
    best = _best_strength(history)
    return best == logistic.STRONGER[-1] or any(row["l2"] > best for row in history.rows)


def _best_strength(history: HistoryFile) -> float:
    assert history.best is not None  # called after a row was kept
    return float(history.best["l2"])


def dense_material(recipe: Recipe, prepared: Prepared, trainer: Trainer, precision: str) -> Material:
    """Return a `Dense` head on features as `Epochs` fits it: dropout, label smoothing, early stopping, resuming.

    Args:
        recipe: The settings.
        prepared: The images.
        trainer: Receives the progress of the features.
        precision: Not used; features have the precision of what computed them.
    """
    import keras

    from housetrain.models.backbones import HEAD_DROPOUT
    from housetrain.models.keras_layers import layer_seed
    from housetrain.training.epochs import Material

    frozen = frozen_features(recipe, prepared, trainer)
    own = frozen.whole.get_layer("probability")
    inputs = x = keras.Input(frozen.train.inputs.shape[1:], dtype="float16", name="features")
    if recipe.dropout:
        seed = layer_seed(recipe.seed, HEAD_DROPOUT)
        x = keras.layers.Dropout(recipe.dropout, seed=seed, name=HEAD_DROPOUT, dtype="float32")(x)
    head = keras.Model(inputs, type(own).from_config(own.get_config())(x), name="head")
    best = keras.Model(inputs, own(inputs), name="best_head")  # shares its layer with the whole model
    return Material(head, best, frozen.whole, frozen.train, frozen.validation, frozen.precision, summary=frozen.summary)


def frozen_features(recipe: Recipe, prepared: Prepared, trainer: Trainer) -> Frozen:
    """Build the whole model, and return it with the features of the training images, their views and validation.

    Args:
        recipe: The settings.
        prepared: The images. The features are kept in their folder.
        trainer: Its callbacks receive the progress of the stage ``features``.
    """
    start = time.monotonic()
    views, flips = views_of(recipe), flips_of(recipe)
    train, validation = prepared.train, prepared.validation
    total = len(train) * (1 + len(views) + len(flips)) + len(validation) * (1 + len(flips))
    events, check = trainer.callbacks, trainer.signals.check
    with events.stage("features", name=recipe.name, run=str(trainer.run.folder)):
        events.progress("features", 0, total, epoch=0)
        whole, base = base_of(recipe, prepared)
        report, place = _FeatureProgress(events, total).report, prepared.folder
        first = features_of(base, train, place, views=views or flips, progress=partial(report, 0), check=check)
        rest = partial(report, len(first.rows))
        second = features_of(base.exact, validation, place, views=flips, progress=rest, check=check)
    if flips:
        first, second = (one._replace(rows=mean_of_flips(one.rows, 1 + len(flips))) for one in (first, second))
    if (novelty := Novelty.of(first.rows[: len(train)], second.rows)) is not None:
        novelty.save(trainer.run.folder)
    seconds = time.monotonic() - start
    kept = total - first.computed - second.computed
    events.note(
        f"Features of {total:,} images in {seconds:.1f} s with {first.engine}{f' ({kept:,} were kept)' if kept else ''}"
    )
    return Frozen(
        whole,
        Examples(first.rows, np.tile(train.labels, 1 + len(views))),
        Examples(second.rows, validation.labels),
        first.precision,
        {"features_s": round(seconds, 3), "engine": first.engine},
    )


def base_of(recipe: Recipe, prepared: Prepared) -> tuple[Any, Base]:
    """Return the whole model or the encoder, and what computes its features.

    Args:
        recipe: With ``frozen``.
        prepared: The images; a few of validation compare engines.
    """
    spec, decoder = prepared.spec, prepared.decoder
    if recipe.model == ENCODER:
        encoder = encoder_of(recipe, spec)
        return encoder, Base.of_encoder(encoder, recipe, spec=spec, decoder=decoder)
    from housetrain.models.build import build

    whole = build(plain_of(recipe), spec=spec, classes=prepared.classes)
    sample = np.asarray(prepared.validation.images[:_SAMPLE])
    stages = recipe.stages if isinstance(BACKBONES[recipe.model].source, Lite) else None
    one_view = (
        whole
        if not flips_of(recipe)
        else build(plain_of(recipe).but(test_time_flips="none"), spec=spec, classes=prepared.classes)
    )
    base = Base.of_model(
        one_view,
        recipe.model,
        spec=spec,
        decoder=decoder,
        precision="int8" if _in_int8(recipe, len(prepared.train)) else recipe.precision,
        sample=sample,
        stages=stages,
        prepared=prepared.folder,
        calibration=partial(_calibration_images, prepared),
    )
    return whole, base


def _in_int8(recipe: Recipe, images: int) -> bool:
    """Return whether the features of the training images are computed in 8 bits.

    Where the processor is quick at it, they take 0.65 of the time of bfloat16 and 0.35 of that of float32.
    """
    free = recipe.precision == "auto" and not recipe.deterministic and isinstance(BACKBONES[recipe.model].source, Lite)
    return free and images >= _INT8_IMAGES and "int8" in quick_precisions()


def _calibration_images(prepared: Prepared) -> np.ndarray:
    """Return the training images with the smallest hashes: a new image rarely changes which they are."""
    chosen = np.argsort(np.array(prepared.train.sha256))[:CALIBRATION]
    return np.asarray(prepared.train.images[np.sort(chosen)])


class _FeatureProgress:
    """Reports the progress of two computations, training and validation, as one."""

    def __init__(self, callbacks: Callbacks, total: int) -> None:
        self.callbacks, self.total = callbacks, total
        self.start, self.reported = time.monotonic(), 0.0
        self.first: int | None = None  # rows that were kept before

    def report(self, offset: int, done: int, _: int) -> None:
        now, done = time.monotonic(), offset + done
        self.first = done if self.first is None else self.first
        if now - self.reported < _TICK_S:
            return
        self.reported = now
        rate = (done - self.first) / max(now - self.start, 1e-9)
        eta = round((self.total - done) / rate, 1) if rate > 0 else None
        self.callbacks.progress("features", done, self.total, epoch=0, images_per_s=round(rate, 1), eta_s=eta)


def views_of(recipe: Recipe) -> tuple[View, ...]:
    """Return the augmented views of a recipe."""
    amounts = recipe.model_dump(include={"flip", "shift", "rotate", "zoom", "stretch", "contrast"})
    return tuple(View(number, recipe.seed, **amounts) for number in range(1, recipe.views + 1))


def flips_of(recipe: Recipe) -> tuple[View, ...]:
    """Return the mirror images over which the model of a recipe averages, in addition to the image itself."""
    return tuple(View(number, 0, "both", *[0.0] * 5) for number in range(1, FLIPPED_VIEWS[recipe.test_time_flips]))


def mean_of_flips(rows: np.ndarray, views: int) -> np.ndarray:
    """Return the mean over the views of each image: float16 (N, features).

    Args:
        rows: float16 (views * N, features): all images, then the first view of all, and so on.
        views: How many.
    """
    return np.asarray(rows.reshape(views, -1, rows.shape[1]).mean(axis=0, dtype=np.float32), dtype=np.float16)


def plain_of(recipe: Recipe) -> Recipe:
    """Return ``recipe`` without augmentation and dropout: the whole model has neither."""
    amounts = {"shift": 0.0, "rotate": 0.0, "zoom": 0.0, "stretch": 0.0, "contrast": 0.0, "dropout": 0.0}
    return recipe.but(flip="none", **amounts)
