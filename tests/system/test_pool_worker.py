"""One child as its parent sees it: its pipes, its end, and whether it may be a fork."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jobs import Work

from housetrain.system import pool_worker
from housetrain.system.pool_child import IDLE
from housetrain.system.pool_worker import Channel, Limits, Worker, can_fork


@pytest.fixture
def lifeline() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def hear(worker: Worker, kind: str) -> Any:
    """Wait for a message of a kind."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        worker.channel.write()
        for found, value in worker.channel.read()[0]:
            if found == kind:
                return value
        time.sleep(0.01)
    raise AssertionError(f"no {kind}")


def test_a_program_runs_items_and_says_which(lifeline: tuple[int, int]) -> None:
    worker = Worker(Work({9: "hang"}), Limits(), lifeline)
    try:
        hear(worker, "ready")
        assert worker.current() == (IDLE, 0)
        worker.channel.put(pickle.dumps([(0, 4), (1, 5)]))
        assert hear(worker, "chunk") == [(0, True, 8), (1, True, 10)]
        assert worker.current() == (IDLE, 2)
        worker.channel.put(pickle.dumps([(7, 9)]))
        worker.channel.write()
        while worker.current() != (7, 3):
            time.sleep(0.01)
    finally:
        assert worker.end() == (-signal.SIGKILL, "")


def test_a_program_that_is_given_time_ends_by_sigterm(lifeline: tuple[int, int]) -> None:
    worker = Worker(Work(), Limits(stop_s=20.0), lifeline)
    hear(worker, "ready")
    worker.stop()
    assert worker.end(20.0)[0] == -signal.SIGTERM


def test_a_frame_larger_than_a_pipe_arrives_whole() -> None:
    (items, inlet), (outlet, results) = os.pipe(), os.pipe()
    near, far = Channel(inlet, outlet), Channel(results, items)
    near.put(pickle.dumps(("large", bytes(3 << 20))))
    messages: list[Any] = []
    while not messages:
        near.write()
        messages, ended = far.read()
        assert not ended
    assert messages == [("large", bytes(3 << 20))]
    near.close()
    far.put(b"nobody reads this")
    far.write()
    assert not far.to_send and far.read() == ([], True)
    far.close()


@pytest.mark.parametrize("loaded", ["tensorflow", "jax", "torch", "openvino", "onnxruntime"])
def test_a_process_with_threads_of_a_library_is_not_forked(monkeypatch: pytest.MonkeyPatch, loaded: str) -> None:
    for name in pool_worker._THREADED:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert can_fork() == (sys.platform == "linux")
    monkeypatch.setitem(sys.modules, loaded, sys)
    assert not can_fork()
