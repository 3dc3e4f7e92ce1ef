"""Who decodes the images of an array file: forks of this process first, bounded worker processes for what is left.

In: a `RowWriter` and its items. Out: what became of each. It does not know splits or folders.

Starting worker programs costs as much as decoding a thousand small photos, a fork costs nothing. So forks begin, and
hand over to workers when it shows that much is to do. Whatever a fork did not finish cleanly, because the image
failed, or the decoder crashed or hung, is done again by a worker, which finds out and tells.

A fork is only made where it is safe: on Linux, and not in a process that has loaded TensorFlow, JAX or torch (whose
threads may hold a lock at that moment). It reads, decodes and writes rows, touches nothing else, and ends without
running any of this process's exit handlers; its memory and its time for one image are bounded as a worker's are.
Threads would need no such care, but for images this small they wait for the interpreter's lock a third of the time.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Generator, Sequence
from typing import NoReturn, overload

import numpy as np

from housetrain.data.npy_writer import Outcome, RowWriter
from housetrain.system.pool_child import bound_memory
from housetrain.system.process_pool import Failed, cores, map_in_workers

Item = tuple[int, str, str]
Results = Generator[tuple[int, Outcome | Failed | None], None, None]

FIRST_S = 0.5  # so long forks are tried before it is known how long the rest will take
WORTH_S = 2.0  # what must be left then, in seconds, for workers to be worth their start
IMAGE_S = 10.0  # a fork that takes so long for one image is ended by the kernel
_POLL_S = 0.02
_CHUNK = 8
_TOKEN = 4  # bytes; a pipe takes 64 KiB of them without a reader
_MOST_TOKENS = 16_000
_DONE, _AGAIN = 1, 2
_THREADED = ("tensorflow", "jax", "torch")


def fill(writer: RowWriter, items: Sequence[Item], *, workers: int | None = None) -> Results:
    """Write all rows.

    Args:
        writer: Writes one row.
        items: What it takes, one per row.
        workers: Processes; default: one per core.

    Yields:
        (place in ``items``, ``None`` for success or what went wrong), each place once, in any order.
    """
    rest: Sequence[int] = range(len(items))
    if can_fork() and items:
        with _Forks(writer, items, count=workers or cores()) as forks:
            yield from forks.results()
            rest = forks.undone()
    with contextlib.closing(map_in_workers(writer, _Chosen(items, rest), workers=workers)) as results:
        for place, outcome in results:
            yield rest[place], outcome


def can_fork() -> bool:
    """Return whether this process may be forked."""
    return sys.platform == "linux" and not any(name in sys.modules for name in _THREADED)


class _Forks:
    """Forks that take chunks of the items from a pipe, and mark in shared memory what they have done."""

    def __init__(self, writer: RowWriter, items: Sequence[Item], *, count: int) -> None:
        self._writer, self._items = writer, items
        self._chunk = max(_CHUNK, -(-len(items) // _MOST_TOKENS))
        self._marks = mmap.mmap(-1, len(items))
        self._view = np.frombuffer(self._marks, np.uint8)
        self._tokens, filled = os.pipe()
        with os.fdopen(filled, "wb") as file:
            for start in range(0, len(items), self._chunk):
                file.write(start.to_bytes(_TOKEN, "little"))
        self._ended, held = os.pipe()  # its other end is closed when the last fork ends
        self._pids: list[int] = []
        try:
            for _ in range(min(count, -(-len(items) // self._chunk))):
                self._start()
        except OSError:
            pass  # too many processes: those that there are do what they can, workers do the rest
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(held)

    def __enter__(self) -> _Forks:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        os.close(self._tokens)
        os.close(self._ended)

    def results(self) -> Results:
        """Yield what is done, until the forks have ended: nothing is left, or they were told to leave the rest."""
        since = time.perf_counter()
        told = np.zeros(len(self._items), bool)
        done, left = 0, False
        while True:
            ended = bool(select.select([self._ended], [], [], _POLL_S)[0])
            fresh = np.flatnonzero((self._view == _DONE) & ~told)
            told[fresh] = True
            done += len(fresh)
            for place in fresh.tolist():
                yield place, None
            if ended:
                return
            passed = time.perf_counter() - since
            if not left and passed > FIRST_S and passed * (len(self._items) - done) > WORTH_S * done:
                left = True
                while os.read(self._tokens, _TOKEN * 1024):  # they finish the chunk in hand and find no other
                    pass

    def undone(self) -> list[int]:
        """Return the places that no fork has finished cleanly. Call it after `results`, when no fork works any more."""
        self._end()
        return np.flatnonzero(self._view != _DONE).tolist()

    def _start(self) -> None:
        # Ctrl-C must not find the fork before it has left this function: it would tidy up in its parent's name
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            parent, pid = os.getpid(), _fork()
            if pid == 0:
                self._work(parent)
            self._pids.append(pid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _work(self, parent: int) -> NoReturn:
        """Be a fork."""
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends its forks
            for number in (signal.SIGTERM, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            bound_memory()
            gc.disable()  # it would copy memory that is shared
            while (token := os.read(self._tokens, _TOKEN)) and os.getppid() == parent:
                start = int.from_bytes(token, "little")
                for place in range(start, min(start + self._chunk, len(self._items))):
                    signal.setitimer(signal.ITIMER_REAL, IMAGE_S)
                    self._marks[place] = _DONE if self._writer(self._items[place]) is None else _AGAIN
        finally:
            os._exit(0)

    def _end(self) -> None:
        """Leave no fork behind."""
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._pids.clear()


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of other threads' locks; the fork takes none of theirs: see the head of this file.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class _Chosen(Sequence[Item]):
    """Some items of a sequence, without a copy."""

    def __init__(self, items: Sequence[Item], places: Sequence[int]) -> None:
        self._items, self._places = items, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return self._items[self._places[place]]
