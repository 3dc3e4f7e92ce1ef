"""Worker processes: whatever one item does, it costs that item and nothing else, and no process is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from jobs import Loaded, Work

import housetrain.system.process_pool as module
from housetrain.errors import HousetrainError
from housetrain.system import pool_worker
from housetrain.system.pool_worker import Limits
from housetrain.system.process_pool import Failed, ProcessPool, map_in_workers

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
    original = module.Worker

    def spy(*arguments: Any, **options: Any) -> Any:
        started.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(module, "Worker", spy)
    monkeypatch.setattr(module, "cores", lambda: 8)
    assert len(list(map_in_workers(Work(), range(20)))) == 20 and len(started) == 2


# ---------------------------------------------------------------------------------------------- what does not


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "process crashed (SIGSEGV)"),
        ("exit", "process ended with exit code 3"),
        ("raise", "ValueError: as asked"),
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
    assert found == dict.fromkeys(range(8), "process crashed (SIGSEGV)")


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
    monkeypatch.setattr(pool_worker, "_COMMAND", "raise SystemExit('no numpy here')")
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


# ---------------------------------------------------------------------------------------------- forks


def start_script(**asked: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(Path(__file__).with_name("pool_script.py")), json.dumps(asked)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)


def forked(count: int, **asked: Any) -> dict[str, Any]:
    with start_script(count=count, **asked) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(lines[-1])
    found["wrong"] = {int(index): reason for index, reason in found["wrong"].items()}
    assert sorted([*found["good"], *found["wrong"]]) == list(range(count))  # each once
    return found


needs_forks = pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")


@needs_forks
@pytest.mark.parametrize("in_thread", [False, True])
def test_forks_do_all_of_it_where_they_are_safe(in_thread: bool) -> None:
    found = forked(700, in_thread=in_thread)
    assert found["wrong"] == {} and found["forks"] == 2 and found["programs"] == 0


@needs_forks
@pytest.mark.parametrize("how", ["crash", "hang", "exit", "killed"])
def test_what_only_a_fork_cannot_do_costs_nothing(tmp_path: Path, how: str) -> None:
    found = forked(60, bad={5: how, 33: how}, mark=str(tmp_path), timeout_s=0.5 if how == "hang" else 60)
    assert found["wrong"] == {} and found["programs"] >= 1


@needs_forks
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "process crashed (SIGSEGV)"),
        ("raise", "ValueError: as asked"),
        ("hang", "took over 0.5 s"),
        ("hog", "needs too much memory"),
    ],
)
def test_a_bad_item_costs_itself_in_forks_too(how: str, reason: str) -> None:
    found = forked(60, bad={5: how, 33: how}, timeout_s=0.5 if how == "hang" else 60)
    assert found["wrong"] == {5: reason, 33: reason}


@needs_forks
@pytest.mark.parametrize("most", [0, 1])
def test_a_fork_that_is_refused_becomes_a_program(most: int) -> None:
    found = forked(60, most_forks=most)
    assert found["forks"] == most and found["wrong"] == {} and found["programs"] == 2 - most


@needs_forks
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
def test_however_the_parent_ends_its_forks_end(end: signal.Signals, whole_group: bool, how: str) -> None:
    with start_script(count=4000, slow_s=0.01, bad={9: how} if how else {}, timeout_s=60) as process:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        forks = psutil.Process(process.pid).children(recursive=True)
        assert len(forks) == 2
        (os.killpg if whole_group else os.kill)(process.pid, end)
        process.wait(10)
        assert process.stdout.read() == ""
    _, alive = psutil.wait_procs(forks, timeout=2)
    assert alive == []


# ---------------------------------------------------------------------------------------------- a pool that stays open


def ask(pool: ProcessPool, *items: Any) -> list[Any]:
    """Submit items one by one and return their results."""
    results = []
    for item in items:
        index = pool.submit(item)
        while not (found := pool.poll(5.0)):
            pass
        assert [number for number, _ in found] == [index]
        results.append(found[0][1])
    return results


def test_an_open_pool_keeps_its_children_and_what_they_loaded() -> None:
    with ProcessPool(Loaded(), workers=1) as pool:
        assert not pool.ready
        found = ask(pool, 1, 2, 3)
        assert pool.ready
    assert [one[:2] for one in found] == [(True, 1), (True, 2), (True, 3)] and len({one[2] for one in found}) == 1


def test_one_item_waits_for_no_other() -> None:
    """A slow item does not hold back the next ones: each child has one at a time."""
    with ProcessPool(Work(slow_s=0.0, bad={0: "hang"}), workers=2, limits=Limits(timeout_s=None)) as pool:
        for number in range(5):
            pool.submit(number)
        found: dict[int, Any] = {}
        while len(found) < 4:
            found.update(pool.poll(10.0))
        assert found == {number: 2 * number for number in range(1, 5)}
        assert pool.poll(0.05) == []


def test_what_cannot_be_loaded_is_raised_in_its_own_words() -> None:
    with ProcessPool(Loaded("The model is refused"), workers=1) as pool:
        for _ in range(2):  # and again, for who asks again
            pool.submit(1)
            with pytest.raises(HousetrainError, match=r"^The model is refused\.$"):
                pool.poll(30.0)
    with ProcessPool(Loaded("crash"), workers=1) as pool:
        pool.submit(1)
        with pytest.raises(HousetrainError, match="do not start"):
            pool.poll(30.0)


def test_a_child_is_replaced_after_some_items_or_above_some_memory() -> None:
    for limits, children in ((Limits(items=2), 3), (Limits(resident_bytes=1), 5), (Limits(resident_bytes=1 << 40), 1)):
        with ProcessPool(Loaded(), workers=1, limits=limits) as pool:
            assert len({one[2] for one in ask(pool, *range(5))}) == children


def test_an_idle_child_ends_and_another_one_starts_when_it_is_needed() -> None:
    with ProcessPool(Loaded(), workers=1, limits=Limits(idle_s=0.3)) as pool:
        [(_, _, first)] = ask(pool, 1)
        psutil.wait_procs([psutil.Process(first)], timeout=5)
        assert not psutil.pid_exists(first) or psutil.Process(first).status() == psutil.STATUS_ZOMBIE
        [(_, _, second)] = ask(pool, 2)
        assert second != first


def test_an_item_that_hangs_or_crashes_costs_itself_in_an_open_pool() -> None:
    with ProcessPool(Loaded(), workers=1, limits=Limits(timeout_s=0.5)) as pool:
        found = ask(pool, "a", "hang", "b", "exit", "c", "hog")
    assert [one[1] for one in found if isinstance(one, tuple)] == ["a", "b", "c"]
    reasons = [one.reason for one in found if isinstance(one, Failed)]
    assert reasons == ["took over 0.5 s", "process ended with exit code 3", "needs too much memory"]


def test_each_child_has_a_log_whose_last_line_explains_its_end(tmp_path: Path) -> None:
    with ProcessPool(Loaded(), workers=1, logs=tmp_path / "log") as pool:
        [found] = ask(pool, "last words")
    assert isinstance(found, Failed) and found.reason == "process ended with exit code 4: the disk is on fire"
    assert "the disk is on fire" in (tmp_path / "log" / "worker-1.log").read_text()


def test_a_pool_may_be_closed_twice_and_while_items_run() -> None:
    pool = ProcessPool(Work({0: "hang"}), workers=2, limits=Limits(timeout_s=None))
    pool.submit(0)
    pool.start(2)
    pool.poll(0.5)
    began = time.monotonic()
    pool.close()
    pool.close()
    assert time.monotonic() - began < 5


def test_children_end_although_the_thread_that_started_them_does_not_matter() -> None:
    """They end with the process, not with the thread: a page starts them in threads that come and go."""
    pool = ProcessPool(Loaded(), workers=1)
    thread = threading.Thread(target=lambda: pool.start(1))
    thread.start()
    thread.join()
    time.sleep(0.5)
    assert [one[:2] for one in ask(pool, 1, 2)] == [(True, 1), (True, 2)]
    pool.close()


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
from jobs import Loaded, Work
for place, _ in map_in_workers(Work({0: sys.argv[1]}, slow_s=0.01), range(20000), workers=2, timeout_s=1):
    if place == 100:
        print("started", flush=True)
"""


@pytest.mark.parametrize(
    ("end", "how"), [(signal.SIGINT, ""), (signal.SIGTERM, ""), (signal.SIGKILL, ""), (signal.SIGKILL, "hang")]
)
def test_whatever_ends_the_parent_ends_the_workers(end: signal.Signals, how: str) -> None:
    """Also while it hangs: the kernel ends it with its lifeline."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, how], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == b"started\n"
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
        assert parent.stdout.readline() == b"started\n"
        workers = psutil.Process(parent.pid).children(recursive=True)
        os.killpg(parent.pid, signal.SIGINT)
        said = parent.stderr.read().decode()
        parent.wait(10)
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == [] and said.count("Traceback") == 1
