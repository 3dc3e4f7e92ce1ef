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
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from housetrain.sweeps.folder import SweepFolder
from housetrain.sweeps.trial import Trial

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


class All:
    """Trains every trial to its end, in the order given.

    Args:
        sweep: Of the trials.
        trials: In order: the longest first, so that none is left alone at the end.
    """

    def __init__(self, sweep: SweepFolder, trials: Sequence[Trial]) -> None:
        self._sweep, self._left = sweep, list(trials)

    def next(self, busy: Iterable[str]) -> Assignment | None:
        """Return the next trial that is not over. See `Search.next`."""
        busy = set(busy)
        self._left = [trial for trial in self._left if trial.name in busy or not self._sweep.finished(trial.name)]
        return next((Assignment(trial) for trial in self._left if trial.name not in busy), None)


class Halving:
    """Successive halving of a fixed list of trials, rung by rung. The seeds of one group advance or stop together.

    Args:
        sweep: Of the trials.
        trials: In the order in which they start on each rung.
        first: Epochs of the first rung, 1 or more.
        factor: One of this many advances, 2 or more.
    """

    def __init__(self, sweep: SweepFolder, trials: Sequence[Trial], *, first: int = 1, factor: int = FACTOR) -> None:
        self._sweep, self._trials, self._factor = sweep, list(trials), factor
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
        run = self._sweep.run(name)
        return run.complete or run.failure is not None or (not last and len(run.history) >= epochs)

    def _survivors(self, remaining: Sequence[Trial], epochs: int) -> list[Trial]:
        losses: dict[str, list[float]] = {}
        for trial in remaining:
            loss = self._sweep.best(trial.name, epochs)
            losses.setdefault(trial.group, []).extend([] if loss is None else [loss])
        means = {group: statistics.fmean(found) if found else math.inf for group, found in losses.items()}
        order = sorted(means, key=lambda group: means[group])  # ties keep the order of the grid
        kept = set(order[: max(1, math.ceil(len(order) / self._factor))])
        lost = [trial.name for trial in remaining if trial.group not in kept and not self._sweep.finished(trial.name)]
        self._sweep.drop(epochs, lost, kept=sorted(kept))
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
