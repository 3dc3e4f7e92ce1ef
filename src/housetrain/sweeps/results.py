"""The results of a sweep's trials, before they are ranked.

In: the run folders of the trials, each read once. Out: a `TrialResult` per trial, a `TrialGroup` for all seeds of one
recipe, and its `Row` of the leaderboard. It never opens the test split.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from housetrain.models.outputs import cross_entropy
from housetrain.sweeps.folder import SweepFolder
from housetrain.sweeps.trial import Trial
from housetrain.system import json_types, store
from housetrain.training.history import unit_of
from housetrain.training.run import Run

if TYPE_CHECKING:
    import numpy as np

TrialState = Literal["complete", "pruned", "failed", "stopped", "running", "waiting"]
FINISHED = ("complete", "pruned")
"""States of a trial that is ranked."""


class _Measured(TypedDict, total=False):
    """``trial.json``."""

    latency_ms: float | None


OVER = (*FINISHED, "failed")
"""States of a trial that needs no more training."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good a recipe is on the validation images. All ``None`` while no trial of it is finished.

    Attributes:
        rank: From 1, by ``val_loss``.
        val_loss: Best validation loss, nats; the mean over seeds.
        val_loss_error: Its standard error over the validation images and, with several, over the seeds.
        behind: ``val_loss`` minus that of the best row.
        behind_error: Standard error of ``behind``, of the paired differences of the same images and over the seeds.
        tied: Whether the row belongs to the model confidence set: chance alone can explain that it is not the best.
        val_accuracy: Validation accuracy at that epoch, in [0, 1]; the mean over seeds.
        val_accuracy_error: Its standard error.
        spread: Standard deviation of ``val_loss`` over the seeds; ``None`` with one.
        best_epoch: Epoch with that loss, of the best seed.
    """

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


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a training cost, and what its model costs in use.

    Attributes:
        epochs: Epochs trained.
        planned: Epochs planned.
        parameters: Parameters of the model.
        flops: Floating-point operations of one forward pass of one image.
        seconds: Training time.
        images_per_s: Training images a second; the median.
        model_bytes: Size of the model's files.
        latency_ms: Time to predict one image, one thread.
    """

    epochs: int = 0
    planned: int = 0
    parameters: int | None = None
    flops: int | None = None
    seconds: float | None = None
    images_per_s: float | None = None
    model_bytes: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row(Cost, Score):
    """One row of a leaderboard: a recipe, trained with one seed or several. Counts and times are sums over the seeds.

    Attributes:
        name: The recipe's name within the sweep.
        state: ``complete``, ``pruned`` (stopped early because others were better), ``failed``, ``running``, ``stopped``
            or ``waiting``.
        reason: Why it failed or was stopped.
        settings: The settings in which the recipes of this sweep differ.
        runs: Names of its trials, the best seed first.
    """

    name: str
    state: TrialState
    reason: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    runs: tuple[str, ...] = ()


COLUMNS = ("name", "state", *Score.__dataclass_fields__, *Cost.__dataclass_fields__, "reason")
"""The plain values of a `Row`, in the order of a table."""


@dataclass(frozen=True, kw_only=True)
class RunResult(Cost):
    """What the files of one run say, finished or not.

    Attributes:
        run: The run.
        history: Its history, one row per epoch.
        best: The row of the best epoch by validation loss, ``None`` before the first.
    """

    run: Run
    history: list[dict[str, Any]]
    best: dict[str, Any] | None

    @classmethod
    def read(cls, run: Run, **known: Any) -> RunResult:
        """Read a run folder.

        Args:
            run: The run.
            **known: Values of `Cost` that are known without it.
        """
        from housetrain.inference.model_folder import model_files  # imports the decoder

        history, result = run.history, run.result or {}
        scored = [row for row in history if row["val_loss"] is not None and row["val_accuracy"] is not None]
        rates = [float(row["images_per_s"]) for row in history if row.get("images_per_s")]
        path = run.folder / "trial.json"
        measured = json_types.must_fit(store.read_json(path), _Measured, path) if path.is_file() else {}
        model = model_files(run.folder)
        found = {
            "epochs": len(history),
            "parameters": result.get("parameters"),
            "seconds": result.get("seconds") or sum(float(row.get("seconds", 0.0)) for row in history) or None,
            "images_per_s": statistics.median(rates) if rates else None,
            "model_bytes": sum(file.stat().st_size for file in model) or None,
            "latency_ms": measured.get("latency_ms"),
        }
        best = min(scored, key=lambda row: float(row["val_loss"])) if scored else None
        known = {name: value for name, value in known.items() if value}
        return cls(run=run, history=history, best=best, **{**found, **known})


