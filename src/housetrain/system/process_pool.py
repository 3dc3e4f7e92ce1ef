"""A function on many items, in processes, each item bounded in time and memory.

In: a function that can be found by name, and items. Out: (index, result) pairs as they come, in any order; an item that
raised, crashed, hung or asked for too much memory is a `Failed` with the reason, and costs nothing but itself. It does
not know images.

Workers are plain programs (``python -c ... housetrain.system.pool_child``) with pipes, not `multiprocessing` children:

* a forked child of a process that has TensorFlow's threads can deadlock;
* spawn and forkserver import the user's ``__main__`` again, so a script without a main guard would run itself anew;
* a fresh program imports numpy and the decoders and nothing else, 0.2 s on one core.

Each worker writes the index of the item under way into a shared slot. When it dies, or the slot stands still for too
long, the slot names the culprit; everything else the worker had been given is handed out again.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from housetrain.errors import HousetrainError
from housetrain.system.pool_child import FRAME, IDLE, MEMORY_BYTES, SLOT, Result

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2  # chunks a worker holds: it never waits for the parent between two
_POLL_S = 0.1
_START_S = 120.0  # a worker that says nothing for so long after its start never will
_GIVE_UP = 5  # workers that die in a row although they had nothing to do
_COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from housetrain.system.pool_child import main; main()"
)


@dataclass(frozen=True)
class Failed:
    """What an item became when its function gave nothing.

    Args:
        reason: A short phrase: the ``reason`` of a :class:`~housetrain.errors.DecodeError`, or ``TypeName: message`` of
            another exception, ``decoder crashed (signal 11)``, ``took over 10 s``, ``needs too much memory``.
    """

    reason: str


def cores() -> int:
    """Return how many processes can run at once: the cores this process may use, and its container's share of them."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            available = min(available, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # not in a container with a share
    return max(1, available)


