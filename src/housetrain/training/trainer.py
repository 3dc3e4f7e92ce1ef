"""The trainer: everything around fitting a model, the same for each way to fit it.

In: a locked run folder, a recipe, a `Strategy`. Out, in that folder: ``env.json``, ``history.jsonl``, checkpoints,
``model.keras`` (or ``model.xml``) with the weights of the best row, ``validation.npy``, ``novelty.npz`` of fine-tuned
models, ``result.json`` at the end or ``failed.json``; and an event for each. It does not know how the strategy fits,
nor who receives the events.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from housetrain.errors import TrainingError
from housetrain.system import store
from housetrain.system.events import Callbacks, State
from housetrain.training.history import HistoryFile, Row, Unit, number_of
from housetrain.training.interrupt import Interrupted, Signals
from housetrain.training.overfitting import LIVE_THRESHOLD, overfitting, overfitting_text

if TYPE_CHECKING:
    from housetrain.models.recipe import Recipe
    from housetrain.training.checkpoint import Checkpoint
    from housetrain.training.clock import Clock
    from housetrain.training.run import Run

_LIVE_MODEL_S = 30.0  # model.keras may be this old while a better epoch is known


class Strategy(Protocol):
    """A way to fit a model. There are two: `epochs.Epochs` and `head_fit.HeadFit`.

    Attributes:
        unit: What a row of the history is.
        precision: Compute type of the model, known after `prepare`.
        parameters: Number of parameters of the saved model, known after `prepare`.
    """

    unit: Unit
    precision: str
    parameters: int

    @property
    def total(self) -> int:
        """Number of rows if nothing stops the training early."""

    @property
    def uses_kernels(self) -> bool:
        """Whether the compiled steps of this package take part."""

    def prepare(self, trainer: Trainer, found: Checkpoint | None) -> Any:
        """Build the model, in the state of the checkpoint if there is one. Return the Keras model, if it is one."""

    def facts(self) -> Mapping[str, Any]:
        """Return facts for `Callback.begin`."""

    def fit(self, trainer: Trainer) -> None:
        """Fit from the last row of the trainer's history on, and call `Trainer.keep` for each row, until it is done."""

    def reason(self, history: HistoryFile, clock: Clock) -> str:
        """Return why the training ends with the last row, or an empty string."""

    def best_model(self, found: Checkpoint | None) -> Any | None:
        """Return the model to save, with the weights of the best row, or ``None`` before the first row.

        It is a Keras model, or a `housetrain.inference.encoder.Classifier`.

        Args:
            found: The newest checkpoint.
        """

    def best_outputs(self, found: Checkpoint | None) -> np.ndarray:
        """Return the outputs of the best row for the validation images: ``(N, 1)`` or ``(N, classes)``."""

    def keep_beside(self, run: Run) -> None:
        """Write what else belongs to the saved model, once it is written."""

    def summary(self) -> Mapping[str, Any]:
        """Return further entries of ``result.json``."""


