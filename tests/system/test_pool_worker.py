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
from housetrain.system.pool_worker import Channel, Limits, Watch, Worker, can_fork


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


class TestWatch:
    """Seconds count only as far as the process worked in them."""

    @staticmethod
    def watched(monkeypatch: pytest.MonkeyPatch, *, worked: float, passed: float) -> Watch:
        monkeypatch.setattr(Watch, "_processor_s", lambda self: 5.0)
        watch = Watch(1, (0, 1))
        assert not watch.is_over(10)
        monkeypatch.setattr(Watch, "_processor_s", lambda self: 5.0 + worked)
        watch.clock_s += passed
        return watch

    def test_a_busy_machine_is_not_the_items_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert not self.watched(monkeypatch, worked=4, passed=40).is_over(10)
        assert self.watched(monkeypatch, worked=11, passed=40).is_over(10)

    def test_threads_do_not_make_time_pass_faster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert not self.watched(monkeypatch, worked=70, passed=9).is_over(10)

    def test_what_does_not_work_at_all_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.watched(monkeypatch, worked=0, passed=61).is_over(10)

    def test_another_item_starts_at_zero(self, monkeypatch: pytest.MonkeyPatch) -> None:
        watch = self.watched(monkeypatch, worked=11, passed=40)
        watch.restart((1, 2))
        assert watch.seen == (1, 2) and not watch.is_over(10)

    def test_processor_time_is_that_of_the_process(self) -> None:
        watch = Watch(os.getpid(), (0, 1))
        assert not watch.is_over(10)
        until = time.process_time() + 0.15
        while time.process_time() < until:
            pass
        watch.clock_s = 0.15
        assert watch.is_over(0.1) and not watch.is_over(0.15)
        assert not Watch(2**22 + 1, (0, 1)).is_over(0.0)
