"""Executors: where trials run. One protocol; in this process, or in worker processes of one thread each.

In: jobs, plain JSON (see `trial.py`). Out: outcomes. They do not know what is swept, nor in which order or how often;
a cluster needs no more than these four members.

Why processes of one thread: the nets of a grid are small, and the threads of one training wait for each other at every
layer. As many trainings side by side as there are cores never wait.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from housetrain.sweeps.trial import TrialRequest, run_trial
from housetrain.system.process_pool import cores

TRIALS_A_WORKER = 8
"""Trials after which a worker is replaced: TensorFlow keeps some memory of every model it has compiled."""
_SHARE_OF_MEMORY = 0.75
_LAST_WORDS = 400  # characters of a dead worker's log that may explain its death
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class Outcome(NamedTuple):
    """How a job ended.

    Attributes:
        name: The job's.
        state: ``complete``; ``paused`` at the epoch that was asked for; ``failed`` by itself; ``died`` with the process
            that ran it.
        reason: Of a failure or death, one line.
    """

    name: str
    state: Literal["complete", "paused", "failed", "died"]
    reason: str = ""


class Executor(Protocol):
    """Where trials run."""

    @property
    def slots(self) -> int:
        """How many jobs may be under way at once."""

    def submit(self, job: TrialRequest) -> None:
        """Take a job. At most ``slots`` may be under way."""

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Return the jobs that have ended since the last call, waiting for one no longer than ``timeout_s``."""

    def close(self) -> None:
        """Stop what is under way; it can go on later. May be called twice."""


class InProcess:
    """Runs each job in the process of the caller, inside `poll`, which then takes as long as the job."""

    slots = 1

    def __init__(self) -> None:
        self._jobs: deque[TrialRequest] = deque()

    def submit(self, job: TrialRequest) -> None:
        """Take a job. See `Executor.submit`."""
        self._jobs.append(job)

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Run the next job. See `Executor.poll`."""
        if not self._jobs:
            return []
        ended = run_trial(self._jobs.popleft())
        return [Outcome(ended["name"], ended["state"], ended["reason"])]

    def close(self) -> None:
        """Forget the jobs that did not begin."""
        self._jobs.clear()


class Processes:
    """Runs jobs in worker processes, each with one thread, as many as there are cores.

    Workers are new interpreters (never a fork: TensorFlow does not survive one), speak JSON lines over pipes, share the
    prepared images through the page cache, and are replaced after some trials or when they take too much memory. They
    die with this process.

    Args:
        workers: How many; one a core by default.
        logs: Folder for what the workers print; nowhere by default.
        trials: Trials after which a worker is replaced, 1 or more.
        memory_bytes: Memory a worker may keep after a trial before it is replaced; by default three quarters of the
            machine's, shared by all.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        logs: Path | None = None,
        trials: int = TRIALS_A_WORKER,
        memory_bytes: int | None = None,
    ) -> None:
        import psutil

        self.slots = workers or cores()
        self._logs, self._trials = logs, trials
        self._memory = memory_bytes or int(psutil.virtual_memory().total * _SHARE_OF_MEMORY / self.slots)
        self._workers: list[_Worker] = []
        self._closed = False
        self._selector = selectors.DefaultSelector()

    def start(self, count: int) -> None:
        """Start up to ``count`` workers before there is a job: importing TensorFlow takes seconds."""
        for _ in range(min(count, self.slots) - len(self._workers)):
            self._start()

    def submit(self, job: TrialRequest) -> None:
        """Take a job. See `Executor.submit`."""
        idle = [worker for worker in self._workers if worker.job is None]
        worker = next((one for one in idle if one.ready), idle[0] if idle else None) or self._start()
        worker.take(job)

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Return what has ended. See `Executor.poll`."""
        outcomes: list[Outcome] = []
        limit = time.monotonic() + timeout_s
        while not outcomes and any(worker.job for worker in self._workers):
            left = limit - time.monotonic()
            for key, _ in self._selector.select(max(0.0, left)):
                outcomes.extend(self._heard(key.data))
            if left <= 0:
                break
        return outcomes

    def close(self) -> None:
        """Stop all workers: politely, then not. See `Executor.close`."""
        workers, self._workers = self._workers, []
        for worker in workers:
            self._selector.unregister(worker.answers)
            worker.process.terminate()
        limit = time.monotonic() + 5.0
        for worker in workers:
            try:
                worker.process.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
            worker.end()
        if not self._closed:
            self._closed = True
            self._selector.close()

    def _start(self) -> _Worker:
        if self._closed:
            self._closed, self._selector = False, selectors.DefaultSelector()
        taken = {worker.number for worker in self._workers}
        number = next(n for n in range(1, len(taken) + 2) if n not in taken)
        worker = _Worker(number, self._logs)
        self._workers.append(worker)
        self._selector.register(worker.answers, selectors.EVENT_READ, worker)
        return worker

    def _heard(self, worker: _Worker) -> list[Outcome]:
        lines = worker.read()
        if lines is None:
            self._remove(worker)
            return [Outcome(worker.job["name"], "died", worker.cause())] if worker.job else []
        outcomes = []
        for line in lines:
            worker.ready = True
            if "name" not in line:
                continue
            outcomes.append(Outcome(line["name"], line["state"], line["reason"]))
            worker.job, worker.done = None, worker.done + 1
            if worker.done >= self._trials or line["rss"] > self._memory:
                self._remove(worker)
        return outcomes

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._selector.unregister(worker.answers)
        worker.end()


class _Worker:
    """One worker process as its driver sees it."""

    def __init__(self, number: int, logs: Path | None) -> None:
        self.number, self.done, self.ready = number, 0, False
        self.job: TrialRequest | None = None
        self._rest = b""
        self.log = None if logs is None else logs / f"worker-{number}.log"
        if self.log is not None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") if self.log else contextlib.nullcontext(subprocess.DEVNULL) as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "housetrain.sweeps.trial_worker", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=worker_environment(os.environ),
                start_new_session=True,  # Ctrl-C in the terminal is for the driver, which tells the workers
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.jobs, self.answers = self.process.stdin, self.process.stdout

    def take(self, job: TrialRequest) -> None:
        self.job = job
        with contextlib.suppress(BrokenPipeError):  # it has just died: the end of its answers will say so
            self.jobs.write(json.dumps(dict(job)).encode() + b"\n")
            self.jobs.flush()

    def read(self) -> list[dict[str, Any]] | None:
        """Return the lines that have come, or ``None`` when the process has ended."""
        data = os.read(self.answers.fileno(), 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        """Close the pipes, which ends the process, and wait for it."""
        for pipe in (self.jobs, self.answers):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cause(self) -> str:
        """Return why the process ended, as far as can be seen."""
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return "its process was killed (out of memory?)"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"its process crashed ({signal.Signals(-code).name}){self._last_words()}"
        return f"its process left with {code}{self._last_words()}"

    def _last_words(self) -> str:
        if self.log is None or not self.log.is_file():
            return ""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1][:_LAST_WORDS]}" if lines else ""


def worker_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: one thread, and TensorFlow's start-up notes left out."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": own.get("TF_CPP_MIN_LOG_LEVEL", "3"), "PYTHONUNBUFFERED": "1"}
    return {**own, **dict.fromkeys(_THREADS, "1"), **quiet}
