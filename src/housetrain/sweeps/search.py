"""Searches: which trial is trained next, and for how many epochs.

In: the trials of a grid or a space of settings, and what the run folders say. Out: tasks, and decisions to stop trials
early. They do not know who trains, and remember nothing that is not on disk: a sweep that was killed builds its search
anew from the folder and goes on as if nothing had happened.

Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943): all trials are trained for a few epochs, the better
third of them for three times as many, and so on. A rung is decided when all who stand on it have arrived, so the answer
does not depend on who was quicker; Optuna's pruner, which decides trial by trial as they come, is what the search
with Optuna uses.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from housetrain.errors import MissingExtra, RecipeError
from housetrain.models.nets import cost, infeasible
from housetrain.models.recipe import PRESETS, Recipe
from housetrain.sweeps.folder import Trial, dropped_in
from housetrain.system import store
from housetrain.training.run import Run

if TYPE_CHECKING:
    from housetrain.images.decode import InputSpec

FACTOR = 3
"""Of so many trials one goes on to the next rung: the default of the Hyperband paper (arXiv:1603.06560) is 3 or 4."""


class Task(NamedTuple):
    """A trial to train, until it is complete or until an epoch."""

    trial: Trial
    until: int | None = None


class Search(Protocol):
    """Decides what is trained."""

    def next(self, busy: Iterable[str]) -> Task | None:
        """Return the next task, or ``None`` while there is none: nothing is left, or who is under way must end first.

        Args:
            busy: Names of the trials under way.
        """


def entry(name: str, recipe: Recipe, *, spec: InputSpec, classes: int, cell: str = "") -> dict[str, Any]:
    """Return what a sweep folder keeps of a planned trial, JSON-plain.

    Args:
        name: The trial's, fit for a folder.
        recipe: What is trained.
        spec: What the images are.
        classes: How many classes they have.
        cell: The cell it belongs to, if other seeds do so too.
    """
    known = cost(recipe, spec, classes) if not infeasible(recipe, spec) else None
    costs = {"parameters": known.parameters, "flops": known.flops} if known else {}
    return {"name": name, "cell": cell or name, "recipe": recipe.to_json(), **costs}


class Book:
    """What the files of a sweep folder say of its trials.

    Args:
        folder: The sweep folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dropped = dropped_in(folder)

    def run(self, name: str) -> Run:
        """Return the run of a trial, begun or not."""
        return Run(self.folder / "trials" / name)

    def over(self, name: str) -> bool:
        """Return whether a trial needs no more training: complete, failed or stopped early."""
        run = self.run(name)
        return run.complete or name in self.dropped or run.failure is not None

    def best(self, name: str, epochs: int) -> float | None:
        """Return the best validation loss of the first ``epochs`` epochs, ``None`` if fewer are trained or it failed.

        A training that ended early by itself (early stopping) has nothing more to show: its best counts.
        """
        run = self.run(name)
        history = run.history
        if run.failure is not None or (len(history) < epochs and not run.complete):
            return None
        losses = [float(row["val_loss"]) for row in history[:epochs] if row.get("val_loss") is not None]
        return min(losses) if losses else None

    def decide(self, epochs: int, *, kept: Sequence[str], dropped: Mapping[str, str]) -> None:
        """Write a decision down, once."""
        for reason in dict.fromkeys(dropped.values()):
            names = [name for name, why in dropped.items() if why == reason and name not in self.dropped]
            if names:
                line = {"epochs": epochs, "kept": list(kept), "dropped": names, "reason": reason}
                store.append_line(self.folder / "decisions.jsonl", line)
        self.dropped.update(dropped)


class All:
    """Trains every trial to its end, in the order given.

    Args:
        book: The sweep's.
        trials: In the order they shall begin: the longest first, so that none is left alone at the end.
    """

    def __init__(self, book: Book, trials: Sequence[Trial]) -> None:
        self._book, self._left = book, list(trials)

    def next(self, busy: Iterable[str]) -> Task | None:
        """Return the next trial that is not over. See `Search.next`."""
        busy = set(busy)
        self._left = [trial for trial in self._left if trial.name in busy or not self._book.over(trial.name)]
        return next((Task(trial) for trial in self._left if trial.name not in busy), None)


