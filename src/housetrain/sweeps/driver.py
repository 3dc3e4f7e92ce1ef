"""Sweep: many recipes on the same images, trained side by side, ranked by validation loss.

In: prepared images, a `Grid` (or recipes, or a space to search), a folder. Out: a `Leaderboard`; each trial is an
ordinary run folder. It does not know how a trial is trained, where (an `Executor` does), which one is next (a `Search`
does), nor how results are shown; it never opens the test split.

    sweep(Prepared.open("prepared/PetImages-50x50-grayscale"), Grid())       # the tutorials' 27, on all cores

All state is on disk: after a kill the same call resumes, and finished trials never run again.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from housetrain.errors import RecipeError, StoreError
from housetrain.models.nets import check_feasible, infeasible
from housetrain.models.recipe import Recipe
from housetrain.sweeps.executors import Executor, InProcess, Processes
from housetrain.sweeps.folder import Trial, trials_of
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.sweeps.optuna_search import Optuna, check_space, space_to_json
from housetrain.sweeps.search import All, Assignment, Halving, Search, SweepState, as_json, planned
from housetrain.sweeps.status import Snapshot, look, work
from housetrain.sweeps.trial import fail
from housetrain.system import store
from housetrain.system.lock import Lock

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.sweeps.executors import Outcome

DEATHS = 3
"""How many times in a row a trial may crash its process without finishing an epoch before it is marked failed."""
_LOOK_S = 1.0
_SHARE_OF_LOOKING = 0.03  # of the time at most: reading a large sweep takes a while, and the trials need the cores
Watcher = Callable[[Snapshot], None]


class Plan(NamedTuple):
    """What a sweep is asked to do.

    Attributes:
        recipes: Trial name -> recipe, in order; empty where a search proposes them.
        groups: Trial name -> group, where several seeds of a recipe share one.
        search: ``kind`` (grid, halving or optuna) and its settings, JSON-plain.
        space: Of a search: setting -> `Range` or values.
        fixed: Of a search: settings that all trials share.
    """

    recipes: dict[str, Recipe]
    groups: dict[str, str]
    search: dict[str, Any]
    space: dict[str, Any]
    fixed: dict[str, Any]


def plan(
    recipes: Grid | Mapping[str, Recipe] | Sequence[Recipe] | None = None,
    *,
    halving: bool = False,
    first: int = 1,
    space: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    trials: int = 30,
    seed: int = 0,
) -> Plan:
    """Return a checked plan of a sweep.

    Args:
        recipes: A grid, or recipes (by name, or a list); the tutorials' 27 by default.
        halving: Stop weaker trials early, by successive halving.
        first: With ``halving``: epochs before the first decision.
        space: Search here with Optuna instead of training all of ``recipes``: setting -> list of values or
            `housetrain.sweeps.optuna_search.Range`.
        fixed: With ``space``: recipe fields that all trials share, ``model`` among them.
        trials: With ``space``: how many to propose.
        seed: With ``space``: of the sampler.

    Raises:
        RecipeError: A recipe is invalid, or there is none.
    """
    if space is not None:
        fixed = {"model": "cnn", **(fixed or {})}
        check_space(space, fixed)
        kind = {"kind": "optuna", "count": trials, "seed": seed, "halving": halving, "first": first}
        asked = {**kind, "space": space_to_json(space), "fixed": store.plain(fixed)}
        return Plan({}, {}, asked, dict(space), fixed)
    named = _named(Grid() if recipes is None else recipes)
    if not named:
        raise RecipeError("There is nothing to train", expected="at least one recipe")
    groups = {}
    if isinstance(recipes, Grid) and len(recipes.seeds) > 1:
        groups = {name: name.removesuffix(f"-seed-{recipe.seed}") for name, recipe in named.items()}
    return Plan(named, groups, {"kind": "halving", "first": first} if halving else {"kind": "grid"}, {}, {})


def sweep(
    prepared: Prepared,
    what: Plan | Grid | Mapping[str, Recipe] | Sequence[Recipe] | None = None,
    folder: Path | str | None = None,
    *,
    executor: Executor | Literal["processes", "in-process"] = "processes",
    workers: int | None = None,
    time_limit_s: float | None = None,
    retry_failed: bool = False,
    watch: Watcher | None = None,
) -> Leaderboard:
    """Train many recipes side by side and rank them; resume a sweep that was interrupted.

    Args:
        prepared: The images. Only the train and validation splits are read.
        what: A `plan`, a grid, or recipes; the tutorials' 27 by default.
        folder: The sweep folder; ``sweeps/<name of the prepared folder>`` by default.
        executor: Where trials run.
        workers: Processes; one per core by default.
        time_limit_s: Stop after this many seconds; the next call resumes.
        retry_failed: Retry the trials that failed.
        watch: Told about once a second how the sweep stands.

    Returns:
        The leaderboard; not ``complete`` when the time limit came first.

    Raises:
        RecipeError: A recipe is invalid or does not fit the images; raised before the first trial.
        StoreError: The folder holds another sweep, or something else.
        RunLocked: Another process drives this sweep.
        DiskFull: The folder cannot be written.
        KeyboardInterrupt: Ctrl-C; the same call resumes.
    """
    asked = what if isinstance(what, Plan) else plan(what)
    folder = Path(folder) if folder is not None else Path("sweeps") / prepared.folder.name
    left_out = _infeasible(asked, prepared)
    _refuse_foreign(folder)
    with Lock(folder):
        trials = _begin(folder, asked, prepared, left_out)
        if retry_failed:
            for path in folder.glob("trials/*/failed.json"):
                path.unlink()
        state = SweepState(folder)
        search = _search(state, asked, prepared, trials)
        running = _executor(executor, folder, workers)
        try:
            if isinstance(running, Processes) and (waiting := _count_open(state, asked, trials)):
                running.start(waiting)
            driver = _Driver(state, search, running, prepared, watch)
            if not driver.drive(time_limit_s):
                return leaderboard(folder)
        finally:
            running.close()
        return _finish(folder)


# ------------------------------------------------------------------------------------------------- before
def _named(recipes: Grid | Mapping[str, Recipe] | Sequence[Recipe]) -> dict[str, Recipe]:
    """Return trial name -> recipe."""
    if isinstance(recipes, Grid):
        return recipes.recipes()
    if isinstance(recipes, Mapping):
        return dict(recipes)
    found: dict[str, Recipe] = {}
    for recipe in dict.fromkeys(recipes):
        found[recipe.name if recipe.name not in found else f"{recipe.name}-{recipe.fingerprint[:6]}"] = recipe
    return found


def _infeasible(asked: Plan, prepared: Prepared) -> dict[str, str]:
    """Return trial name -> why its model does not fit the images.

    Raises:
        RecipeError: No recipe fits, or one asks for another input size or color mode.
    """
    left_out = {name: why for name, recipe in asked.recipes.items() if (why := infeasible(recipe, prepared.spec))}
    if asked.recipes and len(left_out) == len(asked.recipes):
        name, reason = next(iter(left_out.items()))
        raise RecipeError(
            f"None of the {len(left_out)} models fits the images; {name}: {reason}", do="prepare larger images"
        )
    for name, recipe in asked.recipes.items():
        if name not in left_out:
            check_feasible(recipe, prepared.spec)  # another input size or color mode
    return left_out


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir() and not (folder / "sweep.json").exists():
        foreign = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
        if foreign:
            raise StoreError(
                "The folder is not empty and not a sweep",
                expected="a new folder, or one of an earlier sweep",
                do="choose another folder",
                folder=str(folder),
                holds=", ".join(foreign[:3]),
            )


def _begin(folder: Path, asked: Plan, prepared: Prepared, left_out: Mapping[str, str]) -> list[Trial]:
    """Record the request in the folder, or check that the folder holds the same one. Return its trials."""
    import numpy as np

    classes = prepared.classes
    labels, training = prepared.labels("validation"), prepared.labels("train")
    majority = int(np.bincount(labels, minlength=len(classes)).argmax())
    trials = [
        planned(name, recipe, spec=prepared.spec, classes=len(classes), group=asked.groups.get(name, name))
        for name, recipe in asked.recipes.items()
        if name not in left_out
    ]
    value = {
        "format": 1,
        "data": prepared.fingerprint,
        "classes": list(classes),
        "spec": prepared.spec.to_json(),
        "images": len(training),
        "validation": {
            "images": len(labels),
            "majority": classes[majority],
            "share": float((labels == majority).mean()) if len(labels) else 0.0,
        },
        "search": asked.search,
        "trials": [as_json(trial) for trial in trials],
        "infeasible": dict(left_out),
    }
    path = folder / "sweep.json"
    if path.exists():
        kept = dict(store.read_json(path))
        kept.pop("prepared", None)
        _refuse_other(kept, store.plain(value), folder)
    else:
        buffer = io.BytesIO()
        np.save(buffer, labels, allow_pickle=False)
        store.write_bytes_atomic(folder / "labels.npy", buffer.getvalue())
        store.write_json_atomic(path, {**value, "prepared": str(prepared.folder)})
    return sorted(trials_of(folder, value), key=lambda trial: -work(trial, len(training)))


def _refuse_other(kept: Mapping[str, Any], asked: Mapping[str, Any], folder: Path) -> None:
    differing = [key for key in sorted(kept.keys() | asked.keys()) if kept.get(key) != asked.get(key)]
    if differing:
        raise StoreError(
            f"The folder holds another sweep: {', '.join(differing)} differ",
            do="choose another folder, or remove that sweep",
            folder=str(folder),
        )


def is_same_sweep(folder: Path, asked: Plan, prepared: Prepared) -> bool:
    """Return whether ``folder`` holds this sweep of these images, finished or not."""
    if not (folder / "sweep.json").is_file():
        return False
    kept = store.read_json(folder / "sweep.json")
    names = [trial["name"] for trial in kept["trials"]] + list(kept["infeasible"])
    same = kept["data"] == prepared.fingerprint and kept["search"] == store.plain(asked.search)
    recipes = {trial["name"]: trial["recipe"] for trial in kept["trials"]}
    return bool(
        same
        and sorted(names) == sorted(asked.recipes)
        and all(store.plain(asked.recipes[name].to_json()) == recipe for name, recipe in recipes.items())
    )


def _search(state: SweepState, asked: Plan, prepared: Prepared, trials: Sequence[Trial]) -> Search:
    kind, settings = asked.search["kind"], asked.search
    if kind == "grid":
        return All(state, trials)
    if kind == "halving":
        return Halving(state, trials, first=int(settings["first"]))
    return Optuna(
        state,
        asked.space,
        fixed=asked.fixed,
        spec=prepared.spec,
        classes=len(prepared.classes),
        count=int(settings["count"]),
        seed=int(settings["seed"]),
        halving=bool(settings["halving"]),
        first=int(settings["first"]),
    )


def _executor(executor: Executor | str, folder: Path, workers: int | None) -> Executor:
    if executor == "in-process":
        return InProcess()
    if executor == "processes":
        return Processes(workers, logs=folder / "log")
    if isinstance(executor, str):
        raise ValueError(
            f"Unknown executor. Expected: processes, in-process or an Executor. Received: executor={executor!r}"
        )
    return executor


def _count_open(state: SweepState, asked: Plan, trials: Sequence[Trial]) -> int:
    if asked.search["kind"] == "optuna":
        return int(asked.search["count"])
    return sum(not state.over(trial.name) for trial in trials)


# ------------------------------------------------------------------------------------------------- while
class _Driver:
    """Gives assignments to an executor until there are none."""

    def __init__(
        self, state: SweepState, search: Search, executor: Executor, prepared: Prepared, watch: Watcher | None
    ) -> None:
        self._state, self._search, self._executor, self._prepared = state, search, executor, prepared
        self._watch, self._next_look = watch, 0.0
        self._busy: dict[str, Assignment] = {}
        self._again: list[Assignment] = []
        self._deaths: dict[str, int] = {}
        self._epochs: dict[str, int] = {}  # how many a trial had when it was submitted

    def drive(self, time_limit_s: float | None) -> bool:
        """Return whether all trials are over; ``False`` when the time limit came first."""
        limit = None if time_limit_s is None else time.monotonic() + time_limit_s
        while True:
            if limit is not None and time.monotonic() >= limit:
                return self._next() is None and not self._busy
            while len(self._busy) < self._executor.slots and (assigned := self._next()) is not None:
                self._submit(assigned)
            if not self._busy:
                self._tell(at_once=True)
                return True
            self._tell()
            wait = _LOOK_S if limit is None else min(_LOOK_S, max(0.0, limit - time.monotonic()))
            for outcome in self._executor.poll(wait):
                self._ended(outcome)

    def _next(self) -> Assignment | None:
        return self._again.pop(0) if self._again else self._search.next(self._busy)

    def _submit(self, assigned: Assignment) -> None:
        trial = assigned.trial
        run = self._state.run(trial.name)
        self._busy[trial.name] = assigned
        self._epochs[trial.name] = len(run.history)
        self._executor.submit(
            {
                "name": trial.name,
                "prepared": str(self._prepared.folder),
                "data": self._prepared.fingerprint,
                "recipe": trial.recipe,
                "folder": str(run.folder),
                "until": assigned.until,
            }
        )

    def _ended(self, outcome: Outcome) -> None:
        assigned = self._busy.pop(outcome.name)
        if outcome.state != "died":
            return
        # A process that is killed now and then loses an epoch; a model that crashes its process does so every time.
        run = self._state.run(outcome.name)
        further = len(run.history) > self._epochs[outcome.name]
        deaths = self._deaths[outcome.name] = 1 if further else self._deaths.get(outcome.name, 0) + 1
        if deaths >= DEATHS:
            fail(run.folder, f"{outcome.reason}, {deaths} times in a row")
        else:
            self._again.append(assigned)

    def _tell(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._watch is not None and (at_once or now >= self._next_look):
            self._watch(look(self._state.folder))
            took = time.monotonic() - now
            self._next_look = now + max(_LOOK_S, took / _SHARE_OF_LOOKING)


# ------------------------------------------------------------------------------------------------- after
def _finish(folder: Path) -> Leaderboard:
    """Remove the checkpoints of dropped trials and write the leaderboard, which marks the sweep as complete."""
    for name in SweepState(folder).dropped:
        shutil.rmtree(folder / "trials" / name / "checkpoints", ignore_errors=True)
    board = leaderboard(folder)
    value = {**board.to_json(), "complete": True}
    path = folder / "leaderboard.json"
    if not path.exists() or store.read_json(path) != store.plain(value):
        store.write_json_atomic(path, value)
    return leaderboard(folder)
