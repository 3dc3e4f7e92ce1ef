"""The cells of a sweep: what the files of their trials say, before anything is ranked.

In: a sweep folder and its trials. Out: a `Cell` each, and the `Row` that a leaderboard shows of it. It never opens the
test split.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from housetrain.sweeps.folder import Trial
from housetrain.system import store
from housetrain.training.run import Run

if TYPE_CHECKING:
    import numpy as np

RowState = Literal["complete", "pruned", "failed", "stopped", "running", "waiting"]
FINISHED = ("complete", "pruned")
_SMALLEST_PROBABILITY = 1e-7  # as Keras clips, so that these losses are the val_loss of the history


@dataclass(frozen=True)
class Row:
    """One cell of a sweep: a recipe, trained with one seed or several.

    Attributes:
        name: The cell's name.
        state: ``complete``, ``pruned`` (stopped early because others did better), ``failed``, ``running``, ``stopped``
            or ``waiting``.
        rank: From 1, by ``val_loss``; ``None`` while there is nothing to rank.
        val_loss: Best validation loss; the mean over seeds.
        val_loss_error: Its standard error: over the seeds, or with one seed over the validation images.
        behind: ``val_loss`` minus that of the best row.
        behind_error: Standard error of ``behind``: over the seeds, or of the paired differences of the same images.
        tied: Whether ``behind`` lies within one standard error: luck alone may have put the two in this order.
        val_accuracy: Share of the validation images named rightly at that epoch; the mean over seeds.
        val_accuracy_error: Its standard error.
        spread: Standard deviation of ``val_loss`` over the seeds; ``None`` with one.
        best_epoch: Epoch with that loss, of the best seed.
        epochs: Epochs trained, all seeds together.
        planned: Epochs that were planned, all seeds together.
        parameters: Weights.
        flops: Floating-point operations of one forward pass of one image.
        seconds: Time that training took, all seeds together.
        images_per_s: Training images a second; the median over seeds.
        model_bytes: Size of ``model.keras``.
        latency_ms: Time to name one image, one thread.
        reason: Why it failed or was stopped.
        settings: What differs between the cells of this sweep.
        runs: Names of its trials, the best seed first.
    """

    name: str
    state: RowState
    rank: int | None = None
    val_loss: float | None = None
    val_loss_error: float | None = None
    behind: float | None = None
    behind_error: float | None = None
    tied: bool = False
    val_accuracy: float | None = None
    val_accuracy_error: float | None = None
    spread: float | None = None
    best_epoch: int | None = None
    epochs: int = 0
    planned: int = 0
    parameters: int | None = None
    flops: int | None = None
    seconds: float | None = None
    images_per_s: float | None = None
    model_bytes: int | None = None
    latency_ms: float | None = None
    reason: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    runs: tuple[str, ...] = ()


class Cell:
    """What is known of one cell: its trials, read once."""

    def __init__(
        self, folder: Path, name: str, trials: Sequence[Trial], dropped: Mapping[str, str], differing: Iterable[str]
    ) -> None:
        self.name, self.trials = name, trials
        self.settings = {key: trials[0].recipe.get(key) for key in differing}
        self.read = [_read_trial(folder, trial, dropped) for trial in trials]
        self.scored = [one for one in self.read if one.state in FINISHED and one.best is not None]
        self.scored.sort(key=lambda one: float(one.best["val_loss"]))

    @property
    def val_loss(self) -> float:
        """The best validation loss, the mean over the seeds."""
        return statistics.fmean(float(one.best["val_loss"]) for one in self.scored)

    @property
    def state(self) -> RowState:
        """That of the trial which is furthest from done."""
        states = [one.state for one in self.read]
        order: tuple[RowState, ...] = ("running", "stopped", "waiting", "complete", "pruned", "failed")
        return next(state for state in order if state in states)

    def row(self) -> Row:
        """Return the cell as a leaderboard shows it, not ranked yet."""
        reasons = list(dict.fromkeys(one.reason for one in self.read if one.reason))
        trial, runs = self.trials[0], [*self.scored, *(one for one in self.read if one not in self.scored)]
        rates = [one.rate for one in self.read if one.rate]
        seconds = [one.seconds for one in self.read if one.seconds is not None]
        return Row(
            self.name,
            self.state,
            epochs=sum(one.epochs for one in self.read),
            planned=sum(int(one.trial.recipe["epochs"]) for one in self.read),
            parameters=trial.parameters or next((one.parameters for one in self.read if one.parameters), None),
            flops=trial.flops,
            seconds=sum(seconds) if seconds else None,
            images_per_s=statistics.median(rates) if rates else None,
            model_bytes=next((one.model_bytes for one in runs if one.model_bytes), None),
            latency_ms=next((one.latency_ms for one in runs if one.latency_ms), None),
            reason="; ".join(reasons),
            settings=self.settings,
            runs=tuple(one.trial.name for one in runs),
        )


@dataclass(frozen=True)
class _Read:
    """What the files of one trial say."""

    trial: Trial
    run: Run
    state: RowState
    reason: str
    best: Any
    epochs: int
    seconds: float | None
    rate: float | None
    parameters: int | None
    model_bytes: int | None
    latency_ms: float | None


def _read_trial(folder: Path, trial: Trial, dropped: Mapping[str, str]) -> _Read:
    run = Run(folder / "trials" / trial.name)
    history, result = run.history, run.result or {}
    known = [row for row in history if row.get("val_loss") is not None]
    state: RowState = "waiting" if (now := run.state) == "new" else now
    reason = run.failure or "" if state == "failed" else ""
    if trial.name in dropped and state in ("stopped", "waiting"):
        state, reason = "pruned", dropped[trial.name]
    if state == "complete" and result.get("reason") not in (None, "all epochs"):
        reason = str(result["reason"])
    rates = [float(row["images_per_s"]) for row in history if row.get("images_per_s")]
    measured = store.read_json(run.folder / "trial.json") if (run.folder / "trial.json").is_file() else {}
    model = run.folder / "model.keras"
    return _Read(
        trial,
        run,
        state,
        reason,
        min(known, key=lambda row: float(row["val_loss"])) if known else None,
        len(history),
        result.get("seconds") or (sum(float(row["seconds"]) for row in history) if history else None),
        statistics.median(rates) if rates else None,
        result.get("parameters"),
        model.stat().st_size if model.is_file() else None,
        measured.get("latency_ms"),
    )


def differing_in(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings, but for the seed, in which the recipes of a sweep are not all alike."""
    names = dict.fromkeys(name for recipe in recipes for name in recipe)
    return [name for name in names if name != "seed" and len({str(recipe.get(name)) for recipe in recipes}) > 1]


def losses_of(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each image in nats, float64 ``(n,)``.

    Args:
        outputs: Probabilities, ``(n, 1)`` of the second class, or ``(n, classes)``.
        labels: Class numbers, ``(n,)``.
    """
    import numpy as np

    given = outputs.astype(np.float64)
    given = np.concatenate([1 - given, given], axis=1) if given.shape[1] == 1 else given
    of_truth = np.clip(given[np.arange(len(labels)), labels], _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return np.asarray(-np.log(of_truth))


def kept_losses(run: Run, labels: np.ndarray) -> np.ndarray | None:
    """Return the losses of the validation images at the best epoch, ``None`` if they are not kept."""
    import numpy as np

    path = run.folder / "validation.npy"
    if not path.is_file():
        return None
    outputs = np.load(path, allow_pickle=False)
    return losses_of(outputs, labels) if len(outputs) == len(labels) else None