class Trainer:
    """Trains in one process: from the newest checkpoint to the end, to a pause or to an interruption.

    Args:
        run: The run folder, locked by this process.
        recipe: The settings.
        strategy: Fits the model.
        callbacks: Receive the events.
        signals: Ctrl-C and SIGTERM.
        clock: Seconds of training so far.
        until: Pause after this row, counted from 1.

    Attributes:
        history: The rows so far.
        reason: Why the training is done; empty while it is not.
    """

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        strategy: Strategy,
        *,
        callbacks: Callbacks,
        signals: Signals,
        clock: Clock,
        until: int | None = None,
    ) -> None:
        self.run, self.recipe, self.strategy = run, recipe, strategy
        self.callbacks, self.signals, self.clock, self.until = callbacks, signals, clock, until
        self.history = HistoryFile(run.folder / "history.jsonl")
        self.reason, self._warned, self._processes = "", False, 1
        self._model_written = clock.start

    @property
    def is_over(self) -> bool:
        """Whether the training is done, or pauses here."""
        return bool(self.reason) or (self.until is not None and len(self.history) >= self.until)

    def train(self) -> None:
        """Train to the end and write the result; or keep everything finished, and raise.

        Raises:
            Interrupted: Ctrl-C or SIGTERM.
            TrainingError: The loss is not a number.
        """
        from housetrain.training import checkpoint
        from housetrain.training.environment import FROZEN, environment, frozen
        from housetrain.training.precision import make_deterministic

        make_deterministic(self.recipe)
        found = checkpoint.newest(self.run.checkpoints)
        self._restore(found)
        model = self.strategy.prepare(self, found)
        facts = environment(precision=self.strategy.precision, kernels=self.strategy.uses_kernels)
        store.write_json_atomic(self.run.folder / "env.json", facts)
        store.write_bytes_atomic(self.run.folder / FROZEN, frozen().encode())
        try:
            self._begin(model)
            del model  # its weights may be a second copy
            if not self.is_over:
                self.strategy.fit(self)
            if self.reason:
                self._end("complete", result=self._finish())
            else:
                self._end("stopped", reason="paused")
        except BaseException as error:
            if isinstance(error, Interrupted | TrainingError):
                self._write_model()
            if isinstance(error, TrainingError):
                failure = {"reason": error.what, self.strategy.unit: len(self.history) + 1, "time": time.time()}
                store.write_json_atomic(self.run.folder / "failed.json", failure)
            self._end("stopped" if isinstance(error, KeyboardInterrupt) else "failed", reason=str(error))
            raise

    def keep(self, row: Row, *, confusion: np.ndarray, model: Any | None = None) -> None:
        """Make a finished row durable: first its line in the history, then its checkpoint. Then report it.

        Args:
            row: Loss, accuracy, val_loss, val_accuracy and more.
            confusion: Counts on the validation images, ``(classes, classes)``, a row for each true class.
            model: The compiled model whose state goes into a checkpoint; ``None`` where fitting again costs less.
        """
        self.history.append(row)
        improved = self.history.waited == 0
        self.reason = self.strategy.reason(self.history, self.clock)
        warning = "" if self._warned else overfitting_text(self.history.rows, threshold=LIVE_THRESHOLD)
        self._warned = self._warned or bool(warning)
        if model is not None:
            self._save(model, improved=improved)
        facts = {"best": improved, "confusion": confusion}
        if self.strategy.unit == "epoch":
            self.callbacks.epoch(row, epochs=self.strategy.total, **facts)
        else:
            self.callbacks.progress("train", number_of(row), self.strategy.total, phase="path", row=row, **facts)
        if warning and not self.reason:
            self.callbacks.note(warning)
        if improved and time.monotonic() - self._model_written > _LIVE_MODEL_S:
            self._write_model()

    # ---------------------------------------------------------------------------------- checkpoints
    def _restore(self, found: Checkpoint | None) -> None:
        """Continue from the state of a checkpoint."""
        state = {} if found is None else found.state
        self.history.restore(state.get("history", []))
        self.clock.before = float(state.get("seconds", 0.0))
        self._processes = int(state.get("sessions", 0)) + 1
        self._warned = bool(state.get("warned", False))
        if self.history.rows:
            self.reason = str(state["reason"])
            if self.reason and len(self.history) < self.strategy.total:  # it may be asked for more epochs than before
                self.reason = self.strategy.reason(self.history, self.clock)

    def _save(self, model: Any, *, improved: bool) -> None:
        from housetrain.training import checkpoint

        state = {
            "history": self.history.rows,
            "reason": self.reason,
            "warned": self._warned,
            "seconds": self.clock.seconds,
            "precision": self.strategy.precision,
            "sessions": self._processes,
        }
        checkpoint.save(self.run.checkpoints, len(self.history), model=model, improved=improved, state=state)

    # ---------------------------------------------------------------------------------- the end
    def _finish(self) -> dict[str, Any]:
        """Write the model, its validation outputs and, last, the result. Return the result."""
        from housetrain.training import checkpoint

        self._write_model()
        buffer = io.BytesIO()
        outputs = self.strategy.best_outputs(checkpoint.newest(self.run.checkpoints))
        np.save(buffer, np.asarray(outputs, dtype=np.float32), allow_pickle=False)
        store.write_bytes_atomic(self.run.folder / "validation.npy", buffer.getvalue())
        self.strategy.keep_beside(self.run)

        rows, best, unit = self.history.rows, self.history.best, self.strategy.unit
        assert best is not None  # a training ends with a row
        rates = sorted(row["images_per_s"] for row in rows)
        result = {
            "reason": self.reason,
            f"{unit}s_run": len(rows),
            f"best_{unit}": number_of(best),
            **{key: best[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")},
            "seconds": round(self.clock.seconds, 3),
            "images_per_s": rates[len(rates) // 2],
            "parameters": self.strategy.parameters,
            "overfitting_epoch": overfitting(rows),
            "overfitting": overfitting_text(rows),
            "precision": self.strategy.precision,
            "sessions": self._processes,
            **self.strategy.summary(),
        }
        store.write_json_atomic(self.run.folder / "result.json", result)
        checkpoint.keep_last(self.run.checkpoints)  # a longer training continues from it
        return result

    def _write_model(self) -> None:
        """Write the model with the weights of the best row, as a whole or not at all."""
        from housetrain.inference.encoder import Classifier
        from housetrain.training import checkpoint

        model = self.strategy.best_model(checkpoint.newest(self.run.checkpoints))
        if model is None:  # stopped in the first epoch
            return
        if isinstance(model, Classifier):
            model.save(self.run.folder)
        else:
            path = self.run.folder / "model.keras"
            with store.disk_errors(path), store.replacing(path) as temporary:
                model.save(temporary)
        self._model_written = time.monotonic()

    # ---------------------------------------------------------------------------------- events
    def _begin(self, model: Any) -> None:
        unit = self.strategy.unit
        self.callbacks.begin(
            "train",
            run=str(self.run.folder),
            name=self.recipe.name,
            model=model,
            parameters=self.strategy.parameters,
            precision=self.strategy.precision,
            **{f"{unit}s": self.strategy.total, f"first_{unit}": len(self.history) + 1},
            **self.strategy.facts(),
        )

    def _end(self, state: State, *, reason: str = "", result: dict[str, Any] | None = None) -> None:
        reason = reason or (result or {}).get("reason", "")
        self.callbacks.end("train", state, reason=reason, result=result, run=str(self.run.folder))