def map_in_workers(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    workers: int | None = None,
    timeout_s: float = 10.0,
    memory_bytes: int = MEMORY_BYTES,
    chunk: int = 32,
    progress: Callable[[int], None] | None = None,
) -> Generator[tuple[int, R | Failed], None, None]:
    """Run ``function`` on every item in worker processes.

    Args:
        function: A function of a module, or a frozen dataclass with ``__call__``; it is pickled once. It must be found
            by import: one that was defined in ``__main__`` is refused.
        items: What to run it on, pickled in chunks as they are handed out (a lazy sequence stays lazy).
        workers: Processes; ``None``: one a core, but never more than one for 16 items.
        timeout_s: Seconds one item may take.
        memory_bytes: Bytes that one worker's heap may grow by.
        chunk: The most items that travel together.
        progress: Called with the number of items done so far.

    Yields:
        ``(index, result)``, or ``(index, Failed)``; every index once, in any order.

    Raises:
        HousetrainError: Workers do not start at all, or ``function`` cannot be sent to them.

    Close the iterator (or leave the loop and let it go) to end the workers at once; Ctrl-C does so too.
    """
    if not len(items):
        return
    count = min(workers, len(items)) if workers else min(cores(), -(-len(items) // 16))
    pool = _Pool(_pickled(function), items, count, chunk, timeout_s=timeout_s, memory_bytes=memory_bytes)
    try:
        pool.fill()
        done = 0
        while done < len(items):
            for index, result in pool.step():
                done += 1
                if progress is not None:
                    progress(done)
                yield index, result
    finally:
        pool.end()


def _pickled(function: Callable[..., Any]) -> bytes:
    if (getattr(function, "__module__", None) or type(function).__module__) == "__main__":
        raise HousetrainError(
            "a function of the script that is running cannot be sent to workers",
            do="define it in a module of its own and import it",
            function=getattr(function, "__name__", type(function).__name__),
        )
    try:
        return pickle.dumps(function, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise HousetrainError("this function cannot be sent to workers", said=str(error)) from error


class _Worker:
    """One process, what it was given, and what it said so far."""

    def __init__(self, arguments: tuple[int, float], log: IO[bytes]) -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(SLOT.size)
            self.slot = mmap.mmap(file.fileno(), SLOT.size)
            SLOT.pack_into(self.slot, 0, IDLE, 0)
            command = [sys.executable, "-c", _COMMAND, json.dumps(sys.path, default=str), str(file.fileno())]
            self.process = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(file.fileno(),),
                env=_environment(),
                bufsize=0,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.inlet, self.outlet = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.inlet, False)
        os.set_blocking(self.outlet, False)
        self.to_send = bytearray()
        self.received = bytearray()
        self.chunks = 0  # handed out and not finished
        self.given: dict[int, None] = {}  # indices without a result yet, in order
        self.ready = False
        self.seen = self.under_way()
        self.still_s = 0.0

    def under_way(self) -> tuple[int, int]:
        """(index or IDLE, how many were begun)."""
        index, begun = SLOT.unpack_from(self.slot, 0)
        return index, begun

    def write(self) -> None:
        """Write what the pipe takes now. A dead worker's pipe takes nothing; its end is noticed when it is read."""
        try:
            while self.to_send:
                del self.to_send[: os.write(self.inlet, self.to_send[: 1 << 20])]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.to_send.clear()

    def read(self) -> tuple[list[tuple[str, list[Result]]], bool]:
        """Return the whole messages that have come, and whether the worker has ended."""
        ended = False
        try:
            while not ended:
                data = os.read(self.outlet, 1 << 16)
                self.received += data
                ended = not data
        except BlockingIOError:
            pass
        messages: list[tuple[str, list[Result]]] = []
        while len(self.received) >= FRAME.size:
            (length,) = FRAME.unpack_from(self.received)
            if len(self.received) < FRAME.size + length:
                break
            messages.append(pickle.loads(self.received[FRAME.size : FRAME.size + length]))
            del self.received[: FRAME.size + length]
        return messages, ended

    def end(self) -> int:
        """Kill it, wait for it, and return how it ended; the slot stays readable."""
        self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return code


class _Pool:
    """Hands out chunks, gathers results, and replaces workers that die or stand still."""

    def __init__(
        self, function: bytes, items: Sequence[Any], count: int, chunk: int, *, timeout_s: float, memory_bytes: int
    ) -> None:
        self._function, self._items = function, items
        self._count, self._chunk = count, chunk
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._next = 0
        self._again: deque[int] = deque()  # given to a worker that died, to be handed out once more
        self._spared: set[int] = set()  # killed by the system once already
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self._looked = time.monotonic()
        self._idle_deaths = 0

    def fill(self) -> None:
        """Start as many workers as were asked for, or as the system allows."""
        while len(self._workers) < self._count:
            try:
                self.start()
            except OSError as error:  # too many processes, too little memory
                if not self._workers:
                    raise HousetrainError(
                        "the worker processes do not start", do="close other programs", said=str(error)
                    ) from error
                self._count = len(self._workers)

    def start(self) -> None:
        """Start one more worker."""
        worker = _Worker((self._memory_bytes, 2 * self._timeout_s + 5), self._log)
        self._workers.append(worker)
        self._selector.register(worker.outlet, selectors.EVENT_READ, worker)
        self._send(worker, self._function)
        self._feed(worker)

    def step(self) -> list[tuple[int, Any]]:
        """Wait until something happens, at most `_POLL_S`, and return the results that it brought."""
        results: list[tuple[int, Any]] = []
        for key, _ in self._selector.select(_POLL_S):
            worker: _Worker = key.data
            if worker not in self._workers:  # it was replaced a moment ago
                continue
            if key.fd == worker.inlet:
                self._send(worker)
            else:
                self._hear(worker, results)
        self._look(results)
        return results

    def end(self) -> None:
        """Leave no process behind."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._selector.close()
        self._log.close()

    def _hear(self, worker: _Worker, results: list[tuple[int, Any]]) -> None:
        messages, ended = worker.read()
        for kind, done in messages:
            if kind == "ready":
                worker.ready, worker.still_s = True, 0.0
                continue
            for index, well, value in done:
                if index in worker.given:
                    del worker.given[index]
                    results.append((index, value if well else Failed(value)))
                    self._idle_deaths = 0
            worker.chunks -= kind == "chunk"
        if ended:
            self._bury(worker, results, "")
        else:
            self._feed(worker)

    def _look(self, results: list[tuple[int, Any]]) -> None:
        """Find workers that stand still."""
        now = time.monotonic()
        # when this process itself was held up (a debugger, a laptop's lid), the workers are not to blame
        passed, self._looked = min(now - self._looked, 1.0), now
        for worker in list(self._workers):
            seen = worker.under_way()
            if worker.ready and (seen != worker.seen or seen[0] == IDLE):
                worker.seen, worker.still_s = seen, 0.0
                continue
            worker.still_s += passed
            if worker.still_s > (self._timeout_s if worker.ready else _START_S):
                self._bury(worker, results, f"took over {self._timeout_s:g} s" if worker.ready else "hung")

    def _bury(self, worker: _Worker, results: list[tuple[int, Any]], reason: str) -> None:
        """Replace a worker that died, or that must; the item under way is the culprit, the others go on."""
        self._workers.remove(worker)
        self._selector.unregister(worker.outlet)
        if worker.to_send:
            self._selector.unregister(worker.inlet)
        code = worker.end()
        if not worker.ready:
            raise HousetrainError("the worker processes do not start", said=self._last_words() or reason or code)
        under_way = worker.under_way()
        culprit = under_way[0]
        if reason and under_way != worker.seen:
            culprit = IDLE  # it went on in the very moment it was given up: nobody is to blame
        elif not reason and code == -signal.SIGKILL and culprit not in self._spared:
            # nobody here killed it: the system ran out of memory, perhaps not by this item's fault
            self._spared.add(culprit)
            culprit = IDLE
        if culprit in worker.given:
            del worker.given[culprit]
            results.append((culprit, Failed(reason or _how_it_ended(code, self._timeout_s))))
        else:
            self._idle_deaths += 1
            if self._idle_deaths >= _GIVE_UP:
                raise HousetrainError("the worker processes keep dying", said=self._last_words() or code)
        self._again.extend(worker.given)
        self.fill()

    def _feed(self, worker: _Worker) -> None:
        while worker.chunks < _AHEAD and (indices := self._take()):
            worker.given.update(dict.fromkeys(indices))
            worker.chunks += 1
            self._send(worker, pickle.dumps([(index, self._items[index]) for index in indices], protocol=5))

    def _take(self) -> list[int]:
        left = len(self._items) - self._next + len(self._again)
        # ever smaller towards the end, so that no worker is left alone with a long tail
        size = max(1, min(self._chunk, left // (2 * _AHEAD * self._count)))
        indices = [self._again.popleft() for _ in range(min(len(self._again), size))]
        if not indices:
            indices = list(range(self._next, min(self._next + size, len(self._items))))
            self._next += len(indices)
        return indices

    def _send(self, worker: _Worker, frame: bytes | None = None) -> None:
        """Send what the pipe takes now, and the rest when it takes more: neither side ever waits for the other."""
        waiting = bool(worker.to_send)
        if frame is not None:
            worker.to_send += FRAME.pack(len(frame)) + frame
        worker.write()
        if worker.to_send and not waiting:
            self._selector.register(worker.inlet, selectors.EVENT_WRITE, worker)
        elif waiting and not worker.to_send:
            self._selector.unregister(worker.inlet)

    def _last_words(self) -> str:
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def _how_it_ended(code: int, timeout_s: float) -> str:
    if code == -signal.SIGALRM:
        return f"took over {timeout_s:g} s"
    if code == -signal.SIGKILL:
        return "killed by the system (out of memory?)"
    return f"decoder crashed (signal {-code})" if code < 0 else f"decoder crashed (exit code {code})"


def _environment() -> dict[str, str]:
    """One thread a worker: there is a worker for each core already."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    encoding = {"PYTHONUTF8": "1"} if sys.flags.utf8_mode else {}
    return {**os.environ, **dict.fromkeys(threads, "1"), **encoding}
