"""Worker processes: whatever one item does, it costs that item and nothing else, and no process is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from jobs import Work

import housetrain.system.process_pool as module
from housetrain.errors import HousetrainError
from housetrain.system.process_pool import Failed, cores, map_in_workers

pytestmark = pytest.mark.timeout(90)
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Any:
    before = set(psutil.Process().children(recursive=True))
    yield
    assert [one for one in psutil.Process().children(recursive=True) if one not in before] == []


def results(work: Any, count: int = 60, **options: Any) -> dict[int, Any]:
    """Every index once."""
    options = {"workers": 2, **options}
    found = list(map_in_workers(work, range(count), **options))
    assert Counter(index for index, _ in found) == Counter(range(count))
    return dict(found)


def failures(found: dict[int, Any]) -> dict[int, str]:
    assert all(value == 2 * index for index, value in found.items() if not isinstance(value, Failed))
    return {index: value.reason for index, value in found.items() if isinstance(value, Failed)}


# ---------------------------------------------------------------------------------------------- what goes well


@pytest.mark.parametrize("count", [1, 2, 33, 500])
@pytest.mark.parametrize("chunk", [1, 32])
def test_every_item_comes_once_in_any_order(count: int, chunk: int) -> None:
    done: list[int] = []
    found = results(Work(), count, chunk=chunk, progress=done.append)
    assert failures(found) == {} and done == list(range(1, count + 1))


def test_nothing_to_do_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert list(map_in_workers(Work(), [])) == []


def test_results_come_while_others_are_still_at_work() -> None:
    began = time.monotonic()
    with contextlib.closing(map_in_workers(Work(slow_s=0.1), range(200), workers=2)) as found:
        next(found)
    assert time.monotonic() - began < 8  # all would take 10 s


def test_items_may_be_large_and_lazy() -> None:
    found = dict(map_in_workers(len, [bytes(3 << 20)] * 6 + [b""], workers=2))
    assert found == {**dict.fromkeys(range(6), 3 << 20), 6: 0}


def test_few_items_need_few_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    original = module._Worker

    def spy(*arguments: Any) -> Any:
        started.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(module, "_Worker", spy)
    monkeypatch.setattr(module, "cores", lambda: 8)
    assert len(list(map_in_workers(Work(), range(20)))) == 20 and len(started) == 2
    assert cores() >= 1


# ---------------------------------------------------------------------------------------------- what does not


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "decoder crashed (signal 11)"),
        ("exit", "decoder crashed (exit code 3)"),
        ("raise", "ValueError: as told"),
        ("hog", "needs too much memory"),
        ("hang", "took over 0.5 s"),
        ("killed", "killed by the system (out of memory?)"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_one_bad_item_costs_itself(how: str, reason: str, workers: int) -> None:
    assert failures(results(Work({17: how}), workers=workers, timeout_s=0.5)) == {17: reason}


def test_every_way_at_once() -> None:
    bad = {0: "crash", 1: "raise", 2: "crash", 20: "hang", 21: "hog", 40: "exit", 59: "crash"}
    assert set(failures(results(Work(bad), timeout_s=0.5))) == set(bad)


def test_all_items_may_crash() -> None:
    found = failures(results(Work(dict.fromkeys(range(8), "crash")), 8))
    assert found == dict.fromkeys(range(8), "decoder crashed (signal 11)")


def test_what_was_done_is_not_done_again_and_again(tmp_path: Path) -> None:
    """Only what a crashed worker had not yet told is repeated: less than its flush time's worth."""
    results(Work({30: "crash"}, slow_s=0.01, begun=tmp_path), 60)
    begun = Counter(int(path.name.split("-")[0]) for path in tmp_path.iterdir())
    assert set(begun) == set(range(60)) and sum(begun.values()) < 60 + 40 and max(begun.values()) <= 2


def test_a_killed_worker_is_given_a_second_chance(tmp_path: Path) -> None:
    """The system kills for want of memory, perhaps not by this item's fault."""
    results(Work({5: "killed"}, begun=tmp_path), 10, workers=1)
    assert len(list(tmp_path.glob("5-*"))) == 2


def test_a_slow_item_within_its_time_is_waited_for() -> None:
    assert failures(results(Work(slow_s=0.4), 4, timeout_s=2.0, chunk=4)) == {}


def test_chatter_does_not_get_into_the_results() -> None:
    assert failures(results(Work({3: "chat"}), 10)) == {}


def test_a_result_that_cannot_travel_is_a_failure_of_its_own() -> None:
    found = failures(results(Work({4: "unpicklable"}), 10))
    assert list(found) == [4] and "pickle" in found[4].lower()


def test_what_cannot_be_sent_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HousetrainError, match="cannot be sent"):
        list(map_in_workers(lambda number: number, range(3)))
    monkeypatch.setattr(Work, "__module__", "__main__")
    with pytest.raises(HousetrainError, match="module of its own"):
        list(map_in_workers(Work(), range(3)))


def test_workers_that_do_not_start_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMMAND", "raise SystemExit('no numpy here')")
    with pytest.raises(HousetrainError, match=r"do not start.*no numpy here") as caught:
        list(map_in_workers(Work(), range(3)))
    assert "\n" not in str(caught.value)


def test_too_many_processes_leaves_fewer_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    original, started = subprocess.Popen, []

    def limited(*arguments: Any, **options: Any) -> Any:
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", limited)
    assert failures(results(Work(), 40, workers=4)) == {}


def test_not_one_process_to_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(HousetrainError, match=r"do not start.*temporarily unavailable"):
        list(map_in_workers(Work(), range(40), workers=2))


# ---------------------------------------------------------------------------------------------- the end


def test_closing_early_ends_the_workers_at_once() -> None:
    found = map_in_workers(Work({7: "hang", 8: "hang"}), range(60), workers=2)
    next(found)
    began = time.monotonic()
    found.close()
    assert time.monotonic() - began < 5


def test_an_error_of_the_caller_ends_them_too() -> None:
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(map_in_workers(Work(), range(60), workers=2, progress=interrupt))


_PARENT = """
import sys
from housetrain.system.process_pool import map_in_workers
from jobs import Work
for place, _ in map_in_workers(Work({0: sys.argv[1]}, slow_s=0.01), range(20000), workers=2, timeout_s=1):
    if place == 100:
        print("under way", flush=True)
"""


@pytest.mark.parametrize(
    ("end", "how"), [(signal.SIGINT, ""), (signal.SIGTERM, ""), (signal.SIGKILL, ""), (signal.SIGKILL, "hang")]
)
def test_whatever_ends_the_parent_ends_the_workers(end: signal.Signals, how: str) -> None:
    """A decoder that hangs is ended by an alarm of its own, when its parent can no longer do it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, how], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == b"under way\n"
        workers = psutil.Process(parent.pid).children(recursive=True)
        assert len(workers) == 2
        parent.send_signal(end)
        parent.wait(10)
    _, alive = psutil.wait_procs(workers, timeout=12)
    assert alive == []


def test_ctrl_c_in_a_terminal_reaches_everyone_and_leaves_nobody() -> None:
    """A terminal sends SIGINT to the whole group: the workers ignore it and the parent ends them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, ""],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        assert parent.stdout.readline() == b"under way\n"
        workers = psutil.Process(parent.pid).children(recursive=True)
        os.killpg(parent.pid, signal.SIGINT)
        said = parent.stderr.read().decode()
        parent.wait(10)
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == [] and said.count("Traceback") == 1
