"""THE lock: one writer per folder or file, also after a kill, and on file systems without `flock`."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from housetrain.data.prepare import prepare
from housetrain.data.samples import sample
from housetrain.errors import DiskFull, RunLocked
from housetrain.system.lock import Lock

HOLDER = """
import fcntl, sys, time
from pathlib import Path
from housetrain.system.lock import Lock
if number := int(sys.argv[2]):
    def flock(descriptor, operation):
        raise OSError(number, "no locks here")
    fcntl.flock = flock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""
NO_LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP]
"""NFS with ``nolock``, Lustre without ``-o flock``, some FUSE mounts."""


@pytest.fixture(params=[0, *NO_LOCKS], ids=lambda number: errno.errorcode.get(number, "flock"))
def number(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A file system with locks (0), or one without: the error that its `flock` raises."""
    if request.param:
        forbid(monkeypatch, request.param)
    return int(request.param)


def forbid(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def holder(tmp_path: Path, number: int) -> Iterator[Any]:
    """Start a process that holds the lock of a folder for some seconds."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, seconds: float = 60.0) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", HOLDER, str(folder), str(number), str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_writer_is_refused_at_once_and_learns_who_writes(tmp_path: Path, holder: Any) -> None:
    folder = tmp_path / "run"
    assert not Lock.held(folder)
    process = holder(folder)
    assert Lock.held(folder)
    start = time.monotonic()
    with pytest.raises(RunLocked, match=rf"pid={process.pid}.*host=.*since='20\d\d-") as caught, Lock(folder):
        pass
    assert time.monotonic() - start < 2 and "\n" not in str(caught.value)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Lock.held(folder), "a lock outlived its process"
    with Lock(folder):
        assert Lock.held(folder)
        assert json.loads((folder / ".lock.json").read_text())["pid"] == os.getpid()
        with pytest.raises(RunLocked), Lock(folder):
            pass
    assert not Lock.held(folder)
    with Lock(folder):
        pass


def test_who_waits_gets_it_when_the_other_leaves(tmp_path: Path, holder: Any, caplog: pytest.LogCaptureFixture) -> None:
    holder(tmp_path, 1.0)
    with caplog.at_level(logging.WARNING), Lock(tmp_path, wait=True):
        assert Lock.held(tmp_path)
    assert caplog.records[0].getMessage() == (f"another process is writing to {tmp_path}; waiting for it")


@pytest.mark.usefixtures("number")
def test_a_file_has_a_lock_of_its_own(tmp_path: Path) -> None:
    with (
        Lock(tmp_path, file="a.csv"),
        Lock(tmp_path, file="b.csv"),
        Lock(tmp_path),
        pytest.raises(RunLocked, match=r"writing this file.*a\.csv"),
        Lock(tmp_path, file="a.csv"),
    ):
        pass
    assert {path.name for path in tmp_path.iterdir()} <= {"a.csv", "b.csv", ".lock", ".lock.json"}


@pytest.mark.parametrize("error", NO_LOCKS)
def test_a_file_system_without_locks_costs_one_warning(
    tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forbid(monkeypatch, error)
    with caplog.at_level(logging.WARNING), Lock(tmp_path):
        pass
    [record] = caplog.records
    assert "no locks" in record.getMessage() and str(tmp_path) in record.getMessage()
    assert not (tmp_path / ".lock.json").exists()


def test_without_locks_only_a_living_process_of_this_machine_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note that stays after a kill, or comes from another machine, locks nobody out for ever."""
    forbid(monkeypatch, errno.ENOLCK)
    with Lock(tmp_path):
        note = json.loads((tmp_path / ".lock.json").read_text())
    for change in ({"host": "elsewhere"}, {"born": note["born"] - 3600}, {"pid": 2**22 + 1}, {"born": None}, None):
        (tmp_path / ".lock").touch()
        (tmp_path / ".lock.json").write_text("{" if change is None else json.dumps({**note, **change}))
        assert not Lock.held(tmp_path)
        with Lock(tmp_path):
            pass
    (tmp_path / ".lock.json").write_text(json.dumps(note))  # this very process
    assert Lock.held(tmp_path)


@pytest.mark.usefixtures("number")
def test_images_are_prepared_with_and_without_locks(tmp_path: Path) -> None:
    prepared = prepare(sample("digits", tmp_path / "digits"), tmp_path / "prepared", image_size=8)
    assert len(prepared.split.rows) > 0
    assert not any(path.suffix == ".json" and path.name.startswith(".lock") for path in prepared.folder.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, read_only: Any) -> None:
    (tmp_path / "run").mkdir()
    read_only(tmp_path / "run")
    with pytest.raises(DiskFull, match=r"run") as caught, Lock(tmp_path / "run"):
        pass
    assert "\n" not in str(caught.value)
    assert not Lock.held(tmp_path / "run")


def test_two_threads_never_hold_it_at_once(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(20):
            with Lock(tmp_path, wait=True):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
