"""One child process of a pool as its parent sees it: start it, write to it, read from it, end it.

In: a function, items. Out: messages of the child, its current item, how it ended. Does not know: which items there are,
what is retried, or the other children.

A child is a new program (``python -c ... pool_child``) or a fork. Neither is a `multiprocessing` child: spawn and
forkserver import the user's ``__main__`` again, so a script without a main guard would start itself again. A program
takes 0.2 s of a core to import numpy and the decoders. A fork takes milliseconds, but in a process with other threads
it can wait forever for a lock that one of them held: see `can_fork`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import mmap
import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from housetrain.system import pool_child
from housetrain.system.files import scratch_file
from housetrain.system.pool_child import FRAME, IDLE, SLOT

MEMORY_BYTES = 2 << 30
"""What the heap of one process may grow by: the largest images that are decoded take about half of it."""

_COMMAND = (
    "import json, sys; setup = json.loads(sys.argv[1]); sys.path[:] = setup.pop('path'); "
    "from housetrain.system.pool_child import main; main(**setup)"
)
_THREADED = ("tensorflow", "jax", "torch", "openvino", "onnxruntime", "ai_edge_litert")
_LAST_LINE = 400  # characters
_HANGS = 6  # times the limit on the clock: with 12 processes on 2 cores each has a sixth of the time


@dataclass(frozen=True)
class Limits:
    """Bounds of a worker.

    Attributes:
        timeout_s: Seconds of processor time that one item may take, on a machine that is free; see `Watch`. ``None``
            for no limit.
        memory_bytes: Bytes that the heap may grow by while items run; ``None`` for no limit.
        start_s: Seconds until the first item can run: imports, and the function's own ``start``.
        retry_killed: Whether an item runs again, once, when the system kills its process. The system may have run out
            of memory by no fault of this item.
        idle_s: Seconds without an item after which the process ends; ``None`` for never.
        stop_s: Seconds between SIGTERM and SIGKILL when the pool is closed; 0 for SIGKILL at once. A program that is
            given time to stop runs in a session of its own, so that Ctrl-C in a terminal reaches its parent only.
        items: Items after which the process is replaced; ``None`` for never.
        resident_bytes: Resident memory above which the process is replaced after an item; ``None`` for no limit.
    """

    timeout_s: float | None = 10.0
    memory_bytes: int | None = MEMORY_BYTES
    start_s: float = 120.0
    retry_killed: bool = True
    idle_s: float | None = None
    stop_s: float = 0.0
    items: int | None = None
    resident_bytes: int | None = None


def can_fork() -> bool:
    """Return whether this process may be forked: on Linux, and without a library whose threads may hold a lock."""
    return sys.platform == "linux" and not any(name in sys.modules for name in _THREADED)


def how_it_ended(code: int) -> str:
    """Return the reason that an exit code stands for."""
    if code == -signal.SIGKILL:
        return "killed by the system (out of memory?)"
    if code < 0:
        return f"process crashed ({signal.Signals(-code).name})"
    return f"process ended with exit code {code}"


class Channel:
    """Both pipes of a child: frames to it and frames from it. Neither side ever waits for the other.

    Args:
        inlet: Descriptor to write items to.
        outlet: Descriptor to read results from.
    """

    def __init__(self, inlet: int, outlet: int) -> None:
        self.inlet, self.outlet = inlet, outlet
        self.to_send, self._received = bytearray(), bytearray()
        os.set_blocking(inlet, False)
        os.set_blocking(outlet, False)

    def put(self, frame: bytes) -> None:
        """Add a frame to what `write` sends."""
        self.to_send += FRAME.pack(len(frame)) + frame

    def write(self) -> None:
        """Write what the pipe takes now. The pipe of a dead child takes nothing; `read` notices its end."""
        try:
            while self.to_send:
                del self.to_send[: os.write(self.inlet, self.to_send[: 1 << 20])]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.to_send.clear()

    def read(self) -> tuple[list[tuple[str, Any]], bool]:
        """Return the complete messages that have come, and whether the child has ended."""
        ended = False
        try:
            while not ended:
                data = os.read(self.outlet, 1 << 16)
                self._received += data
                ended = not data
        except BlockingIOError:
            pass
        messages: list[tuple[str, Any]] = []
        while len(self._received) >= FRAME.size:
            (length,) = FRAME.unpack_from(self._received)
            if len(self._received) < FRAME.size + length:
                break
            messages.append(pickle.loads(self._received[FRAME.size : FRAME.size + length]))
            del self._received[: FRAME.size + length]
        return messages, ended

    def close(self) -> None:
        """Close both pipes."""
        os.close(self.inlet)
        os.close(self.outlet)


class Watch:
    """How long a child has been at the same item.

    A machine that is busy with other things is not the item's fault: seconds of the clock count only as far as the
    process worked in them. One that does not work at all (a file system that does not answer) is given up, too.

    Args:
        pid: The child.
        seen: Its current item: see `Worker.current`.
    """

    def __init__(self, pid: int, seen: tuple[int, int]) -> None:
        self._pid = pid
        self.restart(seen)

    def restart(self, seen: tuple[int, int]) -> None:
        """Note that the child has begun another item, or has none."""
        self.seen, self.clock_s = seen, 0.0
        self._used_s: float | None = None

    def is_over(self, limit_s: float) -> bool:
        """Return whether the item has taken more than ``limit_s``; processor time counts from the first call."""
        if self._used_s is None:  # most items are done before anyone looks
            self._used_s = self._processor_s()
        if self.clock_s <= limit_s:
            return False
        return self.clock_s > _HANGS * limit_s or self._processor_s() - self._used_s > limit_s

    def _processor_s(self) -> float:
        import psutil

        with contextlib.suppress(psutil.Error):  # its end is noticed when it is read
            times = psutil.Process(self._pid).cpu_times()
            return float(times.user + times.system)
        return 0.0


class Worker:
    """One child process and the items it was given.

    Args:
        function: What it runs on items.
        limits: Its bounds.
        lifeline: Both ends of the pool's lifeline; see `housetrain.system.pool_child`.
        fork: Fork this process instead of starting a program.
        environment: Of a program; this process's, with one thread per library, by default.
        log: The file for what it prints; a temporary one by default.

    Raises:
        OSError: The system starts no more processes.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        limits: Limits,
        lifeline: tuple[int, int],
        *,
        fork: bool = False,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.forked, self._limits = fork, limits
        self.given: dict[int, None] = {}  # indices without a result, in order
        self.chunks = self.done = 0  # chunks it holds; items it finished
        self.ready = False
        with contextlib.ExitStack() as stack:
            self._log: IO[bytes] = scratch_file() if log is None else log.open("w+b")
            stack.callback(self._log.close)
            items, inlet = os.pipe()
            outlet, results = os.pipe()
            self.channel = Channel(inlet, outlet)
            stack.callback(self.channel.close)
            try:
                self.process = self._start(function, items, results, lifeline, environment)
            finally:
                os.close(items)
                os.close(results)
            stack.pop_all()
        self.watch = Watch(self.process.pid, self.current())

    def _start(
        self,
        function: Callable[..., Any],
        items: int,
        results: int,
        lifeline: tuple[int, int],
        environment: Mapping[str, str] | None,
    ) -> subprocess.Popen[bytes] | _Fork:
        options: dict[str, Any] = {"memory_bytes": self._limits.memory_bytes, "idle_s": self._limits.idle_s}
        with scratch_file() as file:
            file.truncate(SLOT.size)
            self._slot = mmap.mmap(file.fileno(), SLOT.size)
            SLOT.pack_into(self._slot, 0, IDLE, 0)
            if self.forked:

                def serve() -> None:
                    _become_a_child(self._log, lifeline, (self.channel.inlet, self.channel.outlet))
                    pool_child.serve(function, os.fdopen(items, "rb"), results, self._slot, **options)

                return _Fork(serve)
            passed = {"slot": file.fileno(), "lifeline": lifeline[0]}
            setup = json.dumps({"path": _import_path(), **passed, **options}, default=str)
            self.channel.put(pickle.dumps(function, protocol=pickle.HIGHEST_PROTOCOL))
            return subprocess.Popen(
                [sys.executable, "-P", "-c", _COMMAND, setup],
                stdin=items,
                stdout=results,
                stderr=self._log,
                pass_fds=tuple(passed.values()),
                env=_environment() if environment is None else environment,
                start_new_session=self._limits.stop_s > 0,
            )

    def current(self) -> tuple[int, int]:
        """Return (index of the current item or IDLE, number of items begun)."""
        index, begun = SLOT.unpack_from(self._slot, 0)
        return index, begun

    def stop(self) -> None:
        """Ask it to end, where the limits give it time for that."""
        if self._limits.stop_s:
            self.process.terminate()

    def end(self, wait_s: float = 0.0) -> tuple[int, str]:
        """Wait for its end, kill it after ``wait_s``, and return its exit code and the last line that it printed."""
        if wait_s <= 0:
            self.process.kill()
        try:
            code = self.process.wait(wait_s if wait_s > 0 else None)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.channel.close()
        with self._log as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return code, lines[-1][:_LAST_LINE] if lines else ""

    def worn(self) -> bool:
        """Return whether it is to be replaced before it gets another item."""
        if self._limits.items is not None and self.done >= self._limits.items:
            return True
        if self._limits.resident_bytes is None or not self.done:
            return False
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):  # its end is noticed when it is read
            return bool(psutil.Process(self.process.pid).memory_info().rss > self._limits.resident_bytes)
        return False


