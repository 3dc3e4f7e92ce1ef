from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from housetrain.training.clock import Clock
from housetrain.training.history import HistoryFile, number_of, unit_of


def test_the_best_row_is_the_first_with_the_smallest_loss(tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "history.jsonl")
    assert (history.best, history.waited, len(history)) == (None, 0, 0)
    for number, loss in enumerate([0.5, 0.3, 0.3, 0.4], 1):
        history.append({"epoch": number, "val_loss": loss})
    assert history.best == {"epoch": 2, "val_loss": 0.3} and history.waited == 2
    history.append({"epoch": 5, "val_loss": 0.2})
    assert history.waited == 0
    assert [json.loads(line)["epoch"] for line in history.path.read_text().splitlines()] == [1, 2, 3, 4, 5]


def test_rows_that_will_be_trained_again_leave_the_file(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    rows = [{"epoch": 1, "val_loss": 0.5}, {"epoch": 2, "val_loss": 0.4}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"epoch": 3, "val')
    history = HistoryFile(path)
    history.restore(rows[:1])
    history.append({"epoch": 2, "val_loss": 0.3})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [rows[0], {"epoch": 2, "val_loss": 0.3}]
    HistoryFile(path).restore([])
    assert path.read_bytes() == b""


def test_rows_count_epochs_or_steps() -> None:
    assert (unit_of([]), unit_of([{"epoch": 1}]), unit_of([{"step": 1}])) == ("epoch", "epoch", "step")
    assert (number_of({"epoch": 3}), number_of({"step": 4, "l2": 0.1})) == (3, 4)


def test_the_clock_counts_earlier_processes() -> None:
    clock = Clock(time.monotonic() - 5.0, 20.0)
    assert clock.seconds == pytest.approx(5.0, abs=0.5) and not clock.is_over
    assert clock.at_most(100.0) == pytest.approx(15.0, abs=0.5) and clock.at_most(3.0) == 3.0
    clock.before = 16.0
    assert clock.is_over and clock.at_most(100.0) == 0.0
    assert not Clock(time.monotonic() - 1e6).is_over
