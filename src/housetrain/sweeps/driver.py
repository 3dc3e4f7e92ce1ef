"""Sweep: many recipes on the same images, trained side by side, ranked by the validation split.

In: prepared images, a `Grid` (or recipes, or a space to search), a folder. Out: a `Leaderboard`; each trial is an
ordinary run folder. It does not know how a trial is trained, where (an `Executor` does), what is next (a `Search`
does), nor how results are shown; it never opens the test split.

    sweep(Prepared.load("prepared/PetImages-50x50-grayscale"), Grid())       # the tutorials' 27, on all cores

Everything it must remember is on disk: call it again after a kill and it goes on; finished trials never run again.
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
from housetrain.sweeps.leaderboard import Leaderboard
from housetrain.sweeps.search import All, Book, Halving, Optuna, Search, Task, check_space, entry, space_to_json
from housetrain.sweeps.status import Snapshot, look, work
from housetrain.sweeps.trial import fail
from housetrain.system import store
from housetrain.system.lock import Lock

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.sweeps.executors import Outcome

DEATHS = 3
"""So many times a trial may take its process with it without finishing one more epoch before it is marked failed."""
_LOOK_S = 1.0
_SHARE_OF_LOOKING = 0.03  # reading a large sweep takes a while; the trials need the cores more
Watcher = Callable[[Snapshot], None]


class Plan(NamedTuple):
    """What a sweep is asked to do.

    Attributes:
        cells: Trial name -> (cell name, recipe), in order; empty where a search asks for them.
        search: ``kind`` (grid, halving or optuna) and its settings, JSON-plain.
        space: Of a search: setting -> `Range` or values.
        fixed: Of a search: settings that all trials share.
    """

    cells: dict[str, tuple[str, Recipe]]
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
    """Return what a sweep shall do, checked.

    Args:
        recipes: A grid, or recipes (by name, or in a row); the tutorials' 27 by default.
        halving: Stop the weaker trials early.
        first: With ``halving``: epochs before the first look.
        space: Search here with Optuna instead of training all of ``recipes``: setting -> list of values or
            `housetrain.sweeps.search.Range`.
        fixed: With ``space``: recipe fields that all trials share, ``model`` among them.
        trials: With ``space``: how many.
        seed: With ``space``: of the sampler.

    Raises:
        RecipeError: A recipe is wrong, or none is left.
    """
    if space is not None:
        fixed = {"model": "cnn", **(fixed or {})}
        check_space(space, fixed)
        kind = {"kind": "optuna", "count": trials, "seed": seed, "halving": halving, "first": first}
        asked = {**kind, "space": space_to_json(space), "fixed": store.plain(fixed)}
        return Plan({}, asked, dict(space), fixed)
    cells = _cells(Grid() if recipes is None else recipes)
    if not cells:
        raise RecipeError("There is nothing to train", expected="at least one recipe")
    search = {"kind": "halving", "first": first} if halving else {"kind": "grid"}
    return Plan(cells, search, {}, {})


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
    """Train many recipes, or go on with a sweep that was interrupted, and rank them.

    Args:
        prepared: The images. The train and validation splits only are looked at.
        what: A `plan`, a grid, or recipes; the tutorials' 27 by default.
        folder: The sweep folder; ``sweeps/<name of the prepared folder>`` by default.
        executor: Where trials run.
        workers: Processes; one a core by default.
        time_limit_s: Stop after so many seconds of this call. What is unfinished goes on with the next call.
        retry_failed: Give trials that failed another try.
        watch: Told about once a second how the sweep stands.

    Returns:
        The leaderboard; not ``complete`` when the time limit came first.

    Raises:
        RecipeError: A recipe is wrong or does not fit, before the first trial.
        StoreError: The folder holds another sweep, or something else.
        RunLocked: Another process drives this sweep.
        DiskFull: The folder cannot be written.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    asked = what if isinstance(what, Plan) else plan(what)
    folder = Path(folder) if folder is not None else Path("sweeps") / prepared.folder.name
    feasible, left_out = _feasible(asked, prepared)
    _refuse_foreign(folder)
    with Lock(folder):
        trials = _begin(folder, asked, prepared, feasible, left_out)
        if retry_failed:
            for path in folder.glob("trials/*/failed.json"):
                path.unlink()
        book = Book(folder)
        search = _search(book, asked, prepared, trials)
        running = _executor(executor, folder, workers)
        try:
            if isinstance(running, Processes) and (waiting := _count_open(book, asked, trials)):
                running.start(waiting)
            driver = _Driver(book, search, running, prepared, watch)
            if not driver.drive(time_limit_s):
                return Leaderboard.read(folder)
        finally:
            running.close()
        return _finish(folder)


