"""Sweeps on a real Ray cluster of three nodes on this machine: what a dead node and a dead driver cost."""

from __future__ import annotations

import random
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
from housetrain.sweeps.leaderboard import Leaderboard
from housetrain.sweeps.ray_executor import RayExecutor
from housetrain.system.events import Callback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def cluster() -> Iterator[Any]:
    with nodes(3) as started:
        yield started


def facts(board: Leaderboard) -> list[tuple[object, ...]]:
    """All of a leaderboard that no clock decides."""
    return [(r.rank, r.name, r.state, r.val_loss, r.behind_error, r.val_accuracy, r.epochs, r.tied) for r in board.rows]


def twenty_seven(**more: Any) -> Grid:
    return small(conv=(1, 2, 3), nodes=(2, 4, 6), dense=(0, 1, 2), epochs=4, **more)


class Killer(Callback):
    """Kills a node at random moments of a sweep, and adds another one."""

    def __init__(self, cluster: Any, times: int, seed: int = 0) -> None:
        self.cluster, self.times, self.random = cluster, times, random.Random(seed)
        self.killed, self._next = 0, 0.0

    def progress(self, stage: str, done: int, total: int, **given: Any) -> None:
        live = given["snapshot"].live
        if self.killed == self.times or not live or time.monotonic() < self._next:
            return
        node = self.cluster.workers.pop(self.random.randrange(len(self.cluster.workers)))
        self.cluster.remove_node(node, allow_graceful=False)
        self.cluster.workers.append(self.cluster.add_node(num_cpus=1, wait=False))
        self.killed += 1
        self._next = time.monotonic() + self.random.uniform(5, 15)


@pytest.mark.parametrize("stored", [False, True], ids=["shared folder", "storage"])
def test_nodes_that_die_cost_no_trial(cluster: Any, digits: Prepared, tmp_path: Path, stored: bool) -> None:
    """27 of 27, in the leaderboard of a sweep in processes, bit for bit."""
    here = sweep(digits, twenty_seven(), tmp_path / "here")
    storage = str(tmp_path / "bucket") if stored else None
    killer = Killer(cluster, 5)
    executor = RayExecutor(cluster.address, storage=storage, workers=3)
    if stored:
        killer._next, killer.times = time.monotonic() + 1e9, 0  # a sweep with storage shows no running trials
        assert not killer.killed
    board = sweep(digits, twenty_seven(), tmp_path / "there", executor=executor, callbacks=[killer])
    assert board.complete and len(board.rows) == 27 and facts(board) == facts(here)
    assert killer.killed == killer.times
