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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from housetrain.models.recipe import Recipe
from housetrain.sweeps.executors import Executor, InProcess, Processes
from housetrain.sweeps.folder import SweepFolder
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.sweeps.optuna_search import Optuna
from housetrain.sweeps.plan import Plan, Request, free_folder, plan, refuse_other, request
from housetrain.sweeps.preparations import preparations, spec_for
from housetrain.sweeps.search import All, Assignment, Halving, Search
from housetrain.sweeps.status import look, work
from housetrain.sweeps.trial import Trial, fail
from housetrain.system import json_text, store
from housetrain.system.events import Callback, Callbacks
from housetrain.system.lock import Lock

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.images.input_spec import InputSpec
    from housetrain.sweeps.executors import Outcome

DEATHS = 3
"""How many times in a row a trial may crash its process without finishing an epoch before it is marked failed."""
_LOOK_S = 1.0
_SHARE_OF_LOOKING = 0.03  # of the time at most: reading a large sweep takes a while, and the trials need the cores


def sweep(
    prepared: Prepared,
    grid: Plan | Grid | Mapping[str, Recipe] | Sequence[Recipe] | None = None,
    folder: Path | str | None = None,
    *,
    executor: Executor | Literal["processes", "in-process", "ray"] = "processes",
    workers: int | None = None,
    time_limit_s: float | None = None,
    retry_failed: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Leaderboard:
    """Train many recipes in parallel and rank them; resume a sweep that was interrupted.

    Args:
        prepared: The images, of which the test split is not read. For recipes that ask for another ``image_size`` or
            ``color_mode`` the same split is prepared once more, beside this folder.
        grid: A grid, recipes, or a `plan`; the tutorials' 27 by default.
        folder: The sweep folder; by default ``sweeps/<prepared folder>[-N]``, the first that is free or holds it.
        executor: Where trials run: ``"ray"`` starts Ray here; for a cluster, a `sweeps.ray_executor.RayExecutor`.
        workers: Processes; one per core by default.
        time_limit_s: Stop after this many seconds; the next call resumes.
        retry_failed: Retry the trials that failed.
        callbacks: Follow the sweep: ``progress("sweep", done, total, snapshot=...)`` about once a second, with a
            `housetrain.sweeps.status.Snapshot`.

    Returns:
        The leaderboard; not ``complete`` when the time limit came first.

    Raises:
        RecipeError: A recipe is invalid or does not fit the images; raised before the first trial.
        StoreError: The folder holds another sweep, or something else.
        RunLocked: Another process drives this sweep.
        DiskFull: The folder cannot be written.
        KeyboardInterrupt: Ctrl-C; the same call resumes.
    """
    asked = grid if isinstance(grid, Plan) else plan(grid)
    wanted = request(asked, prepared)
    target = Path(folder) if folder is not None else free_folder(prepared, wanted.value)
    refuse_other(target, wanted.value)
    listeners = Callbacks(callbacks)
    with Lock(target), listeners.stage("sweep", folder=str(target)):
        _begin(target, wanted, prepared, listeners)
        images = _Images.of_plan(prepared, asked, wanted, callbacks)
        if retry_failed:
            for path in target.glob("trials/*/failed.json"):
                path.unlink()
        opened = SweepFolder(target)
        count = int(wanted.value["images"])
        trials = sorted((one for one in wanted.trials if not one.infeasible), key=lambda one: -work(one, count))
        search = _search(opened, asked, prepared, trials)
        running = _executor(executor, target, workers, listeners)
        try:
            if isinstance(running, Processes) and (waiting := _count_open(opened, asked, trials)):
                running.start(waiting)
            driver = _Driver(opened, search, running, images, listeners if callbacks else None)
            if not driver.drive(time_limit_s):
                return leaderboard(target)
        finally:
            running.close()
        return _finish(opened)


# ------------------------------------------------------------------------------------------------- before
def _begin(folder: Path, wanted: Request, prepared: Prepared, listeners: Callbacks) -> None:
    """Record the request in the folder, or check again, now that it is locked, that the folder holds the same one."""
    import numpy as np

    for trial in wanted.trials:
        if trial.infeasible:
            listeners.note(f"Left out: {trial.name}: {trial.infeasible}")
    refuse_other(folder, wanted.value)
    if not (folder / "sweep.json").is_file():
        buffer = io.BytesIO()
        np.save(buffer, prepared.validation.labels, allow_pickle=False)
        store.write_bytes_atomic(folder / "labels.npy", buffer.getvalue())
        store.write_json_atomic(folder / "sweep.json", {**wanted.value, "prepared": str(prepared.folder)})


def _search(sweep: SweepFolder, asked: Plan, prepared: Prepared, trials: Sequence[Trial]) -> Search:
    kind, settings = asked.search["kind"], asked.search
    if kind == "grid":
        return All(sweep, trials)
    if kind == "halving":
        return Halving(sweep, trials, first=int(settings["first"]))
    return Optuna(
        sweep,
        asked.space,
        fixed=asked.fixed,
        spec=prepared.spec,
        classes=len(prepared.classes),
        count=int(settings["count"]),
        seed=int(settings["seed"]),
        halving=bool(settings["halving"]),
        first=int(settings["first"]),
    )


def _executor(executor: Executor | str, folder: Path, workers: int | None, listeners: Callbacks) -> Executor:
    if executor == "in-process":
        return InProcess()
    if executor == "processes":
        return Processes(workers, logs=folder / "log")
    if executor == "ray":
        from housetrain.sweeps.ray_executor import RayExecutor

        return RayExecutor(workers=workers, note=listeners.note)
    if isinstance(executor, str):
        raise ValueError(
            f"Unknown executor. Expected: processes, in-process, ray or an Executor. Received: executor={executor!r}"
        )
    return executor


def _count_open(sweep: SweepFolder, asked: Plan, trials: Sequence[Trial]) -> int:
    if asked.search["kind"] == "optuna":
        return int(asked.search["count"])
    return sum(not sweep.finished(trial.name) for trial in trials)


class _Images(NamedTuple):
    """The prepared images, and those of trials that ask for another size or color."""

    prepared: Prepared
    by_spec: Mapping[InputSpec, Prepared]

    @classmethod
    def of_plan(cls, prepared: Prepared, asked: Plan, wanted: Request, callbacks: Sequence[Callback]) -> _Images:
        fitting = [asked.recipes[trial.name] for trial in wanted.trials if not trial.infeasible]
        return cls(prepared, preparations(prepared, fitting, callbacks))

    def of(self, trial: Trial) -> Prepared:
        return self.by_spec[spec_for(Recipe.from_json(trial.recipe), self.prepared.spec)]


# ------------------------------------------------------------------------------------------------- while
class _Driver:
    """Gives assignments to an executor until there are none."""

    def __init__(
        self, sweep: SweepFolder, search: Search, executor: Executor, images: _Images, listeners: Callbacks | None
    ) -> None:
        self._sweep, self._search, self._executor, self._images = sweep, search, executor, images
        self._listeners, self._next_look = listeners, 0.0
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
                self._report(at_once=True)
                return True
            self._report()
            wait = _LOOK_S if limit is None else min(_LOOK_S, max(0.0, limit - time.monotonic()))
            for outcome in self._executor.poll(wait):
                self._ended(outcome)

    def _next(self) -> Assignment | None:
        return self._again.pop(0) if self._again else self._search.next(self._busy)

    def _submit(self, assigned: Assignment) -> None:
        trial = assigned.trial
        run = self._sweep.run(trial.name)
        self._busy[trial.name] = assigned
        self._epochs[trial.name] = len(run.history)
        prepared = self._images.of(trial)
        self._executor.submit(
            {
                "name": trial.name,
                "prepared": str(prepared.folder),
                "data": prepared.fingerprint,
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
        run = self._sweep.run(outcome.name)
        further = len(run.history) > self._epochs[outcome.name]
        deaths = self._deaths[outcome.name] = 1 if further else self._deaths.get(outcome.name, 0) + 1
        if deaths >= DEATHS:
            fail(run.folder, f"{outcome.reason}, {deaths} times in a row")
        else:
            self._again.append(assigned)

    def _report(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._listeners is not None and (at_once or now >= self._next_look):
            snapshot = look(self._sweep.path)
            self._listeners.progress("sweep", snapshot.done, snapshot.total, snapshot=snapshot)
            took = time.monotonic() - now
            self._next_look = now + max(_LOOK_S, took / _SHARE_OF_LOOKING)


# ------------------------------------------------------------------------------------------------- after
def _finish(sweep: SweepFolder) -> Leaderboard:
    """Remove the checkpoints of its trials and write the leaderboard, which marks the sweep as complete."""
    for trial in sweep.trials():
        if trial.name in sweep.dropped or sweep.run(trial.name).complete:
            shutil.rmtree(sweep.run(trial.name).checkpoints, ignore_errors=True)
    board = leaderboard(sweep.path)
    value = {**board.to_json(), "complete": True}
    path = sweep.path / "leaderboard.json"
    if not path.exists() or store.read_json(path) != json_text.plain(value):
        store.write_json_atomic(path, value)
    return replace(board, complete=True)
