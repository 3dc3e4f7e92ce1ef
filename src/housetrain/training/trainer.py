"""One process's part of a training: the only ``fit`` of the package.

In: prepared images, a `Recipe`, a run folder that is locked. Out, in that folder, epoch by epoch: ``history.jsonl``,
checkpoints, ``model.keras`` with the weights of the best epoch, and ``result.json`` at the end. It does not know who
listens.
"""

from __future__ import annotations

import io
import math
import shutil
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from housetrain.errors import TrainingError
from housetrain.system import store
from housetrain.system.events import Callbacks, State
from housetrain.training.interrupt import Interrupted, Signals
from housetrain.training.overfitting import overfitting, overfitting_in_words

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.models.recipe import Recipe
    from housetrain.training.checkpoint import Checkpoint
    from housetrain.training.run import Run

EARLY_STOPPING = "early stopping"
TIME_LIMIT = "time limit"
_TICK_S = 0.5  # how often progress is reported and the loss is checked, at most
_LIVE_MODEL_S = 30.0  # how old model.keras may be while a better epoch is known
_SAMPLES_A_CLASS = 4


class Session:
    """One process's part of a run: from the newest checkpoint to the end, or to an interruption."""

    def __init__(
        self,
        run: Run,
        prepared: Prepared,
        recipe: Recipe,
        *,
        callbacks: Callbacks,
        signals: Signals,
        start: float,
        until: int | None = None,
    ) -> None:
        self.run, self.prepared, self.recipe = run, prepared, recipe
        self.callbacks, self.signals, self.start, self.until = callbacks, signals, start, until
        self.epochs = recipe.epochs
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self.best_outputs: Any = None
        self.waited, self.seconds_before, self.sessions = 0, 0.0, 1
        self.reason, self.warned, self.precision = "", False, ""
        self.net: Any = None  # what is described: Keras' own layers
        self.model: Any = None  # what is trained: the same net, with faster layers where there are some
        self.kept: Any = None  # what is saved: no augmentation, float32, not compiled
        self.feed: Any = None
        self._model_written = start
        self._epoch_start = self._tick = start
        self._tick_step = self._step = 0

    def train(self) -> None:
        """Train to the end and write the result, or keep what there is and raise."""
        from housetrain.training import checkpoint
        from housetrain.training.environment import environment
        from housetrain.training.precision import make_deterministic

        recipe = self.recipe
        make_deterministic(recipe)
        found = checkpoint.newest(self.run.checkpoints)
        self._recall(found)
        self.feed = self._opened_feed()
        self.model = self._compiled()
        if found is not None:
            found.restore(self.model)
        facts = environment(precision=self.precision, kernels=self.model is not self.net)
        store.write_json_atomic(self.run.folder / "env.json", facts)
        self._begin()
        try:
            self.net = None  # its weights are a second copy
            if not self._done() and not self._paused():
                self._fit()
            if self._done():
                self._end("complete", result=self._finish())
            else:
                self._end("stopped", reason="paused")
        except BaseException as error:
            if isinstance(error, Interrupted | TrainingError):
                self._write_model()
            if isinstance(error, TrainingError):
                facts = {"reason": error.what, "epoch": len(self.history) + 1, "time": time.time()}
                store.write_json_atomic(self.run.folder / "failed.json", facts)
            self._end("stopped" if isinstance(error, KeyboardInterrupt) else "failed", reason=str(error))
            raise

    def _recall(self, found: Checkpoint | None) -> None:
        """Take up the state of a checkpoint, and cut the history back to it."""
        if found is None:
            from housetrain.training.precision import precision_of

            self.precision = precision_of(self.recipe)
        else:
            state = found.state
            self.history, self.best = list(state["history"]), dict(state["best"])
            self.waited, self.seconds_before = int(state["waited"]), float(state["seconds"])
            self.precision, self.sessions = str(state["precision"]), int(state["sessions"]) + 1
            self.reason, self.warned = str(state["reason"]), bool(state["warned"])
        path = self.run.folder / "history.jsonl"
        kept = b"".join(store.encode(row, indent=None) for row in self.history)
        if (path.read_bytes() if path.exists() else b"") != kept:  # lines of an epoch that will be trained again
            store.write_bytes_atomic(path, kept)

    def _opened_feed(self) -> Any:
        from housetrain.training.batches import Feed

        recipe = self.recipe
        return Feed(self.prepared, batch_size=recipe.batch_size, seed=recipe.seed, smoothing=recipe.label_smoothing)

    def _built(self) -> Any:
        """Return the model to train; from now on `kept` is what will be saved."""
        from housetrain.models.build import build, for_inference

        precision: Any = self.precision
        model = build(self.recipe, spec=self.prepared.spec, classes=self.prepared.classes, precision=precision)
        self.kept = for_inference(model)  # now: a copy of a compiled model would be compiled, optimizer and all
        return model

    def _compiled(self) -> Any:
        import keras

        from housetrain.kernels import with_kernels
        from housetrain.training.losses import loss_and_metrics
        from housetrain.training.optimizers import exempt_from_decay, optimizer_of

        recipe, classes = self.recipe, self.prepared.classes
        self.net = self._built()
        model = with_kernels(self.net)
        optimizer = optimizer_of(recipe, steps_per_epoch=self.feed.steps)
        loss, metrics = loss_and_metrics(len(classes), smoothed=bool(recipe.label_smoothing))
        executed = steps_per_execution(self.feed.steps) if keras.backend.backend() == "tensorflow" else 1
        model.compile(optimizer=optimizer, loss=loss, metrics=metrics, steps_per_execution=executed)
        exempt_from_decay(optimizer, model)
        optimizer.build(model.trainable_variables)
        return model

    def _fit(self) -> None:
        import keras

        watch = keras.callbacks.LambdaCallback(
            on_epoch_begin=self._on_epoch_begin, on_train_batch_end=self._on_batch_end, on_epoch_end=self._on_epoch_end
        )
        self.model.fit(
            self.feed.train,
            epochs=self.epochs,
            initial_epoch=len(self.history),
            callbacks=[watch],
            shuffle=False,  # the feed has its own order
            verbose=0,
        )

    # ---------------------------------------------------------------------------------- what fit tells
    def _on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.feed.begin_epoch(epoch)
        self._resize(epoch)
        self._epoch_start = self._tick = time.monotonic()
        self._tick_step = self._step = 0
        self._tell_progress("train", {}, 0.0)

    def _resize(self, epoch: int) -> None:
        """Set the side of this epoch's training images. Another size needs the step to be traced anew."""
        side = self.recipe.side(epoch, self.prepared.spec.height)
        if self.recipe.progressive < 1 and (augment := self.model.get_layer("augment")).side != side:
            augment.side = side
            self.model.make_train_function(force=True)

    def _on_batch_end(self, step: int, logs: Mapping[str, float]) -> None:
        self.signals.check()
        now = time.monotonic()
        self._step = min(step + 1, self.feed.steps)  # fit counts whole executions
        if self._out_of_time():
            self.model.stop_training = True  # the epoch ends here: it is validated and counts as it is
            self.reason = TIME_LIMIT
        if now - self._tick < _TICK_S:
            return
        self._check_number(logs["loss"], "training")
        rate = (self._step - self._tick_step) * self.recipe.batch_size / (now - self._tick)
        self._tick, self._tick_step = now, self._step
        self._tell_progress("train", logs, rate)
        self.feed.release()

    def _on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        logs = logs or {}
        self._check_number(logs["loss"], "training")
        seen = min(self._step * self.recipe.batch_size, self.feed.count)
        rate = seen / max(time.monotonic() - self._epoch_start, 1e-9)
        self._tell_progress("validate", logs, rate)
        numbers, confusion = self._validate()
        self._check_number(numbers["val_loss"], "validation")
        row = {
            "epoch": epoch + 1,
            "loss": float(logs.get("crossentropy", logs["loss"])),
            "accuracy": float(logs["accuracy"]),
            **numbers,
            "lr": float(self.model.optimizer.learning_rate),
            "seconds": round(time.monotonic() - self._epoch_start, 3),
            "images_per_s": round(rate, 1),
        }
        if self._step < self.feed.steps:
            row["steps"] = self._step  # the time limit cut this epoch short
        self._keep(row, confusion)
        self.feed.release()
        if self._done() or self._paused():
            self.model.stop_training = True
        self.signals.check()

    def _validate(self) -> tuple[dict[str, float], Any]:
        from housetrain.training.losses import averaged, scores

        # Probabilities rather than Keras' own evaluation: one pass gives loss, accuracy and confusion.
        with averaged(self.model):
            outputs = self._outputs()
        numbers, confusion = scores(outputs, self.feed.labels, len(self.prepared.classes))
        if not self.best or numbers["val_loss"] < self.best["val_loss"]:
            self.best_outputs = outputs
        return numbers, confusion

    def _outputs(self) -> Any:
        import keras

        watch = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs=None: self.signals.check())
        return self.model.predict(self.feed.validation, verbose=0, callbacks=[watch])

    def _keep(self, row: dict[str, Any], confusion: Any) -> None:
        """Make a finished epoch durable: its line in the history, then its checkpoint."""
        from housetrain.training import checkpoint

        improved = not self.best or row["val_loss"] < self.best["val_loss"]
        self.history.append(row)
        self.best, self.waited = (row, 0) if improved else (self.best, self.waited + 1)
        if not self.reason and self.recipe.patience and self.waited >= self.recipe.patience:
            self.reason = EARLY_STOPPING
        if not self.reason and self._out_of_time():
            self.reason = TIME_LIMIT
        words = "" if self.warned else overfitting_in_words(self.history)
        self.warned = self.warned or bool(words)
        store.append_line(self.run.folder / "history.jsonl", row)
        state = {
            "history": self.history,
            "best": self.best,
            "waited": self.waited,
            "reason": self.reason,
            "warned": self.warned,
            "seconds": self._seconds(),
            "precision": self.precision,
            "sessions": self.sessions,
        }
        checkpoint.save(self.run.checkpoints, len(self.history), model=self.model, improved=improved, state=state)
        self.callbacks.epoch(row, epochs=self.epochs, best=improved, confusion=confusion)
        if words and not self._done():
            self.callbacks.note(words)
        if improved and time.monotonic() - self._model_written > _LIVE_MODEL_S:
            self._write_model()

    # ---------------------------------------------------------------------------------- the end
    def _done(self) -> bool:
        return bool(self.reason) or len(self.history) >= self.epochs

    def _paused(self) -> bool:
        return self.until is not None and len(self.history) >= self.until

    def _finish(self) -> dict[str, Any]:
        self._write_model()
        self._write_validation()
        rates = sorted(row["images_per_s"] for row in self.history)
        result = {
            "reason": self.reason or "all epochs",
            "epochs_run": len(self.history),
            "best_epoch": self.best["epoch"],
            **{key: self.best[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")},
            "seconds": round(self._seconds(), 3),
            "images_per_s": rates[len(rates) // 2],
            "parameters": self._parameters(),
            "overfitting_epoch": overfitting(self.history),
            "overfitting": overfitting_in_words(self.history),
            "precision": self.precision,
            "sessions": self.sessions,
            **self._more_results(),
        }
        store.write_json_atomic(self.run.folder / "result.json", result)
        shutil.rmtree(self.run.checkpoints, ignore_errors=True)  # three times the weights; a complete run needs none
        return result

    def _write_model(self) -> None:
        """Write ``model.keras`` with the weights of the best epoch, as a whole or not at all."""
        if not self._take_best():  # stopped in its first epoch
            return
        path = self.run.folder / "model.keras"
        temporary = store.temporary_beside(path)
        with store.disk_errors(path):
            try:
                self.kept.save(temporary)
                store.replace_durably(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        self._model_written = time.monotonic()

    def _take_best(self) -> bool:
        """Put the weights of the best epoch into `kept`. Return whether there are any."""
        from housetrain.training import checkpoint

        newest = checkpoint.newest(self.run.checkpoints)
        if newest is not None:
            newest.restore_best(self.kept)
        return newest is not None

    def _parameters(self) -> int:
        return int(self.model.count_params())

    def _more_results(self) -> dict[str, Any]:
        return {}

    def _write_validation(self) -> None:
        """Write ``validation.npy``: the outputs of the best epoch, so that models can be compared image by image.

        float32, ``(N, 1)`` or ``(N, classes)``, in the order of the validation split.
        """
        import numpy as np

        from housetrain.training import checkpoint

        if self.best_outputs is None and (newest := checkpoint.newest(self.run.checkpoints)) is not None:
            newest.restore_best(self.model)  # the best epoch was in an earlier process
            self.best_outputs = self._outputs()
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(self.best_outputs, dtype=np.float32), allow_pickle=False)
        store.write_bytes_atomic(self.run.folder / "validation.npy", buffer.getvalue())

    # ---------------------------------------------------------------------------------- small things
    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.start

    def _out_of_time(self) -> bool:
        return self.recipe.time_limit_s is not None and self._seconds() > self.recipe.time_limit_s

    def _check_number(self, value: float, which: str) -> None:
        """Stop on NaN or infinity: the weights are lost, those of the epoch before are not."""
        if not math.isfinite(value):
            raise TrainingError(
                f"The {which} loss is not a number in epoch {len(self.history) + 1}, after step {self._step}",
                do="try a smaller learning_rate or precision float32; "
                + ("the best weights so far are kept" if self.history else "no epoch was finished"),
                learning_rate=self.recipe.learning_rate,
                precision=self.precision,
            )

    def _begin(self) -> None:
        weights = self.feed.weights
        self.callbacks.begin(
            "train",
            run=str(self.run.folder),
            name=self.recipe.name,
            epochs=self.epochs,
            first_epoch=len(self.history) + 1,
            steps=self.feed.steps,
            images=self.feed.count,
            validation=len(self.feed.labels),
            parameters=self._parameters(),
            precision=self.precision,
            weights=None if weights is None else dict(zip(self.prepared.classes, weights.tolist(), strict=True)),
            model=self.net,
        )

    def _end(self, state: State, *, reason: str = "", result: dict[str, Any] | None = None) -> None:
        reason = reason or (result or {}).get("reason", "")
        self.callbacks.end("train", state, reason=reason, result=result, run=str(self.run.folder))

    def _tell_progress(self, phase: str, logs: Mapping[str, float], rate: float) -> None:
        epoch = len(self.history) + 1
        self.callbacks.progress(
            "train",
            self._step,
            self.feed.steps,
            phase=phase,
            epoch=epoch,
            epochs=self.epochs,
            loss=logs.get("crossentropy", logs.get("loss")),
            accuracy=logs.get("accuracy"),
            images_per_s=round(rate, 1),
            eta_s=self._time_left(),
        )

    def _time_left(self) -> float | None:
        """Return seconds to the last epoch, at most; ``None`` before anything is known."""
        if not self._step and not self.history:
            return None
        gone = time.monotonic() - self._epoch_start
        whole: float = self.history[-1]["seconds"] if self.history else gone * self.feed.steps / max(1, self._step)
        left = max(0.0, whole * (self.epochs - len(self.history)) - gone)
        if self.recipe.time_limit_s is not None:
            left = min(left, max(0.0, self.recipe.time_limit_s - self._seconds()))
        return round(left, 1)


def steps_per_execution(steps: int) -> int:
    """Return how many steps TensorFlow runs between two looks from Python.

    More saves the way out of the graph and back; fewer lets Ctrl-C, the time limit and the bar react. At least eight
    looks an epoch, and at most ten steps between two.
    """
    return max(1, min(10, steps // 8))


def samples(prepared: Prepared) -> dict[str, Any]:
    """Return some training images of each class by name, for TensorBoard: uint8 ``(n, height, width, channels)``."""
    images, labels = prepared.images("train"), prepared.labels("train")
    found = {}
    for number, name in enumerate(prepared.classes):
        rows = (labels == number).nonzero()[0][:_SAMPLES_A_CLASS]
        found[name] = images[rows]
    return found
