"""Hyperparameter search with Optuna: proposes trials from a space of settings, and can stop them early.

In: a space, and what the run folders hold. Out: assignments (see `housetrain.sweeps.search`). Each proposal is kept in
``asked.jsonl``: a restarted search replays the same proposals with fixed values, so that Optuna has the same history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from housetrain.errors import MissingExtra, RecipeError
from housetrain.models.nets import PRESETS, unused_settings
from housetrain.models.recipe import Recipe
from housetrain.sweeps.folder import SweepFolder
from housetrain.sweeps.search import FACTOR, Assignment, rungs
from housetrain.sweeps.trial import Trial
from housetrain.system import store

if TYPE_CHECKING:
    from housetrain.images.input_spec import InputSpec


class Range(NamedTuple):
    """Numbers between two bounds, both included; sampled on a logarithmic scale if they differ by a factor of 10."""

    low: float
    high: float

    @property
    def log(self) -> bool:
        """Whether to sample on a logarithmic scale."""
        return self.low > 0 and self.high / self.low >= 10

    @property
    def whole(self) -> bool:
        """Whether to sample integers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)


DEFAULT_SPACE: dict[str, Any] = {
    "conv": [1, 2, 3],
    "nodes": [32, 64, 128],
    "dense": [0, 1, 2],
    "learning_rate": Range(1e-4, 1e-2),
    "dropout": Range(0.0, 0.5),
    "batch_size": [32, 64, 128],
}
"""The default space: the tutorials' grid, and the settings that matter most for such models."""


def space_to_json(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space as JSON-plain values."""
    return {
        name: {"low": choice.low, "high": choice.high} if isinstance(choice, Range) else list(choice)
        for name, choice in space.items()
    }


class Optuna:
    """Proposes trials with Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), which learns from results.

    Args:
        sweep: Of the trials.
        space: Setting -> `Range` or list of values.
        fixed: Settings that all trials share; ``model`` among them.
        spec: The input spec of the images; proposals that do not fit it are skipped.
        classes: Number of classes.
        count: Trials to ask for.
        seed: Of the sampler.
        halving: Whether trials are stopped early by Optuna's `SuccessiveHalvingPruner`.
        first: Epochs before the first decision about a trial, with ``halving``.

    Raises:
        MissingExtra: Optuna is not installed.
        RecipeError: The space names settings that do not exist, or values that they cannot have.
    """

    def __init__(
        self,
        sweep: SweepFolder,
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
        check_space(space, fixed)
        self._optuna, self._sweep, self._count, self._seed = optuna, sweep, count, seed
        self._fixed = {"model": "cnn", **fixed}
        self._distributions = _distributions(optuna, space)
        self._spec, self._classes = spec, classes
        self._rungs = rungs(Recipe.of(**self._fixed).epochs, first=first) if halving else []
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=FACTOR)
        self._study = optuna.create_study(pruner=pruner if halving else optuna.pruners.NopPruner())
        self._asked: list[_Proposal] = []
        for line in sweep.proposed():
            self._study.enqueue_trial(line["params"])
            self._enter(line, self._study.ask(self._distributions))

    def next(self, busy: Iterable[str]) -> Assignment | None:
        """Return a trial that is not at its end, or ask for a new one. See `Search.next`."""
        busy = set(busy)
        for asked in self._asked:
            if not asked.closed and asked.trial.name not in busy and (until := self._until(asked)) != 0:
                return Assignment(asked.trial, until)
        while len(self._asked) < self._count:
            new = self._ask()
            if not new.closed:
                return Assignment(new.trial, self._until(new))
        return None

    def _until(self, asked: _Proposal) -> int | None:
        """Report a trial's state to Optuna; return the epoch to train it to, ``None`` for its end, 0 for no more."""
        name, states = asked.trial.name, self._optuna.trial.TrialState
        run = self._sweep.run(name)
        if run.failure is not None:
            return self._close(asked, state=states.FAIL)
        for epochs in self._rungs[:-1]:
            if epochs <= asked.reported:
                continue
            loss = self._sweep.best(name, epochs)
            if loss is None:
                return epochs
            asked.reported = epochs
            asked.optuna.report(loss, epochs)
            # Asked again after a restart, the pruner may know more than it did: the earlier decision holds.
            if asked.optuna.should_prune() and not (run.complete or len(run.history) > epochs):
                self._sweep.drop(epochs, [name])
            if name in self._sweep.dropped:
                return self._close(asked, loss, state=states.PRUNED)
        if run.complete:
            loss = self._sweep.best(name, len(run.history))
            return self._close(asked, loss) if loss is not None else self._close(asked, state=states.FAIL)
        return None

    def _close(self, asked: _Proposal, value: float | None = None, *, state: Any = None) -> int:
        asked.closed = True
        pruned = state is not None and state != self._optuna.trial.TrialState.FAIL
        self._study.tell(asked.optuna, None if pruned else value, state=state)
        return 0

    def _ask(self) -> _Proposal:
        number = len(self._asked)
        # A sampler of its own for each proposal: after a restart the next one does not depend on how many came before.
        self._study.sampler = self._optuna.samplers.TPESampler(seed=self._seed * 10_000 + number, constant_liar=True)
        asked = self._study.ask(self._distributions)
        recipe = Recipe.of(**{**self._fixed, **asked.params})
        name = f"{number + 1:03}-{recipe.name}"
        trial = Trial.of(name, recipe, spec=self._spec, classes=self._classes)
        line = {**trial.to_json(), "params": asked.params}
        store.append_line(self._sweep.path / "asked.jsonl", line)
        return self._enter(line, asked)

    def _enter(self, line: Mapping[str, Any], asked: Any) -> _Proposal:
        entered = _Proposal(Trial.from_json(line), asked)
        self._asked.append(entered)
        if entered.trial.infeasible:
            self._close(entered, state=self._optuna.trial.TrialState.FAIL)
        return entered


@dataclass
class _Proposal:
    """A proposal: our trial and Optuna's, whether Optuna has its result, and the epochs that were last reported."""

    trial: Trial
    optuna: Any
    closed: bool = False
    reported: int = 0


def check_space(space: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Check every value of a space by itself, before anything is trained.

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
    unused = unused_settings(model) if model in PRESETS else set()
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
