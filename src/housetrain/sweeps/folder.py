"""A sweep is one folder: what was asked for, and a run folder for each trial.

In: the folder, finished or not. Out: what was asked for, as plain values. It does not know how trials are chosen,
trained or ranked, and never writes.

```
sweep.json          what was asked for: data, search, trials by name and order, cells that do not fit
asked.jsonl         trials that a search proposed, one line each
decisions.jsonl     trials that were stopped early, and why
labels.npy          class numbers of the validation images
trials/<name>/      one run folder a trial; trial.json beside its result: latency
leaderboard.json    written last: its presence means complete
```
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from housetrain.errors import IncompleteError
from housetrain.system import store

if TYPE_CHECKING:
    import numpy as np


class Trial(NamedTuple):
    """One run of a sweep: its name, the cell it belongs to (all seeds of a cell share it), recipe and cost."""

    name: str
    cell: str
    recipe: dict[str, Any]
    parameters: int | None = None
    flops: int | None = None


def read_sweep(folder: Path) -> dict[str, Any]:
    """Return what a sweep was asked for.

    Raises:
        IncompleteError: It is not a sweep folder.
    """
    path = folder / "sweep.json"
    if not path.is_file():
        raise IncompleteError(
            "This is not a sweep folder" if folder.is_dir() else "There is no such sweep folder",
            expected="a folder with sweep.json, as `housetrain sweep` writes it",
            folder=str(folder),
        )
    return dict(store.read_json(path))


def trials_of(folder: Path, sweep: Mapping[str, Any]) -> list[Trial]:
    """Return the trials of a sweep in their order: those of its grid, then those a search asked for."""
    entries = [*sweep["trials"], *store.read_lines(folder / "asked.jsonl")]
    return [
        Trial(entry["name"], entry["cell"], entry["recipe"], entry.get("parameters"), entry.get("flops"))
        for entry in entries
        if not entry.get("infeasible")
    ]


def dropped_in(folder: Path) -> dict[str, str]:
    """Return trial -> why it was stopped early."""
    decisions = store.read_lines(folder / "decisions.jsonl")
    return {name: str(line["reason"]) for line in decisions for name in line["dropped"]}


def labels_of(folder: Path) -> np.ndarray | None:
    """Return the class numbers of the validation images, int ``(n,)``; ``None`` before they are written."""
    import numpy as np

    path = folder / "labels.npy"
    return np.load(path) if path.is_file() else None
