"""Fitting by epochs: the only ``fit`` of the package.

In: a `Material`: models, examples. Out: a row of numbers and the state of the model for each epoch, given to the
`Trainer`. It does not know run folders, nor who receives the events.

Validation is one pass of ``predict`` whose outputs give loss, accuracy and confusion alike, not Keras' own evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras  # noqa: TID253 - imported only inside train(), after the backend is chosen
import numpy as np

from housetrain.errors import TrainingError
from housetrain.kernels import with_kernels
from housetrain.kernels.conv_pool import ConvPool
from housetrain.models.build import build, for_inference
from housetrain.system.text import format_count, format_duration
from housetrain.training.batches import Examples, Feed
from housetrain.training.history import Unit
from housetrain.training.keep_novelty import keep_novelty
from housetrain.training.losses import averaged, loss_and_metrics, scores
from housetrain.training.optimizers import exempt_from_decay, optimizer_of
from housetrain.training.pace import Pace
from housetrain.training.precision import precision_of
from housetrain.training.weight_average import Average, average_noted

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.models.recipe import Recipe
    from housetrain.training.checkpoint import Checkpoint
    from housetrain.training.clock import Clock
    from housetrain.training.history import HistoryFile
    from housetrain.training.run import Run
    from housetrain.training.trainer import Trainer

ALL_EPOCHS = "all epochs"
EARLY_STOPPING = "early stopping"
TIME_LIMIT = "time limit"
STOPPED_BY_CALLBACK = "stopped by a Keras callback"


class Material(NamedTuple):
    """What is fitted, and to what.

    Attributes:
        trained: The model to fit, uncompiled: Keras' own layers, augmentation among them.
        best: Takes the weights of the best epoch, in the order of ``trained``; its variables are those of ``saved``.
        saved: What ``model.keras`` holds: for inference, not compiled.
        train: The training examples.
        validation: The validation examples.
        precision: Compute type of ``trained``.
        summary: Further entries of the result.
        finish: After fine-tuning: averages ``saved`` with the weights before, where that pays. It takes the model, a
            function for a model's outputs for the validation examples, and their labels.
        average: What ``finish`` found.
    """

    trained: Any
    best: Any
    saved: Any
    train: Examples
    validation: Examples
    precision: str
    summary: Mapping[str, Any] = {}
    finish: Callable[[Any, Callable[[Any], np.ndarray], np.ndarray], Average | None] | None = None
    average: Average | None = None


class Epochs:
    """Fits a Keras model epoch by epoch: augmentation, early stopping, a time limit, exact resuming.

    Args:
        recipe: The settings.
        classes: Class names.
        weighted: Whether uneven classes are weighted.
        material: Builds what is fitted; called once, with the trainer and the precision of the checkpoint, empty
            without one.
        callbacks: Keras callbacks for ``fit``.
    """

    unit: Unit = "epoch"

    def __init__(
        self,
        recipe: Recipe,
        classes: Sequence[str],
        *,
        weighted: bool,
        material: Callable[[Trainer, str], Material],
        callbacks: Sequence[Any] = (),
    ) -> None:
        self.recipe, self.classes, self._weighted = recipe, tuple(classes), weighted
        self._make_material, self._callbacks = material, list(callbacks)
        self._best_outputs: np.ndarray | None = None

    @property
    def total(self) -> int:
        """See `Strategy.total`."""
        return self.recipe.epochs

    @property
    def uses_kernels(self) -> bool:
        """See `Strategy.uses_kernels`."""
        return any(isinstance(layer, ConvPool) for layer in self.model.layers)

    def prepare(self, trainer: Trainer, found: Checkpoint | None) -> Any:
        """See `Strategy.prepare`."""
        recipe = self.recipe
        self.material = self._make_material(trainer, "" if found is None else str(found.state["precision"]))
        self.precision = self.material.precision
        net = self.material.trained
        self.material = self.material._replace(trained=None)
        self.feed = Feed(
            self.material.train, self.material.validation, classes=len(self.classes), weighted=self._weighted,
            batch_size=recipe.batch_size, seed=recipe.seed, smoothing=recipe.label_smoothing,
        )  # fmt: skip
        self.model = _compiled(with_kernels(net), recipe, classes=len(self.classes), steps=self.feed.steps)
        self.parameters = int(self.material.saved.count_params())
        if found is not None:
            found.restore(self.model)
        return net

    def facts(self) -> Mapping[str, Any]:
        """See `Strategy.facts`."""
        weights = self.feed.weights
        return {
            "steps_per_epoch": self.feed.steps,
            "images": self.feed.count,
            "validation": len(self.feed.labels),
            "weights": None if weights is None else dict(zip(self.classes, weights.tolist(), strict=True)),
        }

    def fit(self, trainer: Trainer) -> None:
        """See `Strategy.fit`."""
        loop = _Loop(self, trainer)
        first = keras.callbacks.LambdaCallback(
            on_epoch_begin=loop.begin_epoch, on_train_batch_end=loop.end_batch, on_epoch_end=loop.validate
        )
        last = keras.callbacks.LambdaCallback(on_epoch_end=loop.keep)
        self.model.fit(
            self.feed.train,
            epochs=self.total,
            initial_epoch=len(trainer.history),
            callbacks=[first, *self._callbacks, last],  # callbacks find val_loss, and what they change is checkpointed
            shuffle=False,  # the feed has its own order
            verbose=0,
        )
        if not trainer.is_over:
            trainer.reason = STOPPED_BY_CALLBACK

    def reason(self, history: HistoryFile, clock: Clock) -> str:
        """See `Strategy.reason`."""
        if clock.is_over:
            return TIME_LIMIT
        if self.recipe.patience and history.waited >= self.recipe.patience:
            return EARLY_STOPPING
        return ALL_EPOCHS if len(history) >= self.total else ""

    def best_model(self, found: Checkpoint | None) -> Any | None:
        """See `Strategy.best_model`."""
        if found is None:
            return None
        found.restore_best(self.material.best)
        if self.material.finish and found.state["reason"]:  # fine-tuned to the end
            average = self.material.finish(self.material.saved, self._outputs_of, self.feed.labels)
            self.material = self.material._replace(average=average)
        return self.material.saved

    def best_outputs(self, found: Checkpoint | None) -> np.ndarray:
        """See `Strategy.best_outputs`."""
        if self.material.average is not None:
            return self.material.average.outputs
        if self._best_outputs is None and found is not None:  # the best epoch was in an earlier process
            found.restore_best(self.model)
            self._best_outputs = self.outputs(lambda: None)
        assert self._best_outputs is not None
        return self._best_outputs

    def keep_beside(self, run: Run) -> None:
        """See `Strategy.keep_beside`: of a fine-tuned model, what tells novel images."""
        if self.recipe.pretrained and not self.recipe.frozen:
            keep_novelty(run, self.material.train.inputs, self.material.validation.inputs)

    def summary(self) -> Mapping[str, Any]:
        """See `Strategy.summary`."""
        average = self.material.average
        if average is None:
            return self.material.summary
        return {**self.material.summary, "fine_tuned_share": average.share, **average.numbers}

    def outputs(self, check: Callable[[], None]) -> np.ndarray:
        """Return the outputs for the validation examples, ``(N, 1)`` or ``(N, classes)``.

        Args:
            check: Called after each batch; it may raise to stop.
        """
        watch = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs=None: check())
        return np.asarray(self.model.predict(self.feed.validation, verbose=0, callbacks=[watch]))

    def _outputs_of(self, model: Any) -> np.ndarray:
        return np.asarray(model.predict(self.feed.validation, verbose=0))

    def score(self, history: HistoryFile, check: Callable[[], None]) -> tuple[dict[str, float], np.ndarray]:
        """Return the numbers of the current weights on the validation examples, and the confusion counts."""
        with averaged(self.model):
            outputs = self.outputs(check)
        numbers, confusion = scores(outputs, self.feed.labels, len(self.classes))
        if history.best is None or numbers["val_loss"] < history.best["val_loss"]:
            self._best_outputs = outputs
        return numbers, confusion

    def resize(self, epoch: int) -> None:
        """Set the side of the training images of ``epoch``, from 0. A new size traces the step again."""
        if self.recipe.progressive == 1:
            return
        augment = self.model.get_layer("augment")
        side = self.recipe.side(epoch, int(self.model.input_shape[1]))
        if augment.side != side:
            augment.side = side
            self.model.make_train_function(force=True)


class _Loop:
    """What happens in ``fit``, between the steps and between the epochs."""

    def __init__(self, epochs: Epochs, trainer: Trainer) -> None:
        self.epochs, self.trainer, self.feed = epochs, trainer, epochs.feed
        self.pace = self._pace()
        self.numbers: dict[str, float] = {}
        self.confusion: np.ndarray = np.empty((0, 0))
        self.rate, self._announced = 0.0, False

    def begin_epoch(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.feed.begin_epoch(epoch)
        self.epochs.resize(epoch)
        self.pace.begin(epoch)
        self._report("train", {}, 0.0)

    def end_batch(self, step: int, logs: Mapping[str, float]) -> None:
        self.trainer.signals.check()
        rate = self.pace.count(step + 1)
        if self.trainer.clock.is_over:
            self.epochs.model.stop_training = True  # the epoch ends here: it is validated and counts as it is
        if rate is not None:
            self._check(logs["loss"], "training")
            self._report("train", logs, rate)
            self._announce()
            self.feed.release()

    def validate(self, epoch: int, logs: dict[str, float]) -> None:
        self._check(logs["loss"], "training")
        self.rate = self.pace.rate
        self._report("validate", logs, self.rate)
        self.numbers, self.confusion = self.epochs.score(self.trainer.history, self.trainer.signals.check)
        self._check(self.numbers["val_loss"], "validation")
        logs |= self.numbers

    def keep(self, epoch: int, logs: Mapping[str, float]) -> None:
        row = {
            "epoch": epoch + 1,
            "loss": float(logs.get("crossentropy", logs["loss"])),
            "accuracy": float(logs["accuracy"]),
            **self.numbers,
            "lr": float(self.epochs.model.optimizer.learning_rate),
            "seconds": round(self.pace.seconds, 3),
            "images_per_s": round(self.rate, 1),
        }
        if self.pace.step < self.feed.steps:
            row["steps"] = self.pace.step  # the time limit or a callback cut this epoch short
        self.pace.end()
        self.trainer.keep(row, confusion=self.confusion, model=self.epochs.model)
        self.feed.release()
        if self.trainer.is_over:
            self.epochs.model.stop_training = True
        self.trainer.signals.check()

    def _report(self, phase: str, logs: Mapping[str, float], rate: float) -> None:
        self.trainer.callbacks.progress(
            "train",
            self.pace.step,
            self.feed.steps,
            phase=phase,
            epoch=len(self.trainer.history) + 1,
            epochs=self.epochs.total,
            loss=logs.get("crossentropy", logs.get("loss")),
            accuracy=logs.get("accuracy"),
            images_per_s=round(rate, 1),
            eta_s=self._time_left(),
        )

    def _pace(self) -> Pace:
        epochs, feed = self.epochs, self.feed
        full = int(epochs.model.input_shape[1])
        sizes = [(epochs.recipe.side(epoch, full) / full) ** 2 for epoch in range(epochs.total)]
        return Pace(feed.steps, epochs.recipe.batch_size, feed.count, validation=len(feed.labels), costs=sizes)

    def _announce(self) -> None:
        """Say once, in the first epoch, how long the training takes."""
        left = self._time_left()
        if left is None or self._announced:
            return
        self._announced = True
        epochs = format_count(self.epochs.total - len(self.trainer.history), "epoch")
        fewer = "; fewer if validation stops improving" if self.epochs.recipe.patience else ""
        self.trainer.callbacks.note(f"About {format_duration(left)} for {epochs}{fewer}")

    def _time_left(self) -> float | None:
        """Return seconds to the last epoch, at most; ``None`` before anything is known."""
        left = self.pace.seconds_left()
        return None if left is None else round(self.trainer.clock.at_most(left), 1)

    def _check(self, value: float, which: str) -> None:
        """Stop on NaN or infinity: the weights are lost, those of the epoch before are not."""
        if math.isfinite(value):
            return
        kept = "the best weights so far are kept" if len(self.trainer.history) else "no epoch was finished"
        raise TrainingError(
            f"The {which} loss is not a number in epoch {len(self.trainer.history) + 1}, after step {self.pace.step}",
            do=f"try a smaller learning_rate or precision float32; {kept}",
            learning_rate=self.epochs.recipe.learning_rate,
            precision=self.epochs.precision,
        )


def recipe_material(recipe: Recipe, prepared: Prepared, trainer: Trainer, precision: str) -> Material:
    """Return the model of a recipe as `Epochs` fits it.

    Args:
        recipe: The settings.
        prepared: The images.
        trainer: Its callbacks receive a note about the average after fine-tuning.
        precision: Of the checkpoint; empty for the one that suits this machine.
    """
    chosen: Literal["float32", "bfloat16"]
    chosen = "bfloat16" if (precision or precision_of(recipe)) == "bfloat16" else "float32"
    net = build(recipe, spec=prepared.spec, classes=prepared.classes, precision=chosen)
    saved = for_inference(net)  # now: a copy of a compiled model would be compiled, optimizer and all
    train, validation = prepared.train, prepared.validation
    examples = Examples(train.images, train.labels), Examples(validation.images, validation.labels)
    finish = None
    if recipe.unfreeze and recipe.weights.endswith(".keras"):  # of a run: its head is fitted, too
        finish = partial(average_noted, saved.get_weights(), len(prepared.classes), trainer.callbacks)
    return Material(net, saved, saved, *examples, chosen, finish=finish)


def _compiled(model: Any, recipe: Recipe, *, classes: int, steps: int) -> Any:
    """Return ``model`` with loss, metrics and a built optimizer."""
    optimizer = optimizer_of(recipe, steps_per_epoch=steps)
    loss, metrics = loss_and_metrics(classes, smoothed=bool(recipe.label_smoothing))
    executed = steps_per_execution(steps) if keras.backend.backend() == "tensorflow" else 1
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics, steps_per_execution=executed)
    exempt_from_decay(optimizer, model)
    optimizer.build(model.trainable_variables)
    return model


def steps_per_execution(steps: int) -> int:
    """Return how many steps TensorFlow runs before Python is called.

    More saves the cost of leaving the graph; fewer lets Ctrl-C, the time limit and the progress bar react. Python is
    called at least eight times per epoch, and at least every ten steps.
    """
    return max(1, min(10, steps // 8))
