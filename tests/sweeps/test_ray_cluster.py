"""Sweeps on a real Ray cluster of several nodes on this machine: what a dead node and a dead driver cost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import nodes
from sweeps.fakes import small

from housetrain.data.prepare import Prepared
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.sweeps.ray_executor import RayExecutor
from housetrain.system.events import Callback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def cluster() -> Iterator[Any]:
    with nodes(8) as started:
        yield started


def facts(board: Leaderboard) -> list[tuple[object, ...]]:
    """All of a leaderboard that no clock decides."""
    return [(r.rank, r.name, r.state, r.val_loss, r.behind_error, r.val_accuracy, r.epochs, r.tied) for r in board.rows]


def twenty_seven() -> Grid:
    return small(conv=(1,), nodes=tuple(range(2, 11)), dense=(0, 1, 2), epochs=8)


class Killer(Callback):
    """Kills nodes at random moments of a sweep."""

    def __init__(self, cluster: Any, times: int, trials: int) -> None:
        self.cluster, self.random = cluster, random.Random(0)
        self.moments = sorted(self.random.sample(range(1, trials - 3), times))

    def progress(self, stage: str, done: int, total: int, **given: Any) -> None:
        if self.moments and done >= self.moments[0]:
            self.moments.pop(0)
            node = self.cluster.workers.pop(self.random.randrange(len(self.cluster.workers)))
            self.cluster.remove_node(node, allow_graceful=False)


@pytest.mark.parametrize("stored", [False, True], ids=["shared folder", "storage"])
def test_nodes_that_die_cost_no_trial(cluster: Any, digits: Prepared, tmp_path: Path, stored: bool) -> None:
    """27 of 27, in the leaderboard of a sweep in processes, bit for bit, while five of eight nodes are killed."""
    here = sweep(digits, twenty_seven(), tmp_path / "here")
    executor = RayExecutor(cluster.address, storage=str(tmp_path / "bucket") if stored else None, workers=3)
    killer = Killer(cluster, 5, trials=27)
    board = sweep(digits, twenty_seven(), tmp_path / "there", executor=executor, callbacks=[killer])
    assert board.complete and len(board.rows) == 27 and facts(board) == facts(here)
    assert len(cluster.workers) == 3 and not list((tmp_path / "there").rglob(".cluster-*"))


def test_the_driver_may_die_and_nothing_runs_twice(cluster: Any, digits: Prepared, tmp_path: Path) -> None:
    """kill -9 for the driver, three times: the same command continues, and finished trials stay as they are."""
    command = [sys.executable, "-m", "housetrain", "sweep", str(digits.folder), "--output", str(tmp_path / "s"),
               "--executor", "ray", "--address", cluster.address, "--workers", "3", "--conv", "1", "--nodes", "2,4,6",
               "--epochs", "8", "--batch-size", "16", "--quiet"]  # fmt: skip
    known: dict[str, int] = {}
    for strike in range(4):
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while driver.poll() is None and len(finished(tmp_path / "s")) < 9:
            if strike < 3 and len(finished(tmp_path / "s")) >= 2 * (strike + 1):
                driver.kill()
            time.sleep(0.2)
        assert driver.wait(300) == (0 if strike == 3 else -signal.SIGKILL)
        now = finished(tmp_path / "s")
        assert {name: now[name] for name in known} == known
        known = now
    board = leaderboard(tmp_path / "s")
    assert len(known) == 9 and {row.state for row in board.rows} == {"complete"}


def finished(folder: Path) -> dict[str, int]:
    """What the finished trials have on disk: trained again, they would differ."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("trials/*/result.json")}
