"""The processes that the page starts: watched, stopped, and found again after a reload or a restart.

In: the words of a `housetrain` command. Out: a `Job`, which is a folder of plain files, so that every tab and every
later page server sees the same. Does not know: what the commands do.

```
job.json       verb, words, target (the folder it works on), started
process.json   pid and birth of the process, written by itself
progress.json  its progress, where the command reports it
out, err       what it printed
asked.json     it was asked to stop
ended.json     its exit code; missing = it runs, or was killed
```
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import psutil

from housetrain.errors import IncompleteError, StoreError
from housetrain.studio import handles
from housetrain.studio.settings import PASSWORD
from housetrain.system import json_types, store
from housetrain.system.files import disk_errors
from housetrain.system.lock import Lock
from housetrain.system.machine import process_alive
from housetrain.system.progress_file import PROGRESS_FILE
from housetrain.training.run import Run

State = Literal["starting", "running", "done", "failed", "stopped", "killed"]
_STARTS_S = 20.0  # for writing process.json
_KEPT = 60
_TAIL = 20_000
_KILLED = "The process ended without a message: it was killed, ran out of memory, or the machine stopped."
_children: list[subprocess.Popen[bytes]] = []


class _Asked(TypedDict):
    verb: str
    words: list[str]
    target: str
    started: float


class _Process(TypedDict):
    pid: int
    born: float


class _Progress(TypedDict):
    title: str
    done: int
    total: int
    seconds: float


class _Ended(TypedDict):
    code: int


_NOTES = {
    "process.json": _Process,
    "progress.json": _Progress,
    "asked.json": dict[str, float],
    "ended.json": _Ended,
}


@dataclass(frozen=True)
class Job:
    """One command that runs, or has ended.

    Attributes:
        folder: Its files.
        verb: ``prepare``, ``train``, ...
        words: All words after ``housetrain``.
        target: The folder it works on, ``""`` for none.
        started: Time, in s since the epoch.
    """

    folder: Path
    verb: str
    words: tuple[str, ...]
    target: str
    started: float

    @classmethod
    def open(cls, folder: Path) -> Job:
        """Return the job in a folder.

        Raises:
            IncompleteError: There is none.
            CorruptError: It is something else.
        """
        path = folder / "job.json"
        value = json_types.must_fit(store.read_json(path), _Asked, path)
        return cls(folder, value["verb"], tuple(value["words"]), value["target"], float(value["started"]))

    @property
    def state(self) -> State:
        """Its state now, from its files and the system."""
        ended = self._note("ended.json")
        if ended is not None:
            code = int(ended["code"])
            # `check` exits with 1 where it found something; that is no failure
            fine = code == 0 or (self.verb == "check" and code == 1)
            return "done" if fine else "stopped" if code in (130, 143) else "failed"
        process = self._note("process.json")
        if process is None:
            return "starting" if time.time() - self.started < _STARTS_S else "killed"
        if is_alive(int(process["pid"]), born=float(process["born"])):
            return "running"
        if self._note("ended.json") is not None:  # written between the two checks
            return self.state
        return "stopped" if self._note("asked.json") else "killed"

    @property
    def active(self) -> bool:
        """Whether it still runs."""
        return self.state in ("starting", "running")

    @property
    def progress(self) -> dict[str, Any] | None:
        """``title``, ``done`` and ``total``, where the command reports them."""
        return self._note("progress.json")

    @property
    def output(self) -> str:
        """What it printed on standard output."""
        return _text(self.folder / "out")

    @property
    def error(self) -> str:
        """Why it failed, in one sentence; ``""`` if it did not."""
        state = self.state
        if state not in ("failed", "killed"):
            return ""
        lines = [line.strip() for line in _text(self.folder / "err").splitlines() if line.strip()]
        said = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        if state == "killed":
            return said[-1] if said else _KILLED
        return said[-1] if said else lines[-1] if lines else "It failed without a message."

    @property
    def pid(self) -> int | None:
        """Number of its process, once it has one."""
        process = self._note("process.json")
        return None if process is None else int(process["pid"])

    def stop(self) -> None:
        """Ask it to stop.

        Raises:
            IncompleteError: Its process has ended, has not started yet, or is not one that this user's studio started.
        """
        process = self._note("process.json")
        if process is None:
            raise IncompleteError("The process has not started yet", do="try again")
        if not handles.is_own(self.folder, process):
            raise IncompleteError(
                "The process was not started by this user's studio",
                do="stop it where it was started",
                job=self.folder.name,
            )
        # It may be stopped before it can write ended.json.
        store.write_json_atomic(self.folder / "asked.json", {"time": time.time()}, durable=False)
        handles.send(process["pid"], born=process["born"])

    def _note(self, name: str) -> dict[str, Any] | None:
        try:
            value = store.read_json(self.folder / name)
        except StoreError:
            return None
        return value if json_types.fits(value, _NOTES[name]) else None


def start(jobs: Path, words: Sequence[str | Path], *, target: Path | None = None, work: Path) -> Job:
    """Start `housetrain` with ``words`` as a process that outlives the page.

    Args:
        jobs: The folder of all jobs.
        words: The verb and what follows it.
        target: The folder it works on. If a job of the same verb already runs on it, that one is returned.
        work: The working folder.

    Raises:
        DiskFull: Its files cannot be written.
    """
    named = "" if target is None else str(target.absolute())
    if named and (found := newest(jobs, target=target)) is not None and found.active and found.verb == str(words[0]):
        return found
    _prune(jobs)
    plain = [str(word) for word in words]
    folder = jobs / f"{time.time_ns():020}-{plain[0]}-{secrets.token_hex(2)}"
    store.write_json_atomic(
        folder / "job.json", {"verb": plain[0], "words": plain, "target": named, "started": time.time()}, durable=False
    )
    environment = {name: value for name, value in os.environ.items() if name != PASSWORD}
    environment |= {PROGRESS_FILE: str(folder / "progress.json"), "COLUMNS": "400", "PYTHONUNBUFFERED": "1"}
    with disk_errors(folder), (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "housetrain.studio.job", str(folder), *plain],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=work,
            env=environment,
            start_new_session=True,  # Ctrl-C in the page's terminal does not reach it
        )
    with contextlib.suppress(psutil.Error):  # it has ended already
        store.write_json_atomic(folder / "process.json", handles.handle_of(folder, process.pid), durable=False)
    _children[:] = [child for child in _children if child.poll() is None] + [process]
    return Job.open(folder)


def all_of(jobs: Path) -> tuple[Job, ...]:
    """Return the jobs, newest first."""
    found = []
    for folder in sorted(jobs.glob("*-*"), reverse=True) if jobs.is_dir() else ():
        with contextlib.suppress(StoreError):  # being created, or not a job
            found.append(Job.open(folder))
    return tuple(found)


def newest(jobs: Path, *, target: Path | None = None, verb: str = "") -> Job | None:
    """Return the newest job on a folder, or of a verb; ``None`` if there is none."""
    named = None if target is None else str(target.absolute())
    for job in all_of(jobs):
        if (named is None or job.target == named) and (not verb or job.verb == verb):
            return job
    return None


def stop_run(folder: Path, *, at_once: bool = False) -> None:
    """Stop the process that trains into a run folder, whether or not the page started it.

    Raises:
        IncompleteError: No process of this machine trains into it.
    """
    holder = Lock.holder(folder) if Lock.held(folder) else None
    if holder is None or holder.get("host") != socket.gethostname():
        where = f" It runs on {holder['host']}." if holder and holder.get("host") else ""
        raise IncompleteError(f"No process on this machine trains into this run.{where}", run=Run(folder).name)
    if not handles.holds(int(holder["pid"]), folder / ".lock"):  # the note may be a stranger's
        raise IncompleteError("No process on this machine trains into this run", run=Run(folder).name)
    handles.send(int(holder["pid"]), at_once=at_once)


def is_alive(pid: int, *, born: float | None = None) -> bool:
    """Return whether a process runs; see `housetrain.system.machine.process_alive`."""
    for child in _children:
        if child.pid == pid:
            child.poll()  # takes it out of the system's table once it has ended
    return process_alive(pid, born=born)


def _prune(jobs: Path) -> None:
    for job in all_of(jobs)[_KEPT:]:
        if not job.active:
            shutil.rmtree(job.folder, ignore_errors=True)


def _text(path: Path) -> str:
    try:
        with os.fdopen(store.open_own(path, os.O_RDONLY), "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - (_TAIL if path.name == "err" else 1 << 26)))
            return file.read().decode("utf-8", "replace")
    except (OSError, StoreError):
        return ""