# ------------------------------------------------------------------------------------------------- before
def _cells(recipes: Grid | Mapping[str, Recipe] | Sequence[Recipe]) -> dict[str, tuple[str, Recipe]]:
    """Return trial name -> (cell name, recipe). The seeds of a grid share a cell."""
    if isinstance(recipes, Grid):
        several = len(recipes.seeds) > 1
        return {
            cell.name: (cell.name.removesuffix(f"-seed-{cell.recipe.seed}") if several else cell.name, cell.recipe)
            for cell in recipes.cells()
        }
    if isinstance(recipes, Mapping):
        return {name: (name, recipe) for name, recipe in recipes.items()}
    found: dict[str, tuple[str, Recipe]] = {}
    for recipe in dict.fromkeys(recipes):
        name = recipe.name if recipe.name not in found else f"{recipe.name}-{recipe.fingerprint[:6]}"
        found[name] = (name, recipe)
    return found


def _feasible(asked: Plan, prepared: Prepared) -> tuple[dict[str, tuple[str, Recipe]], dict[str, str]]:
    """Return the cells whose nets fit the images, and why the others do not."""
    left_out = {
        name: reason for name, (_, recipe) in asked.cells.items() if (reason := infeasible(recipe, prepared.spec))
    }
    feasible = {name: cell for name, cell in asked.cells.items() if name not in left_out}
    if asked.cells and not feasible:
        name, reason = next(iter(left_out.items()))
        raise RecipeError(
            f"None of the {len(left_out)} nets fits the images; {name}: {reason}", do="prepare larger images"
        )
    for _, recipe in feasible.values():
        check_feasible(recipe, prepared.spec)  # another size or color than the images have
    return feasible, left_out


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir() and not (folder / "sweep.json").exists():
        foreign = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
        if foreign:
            raise StoreError(
                "The folder is not empty and is no sweep",
                expected="a new folder, or one of an earlier sweep",
                do="name another one",
                folder=str(folder),
                holds=", ".join(foreign[:3]),
            )


def _begin(
    folder: Path,
    asked: Plan,
    prepared: Prepared,
    feasible: Mapping[str, tuple[str, Recipe]],
    left_out: Mapping[str, str],
) -> list[Trial]:
    """Write down what the sweep is, or check that the folder's is this one."""
    import numpy as np

    classes = prepared.classes
    labels, training = prepared.labels("validation"), prepared.labels("train")
    majority = int(np.bincount(labels, minlength=len(classes)).argmax())
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
        "trials": [
            entry(name, recipe, spec=prepared.spec, classes=len(classes), cell=cell)
            for name, (cell, recipe) in feasible.items()
        ],
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
    trials = trials_of(folder, value)
    return sorted(trials, key=lambda trial: -work(trial, len(training)))


def _refuse_other(kept: Mapping[str, Any], asked: Mapping[str, Any], folder: Path) -> None:
    differing = [key for key in sorted(kept.keys() | asked.keys()) if kept.get(key) != asked.get(key)]
    if differing:
        raise StoreError(
            f"The folder holds a sweep that is not this one: {', '.join(differing)} differ",
            do="name another folder, or remove that sweep",
            folder=str(folder),
        )


def is_same_sweep(folder: Path, asked: Plan, prepared: Prepared) -> bool:
    """Return whether ``folder`` holds this very sweep of these very images, finished or not."""
    if not (folder / "sweep.json").is_file():
        return False
    kept = store.read_json(folder / "sweep.json")
    names = [trial["name"] for trial in kept["trials"]] + list(kept["infeasible"])
    same = kept["data"] == prepared.fingerprint and kept["search"] == store.plain(asked.search)
    recipes = {trial["name"]: trial["recipe"] for trial in kept["trials"]}
    return bool(
        same
        and sorted(names) == sorted(asked.cells)
        and all(store.plain(asked.cells[name][1].to_json()) == recipe for name, recipe in recipes.items())
    )