class Halving:
    """Successive halving of a fixed list of trials, rung by rung. Seeds of one cell go on or stop together.

    Args:
        book: The sweep's.
        trials: In the order they shall begin on each rung.
        first: Epochs of the first rung, 1 or more.
        factor: One of so many goes on, 2 or more.
    """

    def __init__(self, book: Book, trials: Sequence[Trial], *, first: int = 1, factor: int = FACTOR) -> None:
        self._book, self._trials = book, list(trials)
        self._first, self._factor = first, factor
        self._longest = max(int(trial.recipe["epochs"]) for trial in trials)

    def next(self, busy: Iterable[str]) -> Task | None:
        """Return the next trial that has not arrived at the present rung. See `Search.next`."""
        busy = set(busy)
        standing = list(self._trials)
        for epochs in rungs(self._longest, first=self._first, factor=self._factor):
            last = epochs == self._longest
            waiting = [trial for trial in standing if not self._arrived(trial.name, epochs, last=last)]
            if waiting:
                return next((Task(t, None if last else epochs) for t in waiting if t.name not in busy), None)
            if not last:
                standing = self._survivors(standing, epochs)
        return None

    def _arrived(self, name: str, epochs: int, *, last: bool) -> bool:
        run = self._book.run(name)
        return run.complete or run.failure is not None or (not last and len(run.history) >= epochs)

    def _survivors(self, standing: Sequence[Trial], epochs: int) -> list[Trial]:
        cells: dict[str, list[float]] = {}
        for trial in standing:
            loss = self._book.best(trial.name, epochs)
            cells.setdefault(trial.cell, []).extend([] if loss is None else [loss])
        means = {cell: statistics.fmean(losses) if losses else math.inf for cell, losses in cells.items()}
        order = sorted(means, key=lambda cell: means[cell])  # ties stay in the order of the grid
        kept = set(order[: max(1, math.ceil(len(order) / self._factor))])
        lost = [trial.name for trial in standing if trial.cell not in kept and not self._book.over(trial.name)]
        reason = f"after {epochs} {'epoch' if epochs == 1 else 'epochs'} others did better"
        self._book.decide(epochs, kept=sorted(kept), dropped=dict.fromkeys(lost, reason))
        return [trial for trial in standing if trial.cell in kept]


def rungs(longest: int, *, first: int = 1, factor: int = FACTOR) -> list[int]:
    """Return the epochs at which halving decides, the last being the whole training: ``[1, 3, 10]`` for 10.

    Args:
        longest: Epochs of a whole training.
        first: Epochs of the first rung.
        factor: How many times more epochs each rung has, about.
    """
    levels = int(math.log(max(1.0, longest / first)) / math.log(factor) + 1e-9)
    return sorted({max(first, round(longest / factor**level)) for level in range(1, levels + 1)} | {longest})


# ------------------------------------------------------------------------------------------------- Optuna
class Range(NamedTuple):
    """Numbers between two ends, both included; drawn on a logarithmic scale where the ends are far apart."""

    low: float
    high: float

    @property
    def log(self) -> bool:
        """Whether to draw on a logarithmic scale."""
        return self.low > 0 and self.high / self.low >= 10

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


DEFAULT_SPACE: dict[str, Any] = {
    "conv": [1, 2, 3],
    "nodes": [32, 64, 128],
    "dense": [0, 1, 2],
    "learning_rate": Range(1e-4, 1e-2),
    "dropout": Range(0.0, 0.5),
    "batch_size": [32, 64, 128],
}
"""Where the search looks when told nothing: the tutorials' grid, and what else decides how well such nets learn."""


def space_from_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space as `space_to_json` wrote it."""
    return {
        name: Range(choice["low"], choice["high"]) if isinstance(choice, Mapping) else list(choice)
        for name, choice in value.items()
    }


def space_to_json(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space as JSON-plain values."""
    return {
        name: {"low": choice.low, "high": choice.high} if isinstance(choice, Range) else list(choice)
        for name, choice in space.items()
    }


