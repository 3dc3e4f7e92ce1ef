"""Searches: which trial is trained next, and for how many epochs.

In: the trials of a grid, and what their run folders hold. Out: assignments, and decisions to stop trials early. They do
not know what trains a trial, and keep all state on disk: a search that is rebuilt from the folder continues as if it
had never stopped. `housetrain.sweeps.optuna_search` proposes trials itself.

Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943): all trials train for a few epochs, the best third of
them for three times as many, and so on. A rung is decided when all of its trials have reached it, so the result does
not depend on which of them is fast.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from housetrain.models.nets import cost
from housetrain.sweeps.folder import Trial, dropped_in
from housetrain.system import store
from housetrain.training.run import Run

if TYPE_CHECKING:
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.recipe import Recipe

FACTOR = 3
"""One of this many trials advances to the next rung; the Hyperband paper (arXiv:1603.06560) recommends 3 or 4."""


class Assignment(NamedTuple):
    """A trial to train: to its end, or until it has trained ``until`` epochs."""

    trial: Trial
    until: int | None = None


class Search(Protocol):
    """Decides what is trained next."""

    def next(self, busy: Iterable[str]) -> Assignment | None:
        """Return the next assignment; ``None`` if nothing is left, or if running trials must finish first.

        Args:
            busy: Names of the running trials.
        """


def planned(name: str, recipe: Recipe, *, spec: InputSpec, classes: int, group: str = "") -> Trial:
    """Return a trial of a recipe that fits the images, with what its model will cost.

    Args:
        name: The trial's, valid as a folder name.
        recipe: What is trained.
        spec: The input spec of the images.
        classes: Number of classes.
        group: The group it shares with other seeds of the recipe; ``name`` by default.
    """
    known = cost(recipe, spec, classes)
    found = (known.parameters, known.flops) if known else (None, None)
    return Trial(name, group or name, recipe.to_json(), *found)


class SweepState:
    """What the files of a sweep folder say about its trials.

    Args:
        folder: The sweep folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dropped = dropped_in(folder)

    def run(self, name: str) -> Run:
        """Return the run of a trial, started or not."""
        return Run(self.folder / "trials" / name)

    def over(self, name: str) -> bool:
        """Return whether a trial needs no more training: it is complete, failed or stopped early."""
        run = self.run(name)
        return run.complete or name in self.dropped or run.failure is not None

    def best(self, name: str, epochs: int) -> float | None:
        """Return the best validation loss of the first ``epochs`` epochs; ``None`` if fewer are trained or it failed.

        A training that early stopping has ended is judged by its best epoch.
        """
        run = self.run(name)
        history = run.history
        if run.failure is not None or (len(history) < epochs and not run.complete):
            return None
        losses = [float(row["val_loss"]) for row in history[:epochs] if row.get("val_loss") is not None]
        return min(losses) if losses else None

    def drop(self, epochs: int, names: Iterable[str], *, kept: Sequence[str] = ()) -> None:
        """Record that trials stop early after ``epochs`` epochs because others were better."""
        reason = f"after {epochs} {'epoch' if epochs == 1 else 'epochs'} others were better"
        new = [name for name in names if name not in self.dropped]
        if new:
            line = {"epochs": epochs, "kept": list(kept), "dropped": new, "reason": reason}
            store.append_line(self.folder / "decisions.jsonl", line)
        self.dropped.update(dict.fromkeys(new, reason))


class All:
    """Trains every trial to its end, in the order given.

    Args:
        state: Of the sweep.
        trials: In order: the longest first, so that none is left alone at the end.
    """

    def __init__(self, state: SweepState, trials: Sequence[Trial]) -> None:
        self._state, self._left = state, list(trials)

    def next(self, busy: Iterable[str]) -> Assignment | None:
        """Return the next trial that is not over. See `Search.next`."""
        busy = set(busy)
        self._left = [trial for trial in self._left if trial.name in busy or not self._state.over(trial.name)]
        return next((Assignment(trial) for trial in self._left if trial.name not in busy), None)


class Halving:
    """Successive halving of a fixed list of trials, rung by rung. The seeds of one group advance or stop together.

    Args:
        state: Of the sweep.
        trials: In the order in which they start on each rung.
        first: Epochs of the first rung, 1 or more.
        factor: One of this many advances, 2 or more.
    """

    def __init__(self, state: SweepState, trials: Sequence[Trial], *, first: int = 1, factor: int = FACTOR) -> None:
        self._state, self._trials, self._factor = state, list(trials), factor
        self._rungs = rungs(max(int(trial.recipe["epochs"]) for trial in trials), first=first, factor=factor)

    def next(self, busy: Iterable[str]) -> Assignment | None:
        """Return the next trial that has not reached the current rung. See `Search.next`."""
        busy = set(busy)
        remaining = list(self._trials)
        for epochs in self._rungs:
            last = epochs == self._rungs[-1]
            waiting = [trial for trial in remaining if not self._reached(trial.name, epochs, last=last)]
            if waiting:
                return next((Assignment(t, None if last else epochs) for t in waiting if t.name not in busy), None)
            if not last:
                remaining = self._survivors(remaining, epochs)
        return None

    def _reached(self, name: str, epochs: int, *, last: bool) -> bool:
        run = self._state.run(name)
        return run.complete or run.failure is not None or (not last and len(run.history) >= epochs)

    def _survivors(self, remaining: Sequence[Trial], epochs: int) -> list[Trial]:
        losses: dict[str, list[float]] = {}
        for trial in remaining:
            loss = self._state.best(trial.name, epochs)
            losses.setdefault(trial.group, []).extend([] if loss is None else [loss])
        means = {group: statistics.fmean(found) if found else math.inf for group, found in losses.items()}
        order = sorted(means, key=lambda group: means[group])  # ties keep the order of the grid
        kept = set(order[: max(1, math.ceil(len(order) / self._factor))])
        lost = [trial.name for trial in remaining if trial.group not in kept and not self._state.over(trial.name)]
        self._state.drop(epochs, lost, kept=sorted(kept))
        return [trial for trial in remaining if trial.group in kept]


def rungs(longest: int, *, first: int = 1, factor: int = FACTOR) -> list[int]:
    """Return the epochs at which halving decides, the last being the whole training: ``[1, 3, 10]`` for 10.

    Args:
        longest: Epochs of a whole training.
        first: Epochs of the first rung.
        factor: Ratio of the epochs of two successive rungs, about.
    """
    levels = int(math.log(max(1.0, longest / first)) / math.log(factor) + 1e-9)
    return sorted({max(first, round(longest / factor**level)) for level in range(1, levels + 1)} | {longest})


def as_json(trial: Trial, **more: Any) -> Mapping[str, Any]:
    """Return what a sweep folder keeps of a trial, JSON-plain."""
    return {**{name: value for name, value in trial._asdict().items() if value is not None}, **more}
