"""Executors: where trials run. One protocol; in this process, or in worker processes of one thread each.

In: trial requests, plain JSON (see `trial.py`). Out: outcomes. Does not know: what is swept, in which order, or how
often. A cluster needs no more than these four members.

Why processes of one thread: the models of a grid are small, and the threads of one training wait for each other at
every layer. Separate trainings, one per core, never wait.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from housetrain.sweeps.trial import TrialRequest, run_trial
from housetrain.system.backend import load_keras
from housetrain.system.machine import cores, memory_bytes
from housetrain.system.process_pool import Failed, Limits, ProcessPool
from housetrain.training.environment import COMMAND, command_line

TRIALS_PER_WORKER = 8
"""Trials after which a worker is replaced: TensorFlow keeps some memory of every model it has compiled."""
_SHARE_OF_MEMORY = 0.75
_STOP_S = 5.0
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class Outcome(NamedTuple):
    """How a trial ended.

    Attributes:
        name: The trial's.
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
        """How many trials may run at once."""

    def submit(self, request: TrialRequest) -> None:
        """Take a trial. At most ``slots`` may run at once."""

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Return the trials that have ended since the last call; wait for the first for up to ``timeout_s``."""

    def close(self) -> None:
        """Stop the trials that run; the same requests resume them. May be called twice."""


class InProcess:
    """Runs each trial in the process of the caller, inside `poll`, which then takes as long as the trial."""

    slots = 1

    def __init__(self) -> None:
        self._requests: deque[TrialRequest] = deque()

    def submit(self, request: TrialRequest) -> None:
        """Take a trial. See `Executor.submit`."""
        self._requests.append(request)

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Run the next trial. See `Executor.poll`."""
        return [Outcome(**run_trial(self._requests.popleft()))] if self._requests else []

    def close(self) -> None:
        """Forget the trials that did not begin."""
        self._requests.clear()


class Processes:
    """Runs trials in worker processes, each with one thread, as many as there are cores.

    Workers are new programs (TensorFlow does not survive a fork), share the prepared images through the page cache, and
    are replaced after some trials or when they take too much memory. They end with this process.

    Args:
        workers: How many; one per core by default.
        logs: Folder for what the workers print; nowhere by default.
        trials: Trials after which a worker is replaced, 1 or more.
        resident_bytes: Memory a worker may keep after a trial before it is replaced; by default three quarters of the
            machine's, shared by all.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        logs: Path | None = None,
        trials: int = TRIALS_PER_WORKER,
        resident_bytes: int | None = None,
    ) -> None:
        self.slots = workers or cores()
        self._logs = logs
        self._limits = Limits(
            timeout_s=None,
            memory_bytes=None,
            stop_s=_STOP_S,
            items=trials,
            resident_bytes=resident_bytes or int(memory_bytes() * _SHARE_OF_MEMORY / self.slots),
            retry_killed=False,  # the driver retries, for as long as the trial makes progress
        )
        self._pool: ProcessPool | None = None
        self._names: dict[int, str] = {}

    def start(self, count: int) -> None:
        """Start up to ``count`` workers before there is a trial: importing TensorFlow takes seconds."""
        self._open().start(count)

    def submit(self, request: TrialRequest) -> None:
        """Take a trial. See `Executor.submit`."""
        index = self._open().submit(dict(request))
        self._names[index] = request["name"]

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Return what has ended. See `Executor.poll`."""
        found = self._pool.poll(timeout_s) if self._pool is not None else []
        return [
            Outcome(self._names[index], "died", result.reason) if isinstance(result, Failed) else Outcome(**result)
            for index, result in found
        ]

    def close(self) -> None:
        """Stop all workers: with SIGTERM, then with SIGKILL. See `Executor.close`."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _open(self) -> ProcessPool:
        if self._pool is None:
            self._names = {}
            self._pool = ProcessPool(
                Training(),
                workers=self.slots,
                limits=self._limits,
                environment=worker_environment(os.environ),
                logs=self._logs,
            )
        return self._pool


class Training:
    """What a worker runs: Keras is imported before the first trial is there."""

    def start(self) -> None:
        """Import Keras, which takes seconds."""
        load_keras("training")

    def __call__(self, request: TrialRequest) -> dict[str, Any]:
        """Train one trial. See `run_trial`."""
        return run_trial(request)


def worker_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: one thread, no start-up notes of TensorFlow, the command it works for."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": own.get("TF_CPP_MIN_LOG_LEVEL", "3"), "PYTHONUNBUFFERED": "1"}
    return {**own, **dict.fromkeys(_THREADS, "1"), **quiet, COMMAND: command_line()}
