"""kill -9 for the driver of a sweep and its workers at any instant: the same command goes on, nothing runs twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sweeps.sweep_images import prepared_digits

from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.training.run import Run

KILLS = 20


def start(prepared: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "housetrain", "sweep", str(prepared), "--output", str(folder), "--quiet"]
    settings = ["--nodes", "2,4,32", "--epochs", "3", "--batch-size", "16", "--deterministic"]
    log = folder.with_suffix(".log").open("a")
    return subprocess.Popen([*command, *settings], stdout=subprocess.DEVNULL, stderr=log)


def facts(board: Leaderboard) -> list[tuple[object, ...]]:
    """All of a leaderboard that no clock decides."""
    return [(r.rank, r.name, r.state, r.val_loss, r.behind_error, r.val_accuracy, r.epochs, r.tied) for r in board.rows]


def finished(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What the finished trials have on disk: touched again, they would differ."""
    return {
        path.parent.name: (path.stat().st_mtime_ns, (path.parent / "history.jsonl").read_bytes())
        for path in folder.glob("trials/*/result.json")
    }


def strike(driver: subprocess.Popen[bytes], rng: random.Random) -> str:
    """Kill the driver or one of its workers; return which."""
    workers = psutil.Process(driver.pid).children()
    if workers and rng.random() < 0.5:
        rng.choice(workers).kill()
        return "worker"
    driver.kill()
    driver.wait()
    return "driver"


@pytest.mark.kill
@pytest.mark.timeout(3600)
def test_twenty_random_kills_of_driver_and_workers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("HOUSETRAIN_KILL_SEED", time.time_ns() % 10**6))
    rng = random.Random(seed)
    prepared = prepared_digits(tmp_path, size=24).folder
    began = time.monotonic()
    assert start(prepared, tmp_path / "whole").wait(600) == 0, (tmp_path / "whole.log").read_text()
    whole, took = facts(leaderboard(tmp_path / "whole")), time.monotonic() - began
    assert len(whole) == 27 and all(row[2] == "complete" for row in whole)

    struck: list[str] = []
    number = starts = 0
    while len(struck) < KILLS or number == 0:
        folder, known = tmp_path / f"sweep{number}", dict[str, tuple[int, bytes]]()
        code = None
        while code is None:
            driver = start(prepared, folder)
            starts += 1
            while driver.poll() is None:
                if len(struck) < KILLS:
                    time.sleep(rng.uniform(0.02, 0.4) * took)
                    if driver.poll() is None:
                        struck.append(strike(driver, rng))
                else:
                    driver.wait(600)
                if (folder / "sweep.json").exists():
                    now = finished(folder)
                    assert {name: now[name] for name in known} == known, f"trained again, seed {seed}"
                    known = now
                    leaderboard(folder)  # readable at any instant
            code = driver.returncode if driver.returncode != -9 else None
        assert code == 0, folder.with_suffix(".log").read_text()
        assert facts(leaderboard(folder)) == whole, f"seed {seed}"
        for row in leaderboard(folder).rows:
            assert [line["epoch"] for line in Run.open(folder / "trials" / row.name).history] == [1, 2, 3]
        number += 1
    with capsys.disabled():
        counted = {which: struck.count(which) for which in ("driver", "worker")}
        sys.stdout.write(f"\nkills {counted}, {starts} starts, {number} sweeps of 27 the same, seed {seed}\n")
