"""The history of a training: one row of numbers per epoch, or per strength of a regularization path.

In: rows, plain dicts with ``val_loss``. Out: ``history.jsonl`` in the run folder, and what follows from the rows. It
does not know where the numbers come from.

```
{"epoch": 1, "loss": ..., "accuracy": ..., "val_loss": ..., "val_accuracy": ..., "lr": ..., ...}   fitted by epochs
{"step": 1, "l2": 1000.0, "loss": ..., "accuracy": ..., "val_loss": ..., "val_accuracy": ..., ...} a path
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from housetrain.system import json_text, store

Unit = Literal["epoch", "step"]
Row = dict[str, Any]


class HistoryFile:
    """The rows of one run, in memory and on disk.

    Args:
        path: ``history.jsonl``.

    Attributes:
        rows: All rows so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def best(self) -> Row | None:
        """The first row with the smallest validation loss, or ``None`` before the first row."""
        return min(self.rows, key=lambda row: float(row["val_loss"]), default=None)

    @property
    def waited(self) -> int:
        """Number of rows since the best one; 0 if the last row is the best, or there is none."""
        best = self.best
        return 0 if best is None else len(self.rows) - 1 - self.rows.index(best)

    def restore(self, rows: Sequence[Row]) -> None:
        """Start from ``rows``, and remove from the file what comes after them: it will be trained again."""
        self.rows = list(rows)
        kept = b"".join(json_text.encode(row, indent=None) for row in self.rows)
        if (self.path.read_bytes() if self.path.exists() else b"") != kept:
            store.write_bytes_atomic(self.path, kept)

    def append(self, row: Row) -> None:
        """Add a row, durably."""
        self.rows.append(row)
        store.append_line(self.path, row)


def unit_of(rows: Sequence[Mapping[str, Any]]) -> Unit:
    """Return what the rows of a history count: epochs, or steps of a regularization path."""
    return "step" if rows and "step" in rows[0] else "epoch"


def number_of(row: Mapping[str, Any]) -> int:
    """Return the number of a row, from 1: its epoch, or its step."""
    return int(row["step"] if "step" in row else row["epoch"])
