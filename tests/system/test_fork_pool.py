"""Forks first, workers for the rest: the same rows, whatever a fork does, and no process is left behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from housetrain.system import fork_pool as filling

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only"),
]
SCRIPT = Path(__file__).with_name("fill_script.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def start(tmp_path: Path, count: int, **asked: Any) -> subprocess.Popen[str]:
    """Fill in a process of its own: this one may have loaded TensorFlow, and is then never forked."""
    value = json.dumps({"path": str(tmp_path / "rows"), "count": count, **asked})
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), value], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    )


def filled(tmp_path: Path, count: int, **asked: Any) -> dict[str, Any]:
    with start(tmp_path, count, **asked) as process:
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
    assert process.returncode == 0
    told: dict[str, Any] = json.loads(said[-1])
    assert sorted(told["places"]) == list(range(count))  # each once
    told["wrong"] = {int(place): why for place, why in told["wrong"].items()}
    return told


def rows(count: int, *, without: tuple[int, ...] = ()) -> str:
    return hashlib.sha256(bytes(0 if n in without else n % 251 + 1 for n in range(count))).hexdigest()


def test_forks_do_it_all_when_there_is_little_to_do(tmp_path: Path) -> None:
    told = filled(tmp_path, 100)
    assert told["sha256"] == rows(100) and told["wrong"] == {}
    assert told["forks"] == 2 and told["handed_over"] == [0]


def test_forks_and_workers_write_the_same(tmp_path: Path) -> None:
    forks, workers = filled(tmp_path, 3000), filled(tmp_path, 3000, workers_only=True)
    assert forks["sha256"] == workers["sha256"] == rows(3000)
    assert workers["forks"] == 0 and workers["handed_over"] == [3000]


def test_forks_hand_over_when_there_is_much_to_do(tmp_path: Path) -> None:
    told = filled(tmp_path, 700, slow_s=0.01, first_s=0.2)
    assert told["sha256"] == rows(700)
    assert 100 < told["handed_over"][0] < 700


def test_a_thread_may_fork_too(tmp_path: Path) -> None:
    told = filled(tmp_path, 100, in_thread=True)
    assert told["sha256"] == rows(100) and told["handed_over"] == [0]


def test_nothing_to_do_forks_nothing(tmp_path: Path) -> None:
    assert filled(tmp_path, 0)["forks"] == 0


@pytest.mark.parametrize("how", ["crash", "raise", "hang", "hog", "exit", "killed"])
def test_what_only_a_fork_cannot_do_costs_nothing(tmp_path: Path, how: str) -> None:
    told = filled(tmp_path, 60, bad={5: how, 33: how}, once=True, image_s=0.5 if how == "hang" else 60)
    assert told["wrong"] == {} and told["sha256"] == rows(60)
    assert 2 <= told["handed_over"][0] < 60


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "decoder crashed (signal 11)"),
        ("raise", "ValueError: as told"),
        ("hang", "took over 1 s"),
        ("hog", "needs too much memory"),
        ("fail", "failed: truncated"),
    ],
)
def test_what_nobody_can_do_is_told_and_costs_itself(tmp_path: Path, how: str, reason: str) -> None:
    told = filled(tmp_path, 60, bad={5: how, 33: how}, image_s=0.5 if how == "hang" else 60)
    assert told["wrong"] == {5: reason, 33: reason} and told["sha256"] == rows(60, without=(5, 33))


@pytest.mark.parametrize("most", [0, 1])
def test_too_many_processes_falls_back_to_workers(tmp_path: Path, most: int) -> None:
    told = filled(tmp_path, 60, workers=3, most_forks=most)
    assert told["forks"] == most and told["sha256"] == rows(60) and told["wrong"] == {}
    assert told["handed_over"] == [60 if most == 0 else 0]


@pytest.mark.parametrize(
    ("end", "whole_group", "how"),
    [
        (signal.SIGINT, False, ""),
        (signal.SIGINT, True, ""),  # a terminal's Ctrl-C
        (signal.SIGINT, False, "hang"),
        (signal.SIGTERM, False, ""),
        (signal.SIGKILL, False, ""),
        (signal.SIGKILL, False, "hang"),
    ],
)
def test_whatever_ends_the_parent_ends_the_forks(
    tmp_path: Path, end: signal.Signals, whole_group: bool, how: str
) -> None:
    with start(tmp_path, 4000, slow_s=0.01, first_s=60, bad={9: how} if how else {}, image_s=2) as process:
        assert process.stdout is not None and process.stdout.readline() == "under way\n"
        forks = psutil.Process(process.pid).children(recursive=True)
        assert len(forks) == 2
        (os.killpg if whole_group else os.kill)(process.pid, end)
        process.wait(10)
        assert process.stdout.read() == ""
    _, alive = psutil.wait_procs(forks, timeout=8)
    assert alive == []


@pytest.mark.parametrize("loaded", ["tensorflow", "jax", "torch"])
def test_a_process_with_threads_of_its_own_is_not_forked(monkeypatch: pytest.MonkeyPatch, loaded: str) -> None:
    for name in ("tensorflow", "jax", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert filling.can_fork()
    monkeypatch.setitem(sys.modules, loaded, sys)
    assert not filling.can_fork()