class _Fork:
    """A forked process, with the part of `subprocess.Popen` that a worker needs.

    Args:
        work: What it does. It never returns into the code of its parent.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        # Ctrl-C must not reach the fork before it has left this function: it would clean up in its parent's name.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of other threads' locks; see `can_fork`.
                warnings.simplefilter("ignore", DeprecationWarning)
                self.pid = os.fork()
            if self.pid == 0:
                try:
                    work()
                    os._exit(0)
                finally:
                    os._exit(1)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    terminate = kill

    def wait(self, timeout: float | None = None) -> int:
        with contextlib.suppress(ChildProcessError):  # the program that uses us ignores SIGCHLD
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return 0


def _become_a_child(log: IO[bytes], lifeline: tuple[int, int], others: tuple[int, ...]) -> None:
    """Give a fork what a program starts with, and close what belongs to its parent."""
    gc.disable()  # it would copy memory that is shared
    for descriptor in (lifeline[1], *others):
        os.close(descriptor)
    pool_child.die_with_parent(lifeline[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _import_path() -> list[str]:
    """Return this process's import path without the working folder, which may hold files of strangers.

    The working folder stays where this package itself is imported from it.
    """
    package = os.path.realpath(Path(__file__).parents[2])
    work = os.path.realpath(".")
    return [entry for entry in sys.path if (place := os.path.realpath(entry or ".")) != work or place == package]


def _environment() -> dict[str, str]:
    """One thread a worker: there is a worker for each core already."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    encoding = {"PYTHONUTF8": "1"} if sys.flags.utf8_mode else {}
    return {**os.environ, **dict.fromkeys(threads, "1"), **encoding}