def _search(book: Book, asked: Plan, prepared: Prepared, trials: Sequence[Trial]) -> Search:
    kind, settings = asked.search["kind"], asked.search
    if kind == "grid":
        return All(book, trials)
    if kind == "halving":
        return Halving(book, trials, first=int(settings["first"]))
    return Optuna(
        book,
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
        raise ValueError(f"no such executor: {executor!r}; processes, in-process or an Executor")
    return executor


def _count_open(book: Book, asked: Plan, trials: Sequence[Trial]) -> int:
    if asked.search["kind"] == "optuna":
        return int(asked.search["count"])
    return sum(not book.over(trial.name) for trial in trials)


# ------------------------------------------------------------------------------------------------- while
class _Driver:
    """Gives tasks to an executor until there are none."""

    def __init__(
        self, book: Book, search: Search, executor: Executor, prepared: Prepared, watch: Watcher | None
    ) -> None:
        self._book, self._search, self._executor, self._prepared = book, search, executor, prepared
        self._watch, self._look_again = watch, 0.0
        self._busy: dict[str, Task] = {}
        self._again: list[Task] = []
        self._deaths: dict[str, int] = {}
        self._epochs: dict[str, int] = {}  # how many a trial had when it was given out

    def drive(self, time_limit_s: float | None) -> bool:
        """Return ``True`` when all is done, ``False`` when the time was over before that."""
        limit = None if time_limit_s is None else time.monotonic() + time_limit_s
        while True:
            if limit is not None and time.monotonic() >= limit:
                return self._next() is None and not self._busy
            while len(self._busy) < self._executor.slots and (task := self._next()) is not None:
                self._give(task)
            if not self._busy:
                self._tell(at_once=True)
                return True
            self._tell()
            wait = _LOOK_S if limit is None else min(_LOOK_S, max(0.0, limit - time.monotonic()))
            for outcome in self._executor.poll(wait):
                self._ended(outcome)

    def _next(self) -> Task | None:
        return self._again.pop(0) if self._again else self._search.next(self._busy)

    def _give(self, task: Task) -> None:
        name = task.trial.name
        self._busy[name] = task
        self._epochs[name] = len(self._book.run(name).history)
        self._executor.submit(
            {
                "name": name,
                "prepared": str(self._prepared.folder),
                "data": self._prepared.fingerprint,
                "recipe": task.trial.recipe,
                "folder": str(self._book.run(name).folder),
                "until": task.until,
            }
        )

    def _ended(self, outcome: Outcome) -> None:
        task = self._busy.pop(outcome.name)
        if outcome.state != "died":
            return
        # A process that is killed now and then loses an epoch; a net that kills its process does so every time.
        run = self._book.run(outcome.name)
        further = len(run.history) > self._epochs[outcome.name]
        deaths = self._deaths[outcome.name] = 1 if further else self._deaths.get(outcome.name, 0) + 1
        if deaths >= DEATHS:
            fail(run.folder, f"{outcome.reason}, {deaths} times over")
        else:
            self._again.append(task)

    def _tell(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._watch is not None and (at_once or now >= self._look_again):
            self._watch(look(self._book.folder))
            took = time.monotonic() - now
            self._look_again = now + max(_LOOK_S, took / _SHARE_OF_LOOKING)


# ------------------------------------------------------------------------------------------------- after
def _finish(folder: Path) -> Leaderboard:
    """Remove what nobody goes on from, and write the leaderboard, which says that the sweep is complete."""
    for name in Book(folder).dropped:
        shutil.rmtree(folder / "trials" / name / "checkpoints", ignore_errors=True)
    board = Leaderboard.read(folder)
    value = {**board.to_json(), "complete": True}
    path = folder / "leaderboard.json"
    if not path.exists() or store.read_json(path) != store.plain(value):
        store.write_json_atomic(path, value)
    return Leaderboard.read(folder)