class TrialResult(NamedTuple):
    """A trial, and what its run folder says of it.

    Attributes:
        trial: The trial.
        state: Its state.
        reason: Why it failed or ended early.
        result: Its run.
    """

    trial: Trial
    state: TrialState
    reason: str
    result: RunResult

    @classmethod
    def read(cls, sweep: SweepFolder, trial: Trial) -> TrialResult:
        """Read the run folder of a trial."""
        run = sweep.run(trial.name)
        state, reason = _state_of(run, sweep.dropped.get(trial.name))
        history = run.history
        # a regularization path has no planned length: it ends where its best strength is found
        planned = len(history) if history and unit_of(history) == "step" else int(trial.recipe["epochs"])
        read = RunResult.read(run, planned=planned, parameters=trial.parameters, flops=trial.flops)
        return cls(trial, state, reason, read)


class OnImages(NamedTuple):
    """What a recipe gives on each validation image, the mean over its seeds.

    Attributes:
        losses: Cross-entropy in nats, ``(n,)``.
        correct: Share of the seeds that classify the image correctly, ``(n,)``.
    """

    losses: np.ndarray
    correct: np.ndarray


class TrialGroup:
    """The trials of one recipe, one a seed.

    Args:
        name: The group's.
        trials: Its trials.
        differing: Names of the settings that differ within the sweep.
    """

    def __init__(self, name: str, trials: Sequence[TrialResult], differing: Iterable[str]) -> None:
        self.name = name
        self.settings = {key: trials[0].trial.recipe.get(key) for key in differing}
        self.results = [one.result for one in trials]
        self.states = [one.state for one in trials]
        self.reasons = [one.reason for one in trials]
        finished = [one.result for one in trials if one.state in FINISHED]
        self.scored = [(one.run, one.best) for one in finished if one.best is not None]
        self.scored.sort(key=lambda pair: float(pair[1]["val_loss"]))

    @property
    def val_losses(self) -> list[float]:
        """The best validation loss of each finished seed, the best seed first."""
        return [float(best["val_loss"]) for _, best in self.scored]

    @property
    def val_accuracies(self) -> list[float]:
        """The validation accuracy at those epochs."""
        return [float(best["val_accuracy"]) for _, best in self.scored]

    @property
    def state(self) -> TrialState:
        """The state of the trial that is furthest from done."""
        order: tuple[TrialState, ...] = ("running", "stopped", "waiting", "complete", "pruned", "failed")
        return next(state for state in order if state in self.states)

    def row(self, **score: Any) -> Row:
        """Return the group's row, with these values of `Score`."""
        ranked = [run.name for run, _ in self.scored]
        names = [*ranked, *(one.run.name for one in self.results if one.run.name not in ranked)]
        by_rank = sorted(self.results, key=lambda one: names.index(one.run.name))
        rates = [one.images_per_s for one in self.results if one.images_per_s]
        seconds = [one.seconds for one in self.results if one.seconds is not None]

        def first(name: str) -> Any:
            return next((value for one in by_rank if (value := getattr(one, name))), None)

        return Row(
            name=self.name,
            state=self.state,
            epochs=sum(one.epochs for one in self.results),
            planned=sum(one.planned for one in self.results),
            parameters=first("parameters"),
            flops=first("flops"),
            seconds=sum(seconds) if seconds else None,
            images_per_s=statistics.median(rates) if rates else None,
            model_bytes=first("model_bytes"),
            latency_ms=first("latency_ms"),
            reason="; ".join(dict.fromkeys(reason for reason in self.reasons if reason)),
            settings=self.settings,
            runs=tuple(names),
            **score,
        )

    def on_images(self, labels: np.ndarray | None) -> OnImages | None:
        """Return what each validation image gave, the mean over the seeds; ``None`` where a run did not keep it."""
        if labels is None:
            return None
        found = [run.validation_probabilities(len(labels)) for run, _ in self.scored]
        most = labels.max(initial=0)
        given = [one for one in found if one is not None and one.shape[1] > most]
        if not given or len(given) < len(found):
            return None
        losses = [cross_entropy(labels, one) for one in given]
        correct = [(one.argmax(axis=1) == labels).astype(float) for one in given]
        return OnImages(sum(losses[1:], losses[0]) / len(given), sum(correct[1:], correct[0]) / len(given))


def _state_of(run: Run, dropped: str | None) -> tuple[TrialState, str]:
    """Return the state of a trial and the reason of a failure or of an early end."""
    state: TrialState = "waiting" if (now := run.state) == "new" else now
    if dropped is not None and state in ("stopped", "waiting"):
        return "pruned", dropped
    if state == "complete":
        reason = (run.result or {}).get("reason")
        return state, "" if reason in (None, "all epochs") else str(reason)
    return state, (run.failure or "") if state == "failed" else ""


def differing_in(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings, without the seed, in which the recipes of a sweep are not all equal."""
    names = dict.fromkeys(name for recipe in recipes for name in recipe)
    return [name for name in names if name != "seed" and len({str(recipe.get(name)) for recipe in recipes}) > 1]
