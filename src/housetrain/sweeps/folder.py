"""A sweep is one folder: the request, and a run folder for each trial.

In: the folder, finished or not. Out: the request, its trials and the decisions about them, as plain values. It does
not know how trials are chosen, trained or ranked, and never writes.

```
sweep.json          the request: data, search, trials by name and in order, recipes that do not fit the images
asked.jsonl         trials that a search proposed, one line each
decisions.jsonl     trials that were stopped early, and why
labels.npy          class indices of the validation images
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
    """One training of a sweep.

    Attributes:
        name: Unique within the sweep; the name of its run folder.
        group: Trials that differ only in their seed share a group, and are one row of the leaderboard.
        recipe: JSON-plain.
        parameters: Weights of the model, where they are known before it is built.
        flops: Floating-point operations of one forward pass of one image, where they are known.
    """

    name: str
    group: str
    recipe: dict[str, Any]
    parameters: int | None = None
    flops: int | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trial:
        """Return the trial that `_asdict` wrote; further keys are ignored."""
        return cls(**{name: value[name] for name in cls._fields if name in value})


def read_sweep(folder: Path) -> dict[str, Any]:
    """Return the request of a sweep.

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
    """Return the trials of a sweep in order: those of its grid, then those that a search proposed."""
    lines = [*sweep["trials"], *store.read_lines(folder / "asked.jsonl")]
    return [Trial.from_json(line) for line in lines if not line.get("infeasible")]


def dropped_in(folder: Path) -> dict[str, str]:
    """Return trial name -> why it was stopped early."""
    decisions = store.read_lines(folder / "decisions.jsonl")
    return {name: str(line["reason"]) for line in decisions for name in line["dropped"]}


def labels_of(folder: Path) -> np.ndarray | None:
    """Return the class indices of the validation images, int ``(n,)``; ``None`` before they are written."""
    import numpy as np

    path = folder / "labels.npy"
    return np.load(path) if path.is_file() else None
