"""Executors: one contract for all, and worker processes that may die."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sweeps.fakes import small

from housetrain.data.prepare import Prepared
from housetrain.models.recipe import Recipe
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.executors import Executor, InProcess, Outcome, Processes, worker_environment
from housetrain.sweeps.ray_executor import RayExecutor
from housetrain.system import store
from housetrain.system.events import Callback
from housetrain.training.run import Run

EXECUTORS: dict[str, Callable[[Path], Executor]] = {
    "in-process": lambda folder: InProcess(),
    "processes": lambda folder: Processes(2, logs=folder, trials=2),
    "ray": lambda folder: RayExecutor(),
    "ray with storage": lambda folder: RayExecutor(storage=str(folder / "storage")),
}
"""On Ray without its processes; tests/sweeps/test_ray_cluster.py has the real one."""


@pytest.mark.usefixtures("fake_ray")
@pytest.mark.parametrize("kind", EXECUTORS)
def test_every_executor_runs_pauses_fails_and_goes_on(kind: str, digits: Prepared, tmp_path: Path) -> None:
    """The contract: JSON in, run folder out; a job that fails is an outcome; close may come twice."""
    if "storage" in kind:
        pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    executor = EXECUTORS[kind](tmp_path / "log")
    recipe = Recipe.of("cnn", conv=1, nodes=4, epochs=3, batch_size=16, deterministic=True)

    def job(name: str, until: int | None = None, *, model: str = "cnn", data: str = "") -> dict[str, object]:
        settings = {**recipe.to_json(), "model": model}
        value = {"name": name, "prepared": str(digits.folder), "data": data or digits.fingerprint, "recipe": settings}
        return {**value, "folder": str(tmp_path / name), "until": until}

    def run(*jobs: dict[str, object]) -> dict[str, Outcome]:
        ended: dict[str, Outcome] = {}
        waiting = list(jobs)
        under_way = 0
        while waiting or under_way:
            while waiting and under_way < executor.slots:
                executor.submit(waiting.pop(0))
                under_way += 1
            for outcome in executor.poll(60.0):
                ended[outcome.name] = outcome
                under_way -= 1
        return ended

    try:
        first = run(job("whole"), job("part", until=1), job("wrong", model="nothing"), job("elsewhere", data="x"))
        assert first["whole"] == Outcome("whole", "complete")
        assert first["part"].state == "paused" and len(Run(tmp_path / "part").history) == 1
        assert first["wrong"].state == "failed" and "nothing" in first["wrong"].reason
        assert first["elsewhere"].state == "failed" and "have changed since" in first["elsewhere"].reason
        assert Run(tmp_path / "wrong").failure == first["wrong"].reason
        second = run(job("part"), job("whole"))
        assert second["part"].state == "complete" and second["whole"].state == "complete"
    finally:
        executor.close()
        executor.close()
    whole, part = Run(tmp_path / "whole"), Run(tmp_path / "part")
    for row, other in zip(whole.history, part.history, strict=True):
        assert row["val_loss"] == other["val_loss"]
    outputs = [np.load(run.folder / "validation.npy") for run in (whole, part)]
    assert np.array_equal(*outputs) and outputs[0].shape == (len(digits.validation.labels), 1)
    assert store.read_json(tmp_path / "whole" / "trial.json")["latency_ms"] > 0


def test_a_killed_worker_costs_no_trial(digits: Prepared, tmp_path: Path) -> None:
    """kill -9 for a worker in the middle of its training: another one goes on."""
    killed: list[int] = []

    class Killer(Callback):
        def progress(self, stage: str, done: int, total: int, **facts: Any) -> None:
            for live in facts["snapshot"].live:
                pid = Run(tmp_path / "s" / "trials" / live.name).progress["pid"]
                if not killed and pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    grid = small(conv=(1,), nodes=(4,), epochs=150)
    board = sweep(digits, grid, tmp_path / "s", workers=1, callbacks=[Killer()])
    assert killed and board.complete and board.best.state == "complete"
    assert [row["epoch"] for row in board.best_run.history] == list(range(1, 151))


def test_workers_die_with_their_driver(digits: Prepared, tmp_path: Path) -> None:
    import subprocess
    import time

    import psutil

    code = f"""
from pathlib import Path
from housetrain.data.prepare import Prepared
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.driver import sweep
grid = Grid(conv=(1,), nodes=(4, 8), dense=(0,), epochs=5000, batch_size=16)
sweep(Prepared.open(Path({str(digits.folder)!r})), grid, {str(tmp_path / "s")!r}, workers=2)
"""
    driver = subprocess.Popen([sys.executable, "-c", code])
    limit = time.monotonic() + 120
    while len(list((tmp_path / "s").glob("trials/*/history.jsonl"))) < 2:
        assert time.monotonic() < limit and driver.poll() is None
        time.sleep(0.1)
    workers = psutil.Process(driver.pid).children(recursive=True)
    assert len(workers) == 2
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_a_worker_that_is_killed_is_an_outcome_and_close_ends_all(digits: Prepared, tmp_path: Path) -> None:
    executor = Processes(1, logs=tmp_path / "log")
    recipe = Recipe.of("cnn", conv=1, nodes=4, epochs=5000, batch_size=16)
    asked = {"prepared": str(digits.folder), "data": digits.fingerprint, "recipe": recipe.to_json(), "until": None}
    children = psutil.Process().children
    before = set(children())
    try:
        executor.submit({"name": "killed", "folder": str(tmp_path / "killed"), **asked})
        while not (tmp_path / "killed" / "history.jsonl").is_file():
            assert executor.poll(0.1) == []
        [worker] = set(children()) - before
        worker.kill()
        assert executor.poll(30.0) == [Outcome("killed", "died", "killed by the system (out of memory?)")]
        executor.submit({"name": "stopped", "folder": str(tmp_path / "stopped"), **asked})
        while not (tmp_path / "stopped" / "history.jsonl").is_file():
            assert executor.poll(0.1) == []
    finally:
        began = time.monotonic()
        executor.close()
    assert time.monotonic() - began < 10 and set(children()) == before
    assert (tmp_path / "stopped" / "model.keras").is_file(), "a trial that is stopped keeps its model"


def test_a_worker_has_one_thread_and_keeps_the_rest_of_the_environment() -> None:
    environment = worker_environment({"A": "b", "OMP_NUM_THREADS": "8"})
    assert environment["A"] == "b" and environment["OMP_NUM_THREADS"] == environment["TF_NUM_INTRAOP_THREADS"] == "1"
    assert worker_environment({"TF_CPP_MIN_LOG_LEVEL": "0"})["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert worker_environment(dict(os.environ))["PATH"] == os.environ["PATH"]
