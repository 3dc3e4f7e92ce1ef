"""A sweep is one folder: the request, and a run folder for each trial.

In: the folder, finished or not. Out: the request, its trials, and the decisions about them. It does not know how trials
are chosen, trained or ranked. All state is on disk: any process may read a sweep that another one drives.

```
sweep.json          the request: data, search, trials by name and in order; trials that do not fit the images say why
asked.jsonl         trials that a search proposed, one line each
decisions.jsonl     trials that were stopped early, and why
labels.npy          class indices of the validation images
trials/<name>/      one run folder a trial; trial.json beside its result: latency
leaderboard.json    written last: its presence means complete
```
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from housetrain.errors import CorruptError, IncompleteError
from housetrain.sweeps.trial import Trial, check_name
from housetrain.system import json_types, store
from housetrain.system.files import inside
from housetrain.system.near_folders import instead_of
from housetrain.training.run import Run

if TYPE_CHECKING:
    import numpy as np


class _Search(TypedDict):
    kind: str


class _Validation(TypedDict):
    images: int
    majority: str
    share: float


class _Request(TypedDict):
    """What a request holds at least."""

    trials: list[dict[str, Any]]
    search: _Search
    validation: _Validation
    images: int
    classes: list[str]


def _single_runs(folder: Path) -> str:
    """Return what to do with a folder that holds trainings of no sweep."""
    if any(folder.glob("*/recipe.json")):
        return f"`housetrain runs {shlex.quote(str(folder))}` lists the runs in it"
    return ""


class SweepFolder:
    """A sweep folder. The request and the early stops are read once, everything else when asked.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @functools.cached_property
    def request(self) -> dict[str, Any]:
        """What the sweep was asked to do.

        Raises:
            IncompleteError: It is not a sweep folder.
            CorruptError: It does not describe a sweep.
        """
        if not (self.path / "sweep.json").is_file():
            raise IncompleteError(
                "This is not a sweep folder" if self.path.is_dir() else "There is no such sweep folder",
                expected="a folder with sweep.json, as `housetrain sweep` writes it",
                do=instead_of(self.path, "sweep.json", otherwise=_single_runs(self.path)),
                folder=str(self.path),
            )
        path = self.path / "sweep.json"
        found: dict[str, Any] = json_types.must_fit(store.read_json(path), _Request, path)
        return found

    @property
    def complete(self) -> bool:
        """Whether the sweep has ended."""
        return (self.path / "leaderboard.json").is_file()

    def proposed(self) -> list[dict[str, Any]]:
        """Return the trials that a search proposed, in order, with the parameters it proposed for them."""
        return store.read_lines(self.path / "asked.jsonl")

    def trials(self) -> list[Trial]:
        """Return all trials in order: those of the request, then those that a search proposed."""
        return [Trial.from_json(line) for line in [*self.request["trials"], *self.proposed()]]

    def labels(self) -> np.ndarray | None:
        """Return the class indices of the validation images, int ``(n,)``; ``None`` before they are written.

        Raises:
            CorruptError: They are something else.
        """
        from housetrain.system.arrays import load_npy

        path = self.path / "labels.npy"
        if not path.is_file():
            return None
        found: np.ndarray = load_npy(path)
        most = len(self.request["classes"]) - 1
        if found.dtype.kind not in "iu" or found.ndim != 1 or found.min(initial=0) < 0 or found.max(initial=0) > most:
            raise CorruptError(
                "The labels of the sweep are not class indices", do="start another sweep", path=str(path)
            )
        return found

    # ------------------------------------------------------------------------------------- its trials
    def run(self, name: str) -> Run:
        """Return the run of a trial, started or not.

        Raises:
            CorruptError: The name or a link leads out of the sweep folder.
        """
        check_name(name)
        return Run(inside(self.path, f"trials/{name}"))

    def finished(self, name: str) -> bool:
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

    @functools.cached_property
    def dropped(self) -> dict[str, str]:
        """Trial name -> why it was stopped early.

        Raises:
            CorruptError: A decision cannot be read, or names something else than a trial.
        """
        path = self.path / "decisions.jsonl"
        try:
            found = {name: str(line["reason"]) for line in store.read_lines(path) for name in line["dropped"]}
        except (KeyError, TypeError) as error:
            raise CorruptError("The early stops of the sweep cannot be read", path=str(path)) from error
        for name in found:
            check_name(name)
        return found

    def drop(self, epochs: int, names: Iterable[str], *, kept: Sequence[str] = ()) -> None:
        """Record that trials stop early after ``epochs`` epochs because others were better."""
        reason = f"after {epochs} {'epoch' if epochs == 1 else 'epochs'} others were better"
        new = [name for name in names if name not in self.dropped]
        if new:
            line = {"epochs": epochs, "kept": list(kept), "dropped": new, "reason": reason}
            store.append_line(self.path / "decisions.jsonl", line)
        self.dropped.update(dict.fromkeys(new, reason))