class Optuna:
    """Asks Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) for trials, and tells it the results.

    What was asked is kept in ``asked.jsonl``, in order. Going on, the same questions are asked again with the answers
    fixed, so that Optuna knows what it knew.

    Args:
        book: The sweep's.
        space: Setting -> `Range` or list of values.
        fixed: Settings that all trials share; ``model`` among them.
        spec: What the images are, to leave out nets that do not fit.
        classes: How many classes they have.
        count: Trials to ask for.
        seed: Of the sampler.
        halving: Whether trials are stopped early by Optuna's `SuccessiveHalvingPruner`.
        first: Epochs before the first look at a trial, with ``halving``.

    Raises:
        MissingExtra: Optuna is not installed.
        RecipeError: The space names settings that do not exist, or values that they cannot have.
    """

    def __init__(
        self,
        book: Book,
        space: Mapping[str, Any],
        *,
        fixed: Mapping[str, Any],
        spec: InputSpec,
        classes: int,
        count: int,
        seed: int = 0,
        halving: bool = False,
        first: int = 1,
    ) -> None:
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise MissingExtra("sweep", need="the search with Optuna") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._book, self._spec, self._classes = optuna, book, spec, classes
        self._space, self._fixed, self._count, self._seed = dict(space), dict(fixed), count, seed
        check_space(self._space, self._fixed)
        self._rungs = rungs(self._whole, first=first) if halving else []
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=FACTOR)
        self._study = optuna.create_study(pruner=pruner if halving else optuna.pruners.NopPruner())
        self._asked: dict[str, Any] = {}  # name -> optuna's trial
        self._told: set[str] = set()
        self._looked: dict[str, int] = {}  # name -> epochs at which it was last looked at
        self._trials: dict[str, Trial] = {}
        for line in store.read_lines(book.folder / "asked.jsonl"):
            self._recall(line)

    @property
    def _whole(self) -> int:
        return Recipe.of(**{"model": "cnn", **self._fixed}).epochs

    def next(self, busy: Iterable[str]) -> Task | None:
        """Return a trial that is not at its end, or ask for a new one. See `Search.next`."""
        busy = set(busy)
        for name, trial in self._trials.items():
            if name in busy or name in self._told:
                continue
            if (until := self._until(name)) != 0:
                return Task(trial, until)
        while len(self._asked) < self._count:
            if (new := self._ask()) is not None:
                return Task(new, self._until(new.name))
        return None

    def _until(self, name: str) -> int | None:
        """Tell Optuna how a trial stands; return the epoch to train it to, ``None`` for its end, 0 for no more."""
        book, asked, run = self._book, self._asked[name], self._book.run(name)
        states = self._optuna.trial.TrialState
        if run.failure is not None:
            return self._tell(name, state=states.FAIL)
        for epochs in self._rungs[:-1]:
            if epochs <= self._looked.get(name, 0):
                continue
            loss = book.best(name, epochs)
            if loss is None:
                return epochs
            self._looked[name] = epochs
            asked.report(loss, epochs)
            # Asked again after a restart, the pruner may know more than it did: what was decided then stands.
            if asked.should_prune() and not self._went_on(name, epochs):
                reason = f"after {epochs} {'epoch' if epochs == 1 else 'epochs'} others did better"
                book.decide(epochs, kept=[], dropped={name: reason})
            if name in book.dropped:
                return self._tell(name, loss, state=states.PRUNED)
        if run.complete:
            loss = book.best(name, len(run.history))
            return self._tell(name, loss) if loss is not None else self._tell(name, state=states.FAIL)
        return None

    def _went_on(self, name: str, epochs: int) -> bool:
        run = self._book.run(name)
        return name not in self._book.dropped and (run.complete or len(run.history) > epochs)

    def _tell(self, name: str, value: float | None = None, *, state: Any = None) -> int:
        self._told.add(name)
        pruned = state is not None and state != self._optuna.trial.TrialState.FAIL
        self._study.tell(self._asked[name], None if pruned else value, state=state)
        return 0

    def _ask(self) -> Trial | None:
        number = len(self._asked)
        # A sampler of its own for each question: after a restart the answer does not depend on how many came before.
        sampler = self._optuna.samplers.TPESampler(seed=self._seed * 10_000 + number, constant_liar=True)
        self._study.sampler = sampler
        asked = self._study.ask(_distributions(self._optuna, self._space))
        settings = {**self._fixed, **asked.params}
        recipe = Recipe.of(**{"model": "cnn", **settings})
        cell = f"{number + 1:03}-{recipe.name}"
        line = {**entry(cell, recipe, spec=self._spec, classes=self._classes), "params": asked.params}
        if reason := infeasible(recipe, self._spec):
            line["infeasible"] = reason
        store.append_line(self._book.folder / "asked.jsonl", line)
        return self._enter(line, asked)

    def _recall(self, line: Mapping[str, Any]) -> None:
        self._study.enqueue_trial(line["params"])
        self._enter(line, self._study.ask(_distributions(self._optuna, self._space)))

    def _enter(self, line: Mapping[str, Any], asked: Any) -> Trial | None:
        self._asked[line["name"]] = asked
        if line.get("infeasible"):
            self._tell(line["name"], state=self._optuna.trial.TrialState.FAIL)
            return None
        trial = Trial(line["name"], line["cell"], line["recipe"], line.get("parameters"), line.get("flops"))
        self._trials[trial.name] = trial
        return trial


def check_space(space: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Check every value of a space, alone, before anything is trained.

    Raises:
        RecipeError: All problems at once.
    """
    problems: list[str] = []
    for name, choice in space.items():
        for value in (choice.low, choice.high) if isinstance(choice, Range) else choice:
            try:
                Recipe.of(**{"model": "cnn", **fixed, name: value})
            except RecipeError as error:
                problems.extend(error.__notes__)
    if problems:
        raise RecipeError(f"The search space cannot be trained: {'; '.join(dict.fromkeys(problems))}")


def default_space(model: str) -> dict[str, Any]:
    """Return `DEFAULT_SPACE` without what a model does not use."""
    unused = {"conv", "nodes", "dense"} - set(PRESETS[model].uses if model in PRESETS else ())
    return {name: choice for name, choice in DEFAULT_SPACE.items() if name not in unused}


def _distributions(optuna: Any, space: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, choice in space.items():
        if not isinstance(choice, Range):
            found[name] = optuna.distributions.CategoricalDistribution(list(choice))
        elif choice.whole:
            found[name] = optuna.distributions.IntDistribution(int(choice.low), int(choice.high), log=choice.log)
        else:
            found[name] = optuna.distributions.FloatDistribution(choice.low, choice.high, log=choice.log)
    return found
