"""A function on many items, in child processes: an item that hangs, crashes or asks for too much memory costs itself.

In: a function that can be imported by name, and items. Out: (index, result) pairs as they come, in any order; an item
that raised, crashed, hung or asked for too much memory is a `Failed` with the reason. Does not know: images, models.

`map_in_workers` runs a function on a list. A `ProcessPool` stays open and takes items one by one: trials of a sweep, or
the images that a page receives.

Each child writes the index of its current item into shared memory. When it dies, or the index does not change for too
long, that item is the one that failed; everything else the child had been given is handed out again. A fork is trusted
less: what it died or hung on runs again in a new program, which decides.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from housetrain.errors import HousetrainError
from housetrain.system.machine import cores
from housetrain.system.pool_child import IDLE
from housetrain.system.pool_worker import MEMORY_BYTES, Worker, can_fork, how_it_ended
from housetrain.system.pool_worker import Limits as Limits

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2  # chunks a worker holds, so that it never waits for the parent between two
_POLL_S = 0.1
_GIVE_UP = 5  # workers that die in a row between two items


@dataclass(frozen=True)
class Failed:
    """The result of an item whose function returned nothing.

    Args:
        reason: A short phrase: the ``reason`` of a :class:`~housetrain.errors.DecodeError`, the message of another
            error of this package, ``TypeName: message`` of other exceptions, ``process crashed (SIGSEGV)``,
            ``took over 10 s``, ``needs too much memory``.
    """

    reason: str


def map_in_workers(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    workers: int | None = None,
    timeout_s: float = 10.0,
    memory_bytes: int = MEMORY_BYTES,
    chunk: int = 32,
    fork: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Generator[tuple[int, R | Failed], None, None]:
    """Run ``function`` on every item in worker processes.

    Args:
        function: A function of a module, or an instance with ``__call__``; see `ProcessPool`.
        items: What to run it on, pickled in chunks as they are handed out (a lazy sequence stays lazy).
        workers: Processes; ``None``: one per core, but at most one per 16 items.
        timeout_s: Seconds of processor time that one item may take.
        memory_bytes: Bytes that one worker's heap may grow by.
        chunk: The most items that travel together.
        fork: Fork this process where that is safe; see `housetrain.system.pool_worker.can_fork`.
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
    limits = Limits(timeout_s=timeout_s, memory_bytes=memory_bytes)
    with ProcessPool(function, items, workers=count, limits=limits, chunk=chunk, fork=fork) as pool:
        done = 0
        while done < len(items):
            for index, result in pool.poll(_POLL_S):
                done += 1
                if progress is not None:
                    progress(done)
                yield index, result


class ProcessPool:
    """Child processes that run one function. Children start when there is work, and end with the pool or its process.

    Args:
        function: A function of a module, or an instance with ``__call__``. It is pickled, so it must be found by
            import: one that is defined in ``__main__`` is refused. Where it has a method ``start``, each child calls
            that before its first item: to load a model, or a library.
        items: The first items.
        workers: Child processes at most; one per core by default.
        limits: Bounds of each child.
        chunk: The most items that travel together.
        fork: Fork this process where that is safe.
        environment: Of the children; this process's, with one thread per library, by default.
        logs: Folder for ``worker-N.log``, what each child prints; by default the last line of a child that does not
            start is all that is kept.

    Raises:
        HousetrainError: ``function`` cannot be sent to another process.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any] = (),
        *,
        workers: int | None = None,
        limits: Limits | None = None,
        chunk: int = 1,
        fork: bool = False,
        environment: Mapping[str, str] | None = None,
        logs: Path | None = None,
    ) -> None:
        _check_portable(function)
        self._function, self._environment, self._logs = function, environment, logs
        self._queue = _Queue(items, chunk, workers or cores())
        self._limits = limits or Limits()
        self._fork = fork and can_fork()
        self._workers: dict[int, Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._lifeline: tuple[int, int] | None = os.pipe()
        self._looked = time.monotonic()
        self._idle_deaths = 0

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ready(self) -> bool:
        """Whether a child has started, as far as `poll` has heard."""
        return any(worker.ready for worker in self._workers.values())

    def fileno(self) -> int:
        """Return a descriptor for `select`: readable when `poll` has something to do, apart from its time limits."""
        return self._selector.fileno()

    def start(self, count: int) -> None:
        """Start children before there are items for them: importing a library may take seconds."""
        while len(self._workers) < min(count, self._queue.workers):
            try:
                self._start()
            except OSError as error:  # too many processes, too little memory
                if self._fork:
                    self._fork = False
                elif not self._workers:
                    raise HousetrainError(
                        "The worker processes do not start", do="close other programs", said=str(error)
                    ) from error
                else:
                    self._queue.workers = len(self._workers)

    def submit(self, item: Any) -> int:
        """Add an item and return its index."""
        index = self._queue.add(item)
        self._feed_all()
        return index

    def poll(self, timeout_s: float) -> list[tuple[int, Any]]:
        """Return results that have come, as (index, result or `Failed`); wait for the first for up to ``timeout_s``.

        Raises:
            HousetrainError: The children do not start, or the function's ``start`` raised.
        """
        results: list[tuple[int, Any]] = []
        limit = time.monotonic() + timeout_s
        while True:
            self.start(self._queue.open)
            left = limit - time.monotonic()
            for key, _ in self._selector.select(max(0.0, min(left, _POLL_S))):
                number, worker = key.data
                if self._workers.get(number) is not worker:
                    continue  # it was replaced a moment ago
                if key.fd == self._workers[number].channel.inlet:
                    self._send(number)
                else:
                    self._hear(number, results)
            self._look(results)
            if results or left <= 0 or not self._queue.open:
                return results

    def close(self) -> None:
        """End all children. May be called twice."""
        workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            worker.stop()
        limit = time.monotonic() + self._limits.stop_s
        for worker in workers:
            worker.end(limit - time.monotonic())
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            self._selector.close()
            for descriptor in lifeline:
                os.close(descriptor)

    def _start(self) -> None:
        assert self._lifeline is not None, "the pool is closed"
        number = next(n for n in range(1, len(self._workers) + 2) if n not in self._workers)
        log = None
        if self._logs is not None:
            self._logs.mkdir(parents=True, exist_ok=True)
            log = self._logs / f"worker-{number}.log"
        worker = self._workers[number] = Worker(
            self._function, self._limits, self._lifeline, fork=self._fork, environment=self._environment, log=log
        )
        self._selector.register(worker.channel.outlet, selectors.EVENT_READ, (number, worker))
        if worker.channel.to_send:
            self._selector.register(worker.channel.inlet, selectors.EVENT_WRITE, (number, worker))

    def _hear(self, number: int, results: list[tuple[int, Any]]) -> None:
        worker = self._workers[number]
        messages, ended = worker.channel.read()
        for kind, value in messages:
            if kind == "refused":
                self._remove(number)
                raise HousetrainError(value)
            if kind == "ready":
                worker.ready = True
                worker.watch.restart(worker.current())
                continue
            for index, returned, result in value:
                if index in worker.given:
                    del worker.given[index]
                    worker.done += 1
                    results.append((index, result if returned else Failed(result)))
                    self._queue.close(index)
                    self._idle_deaths = 0
            worker.chunks -= kind == "chunk"
        if ended:
            self._bury(number, results, "")
        elif not worker.given and worker.worn():
            self._remove(number)
        else:
            self._feed(number)

    def _look(self, results: list[tuple[int, Any]]) -> None:
        """Find workers whose current item takes too long."""
        now = time.monotonic()
        # When this process itself was held up (a debugger, a laptop's lid), the workers are not to blame.
        passed, self._looked = min(now - self._looked, 1.0), now
        for number, worker in list(self._workers.items()):
            seen, watch = worker.current(), worker.watch
            if worker.ready and (seen != watch.seen or seen[0] == IDLE):
                watch.restart(seen)
                continue
            watch.clock_s += passed
            limit = self._limits.timeout_s if worker.ready else self._limits.start_s
            if limit is not None and watch.is_over(limit):
                self._bury(number, results, f"took over {limit:g} s")

    def _bury(self, number: int, results: list[tuple[int, Any]], reason: str) -> None:
        """Remove a worker that died or hangs. Its current item is the culprit; the others are handed out again."""
        worker, code, last_line = self._remove(number)
        if not worker.ready and not worker.forked and (reason or code != -signal.SIGKILL):
            raise HousetrainError("The worker processes do not start", said=last_line or reason or code)
        current = worker.current()
        culprit = current[0]
        if (reason and current != worker.watch.seen) or (
            not reason and code == -signal.SIGKILL and self._limits.retry_killed and self._queue.spare(culprit)
        ):
            # Either it finished the item in the moment it was given up, or the system killed it, perhaps for memory
            # that others took: the item is not to blame.
            culprit = IDLE
        if worker.forked:
            self._fork = False  # programs decide from now on
        elif culprit in worker.given:
            del worker.given[culprit]
            if not reason:
                reason = how_it_ended(code) + (f": {last_line}" if self._logs and last_line else "")
            results.append((culprit, Failed(reason)))
            self._queue.close(culprit)
        elif worker.given or not worker.ready:
            self._idle_deaths += 1
            if self._idle_deaths >= _GIVE_UP:
                raise HousetrainError("The worker processes keep dying", said=last_line or code)
        self._queue.again.extend(worker.given)
        self.start(self._queue.open)
        self._feed_all()

    def _remove(self, number: int) -> tuple[Worker, int, str]:
        worker = self._workers.pop(number)
        self._selector.unregister(worker.channel.outlet)
        if worker.channel.to_send:
            self._selector.unregister(worker.channel.inlet)
        return worker, *worker.end()

    def _feed_all(self) -> None:
        for number in self._workers:
            self._feed(number)

    def _feed(self, number: int) -> None:
        worker, queue = self._workers[number], self._queue
        most = _AHEAD if queue.chunk > 1 else 1
        while worker.ready and worker.chunks < most and (indices := queue.take(again=not worker.forked)):
            worker.given.update(dict.fromkeys(indices))
            worker.chunks += 1
            self._send(number, pickle.dumps([(index, queue[index]) for index in indices], protocol=5))

    def _send(self, number: int, frame: bytes | None = None) -> None:
        """Send what the pipe takes now, and the rest when it takes more."""
        worker = self._workers[number]
        waiting = bool(worker.channel.to_send)
        if frame is not None:
            worker.channel.put(frame)
        worker.channel.write()
        if worker.channel.to_send and not waiting:
            self._selector.register(worker.channel.inlet, selectors.EVENT_WRITE, (number, worker))
        elif waiting and not worker.channel.to_send:
            self._selector.unregister(worker.channel.inlet)


class _Queue:
    """The items, and which are handed out next.

    Args:
        items: The first items, which the caller keeps; those that are added are kept until they have a result.
        chunk: The most items that travel together.
        workers: How many share the items.
    """

    def __init__(self, items: Sequence[Any], chunk: int, workers: int) -> None:
        self.chunk, self.workers = chunk, workers
        self.open = self._count = len(items)  # open: without a result
        self.again: deque[int] = deque()  # given to a worker that died
        self._items, self._added = items, dict[int, Any]()
        self._next = 0
        self._spared: set[int] = set()

    def __getitem__(self, index: int) -> Any:
        return self._added[index] if index in self._added else self._items[index]

    def add(self, item: Any) -> int:
        """Add an item and return its index."""
        self._added[self._count] = item
        self._count += 1
        self.open += 1
        return self._count - 1

    def close(self, index: int) -> None:
        """Forget an item that has a result."""
        self._added.pop(index, None)
        self._spared.discard(index)
        self.open -= 1

    def take(self, *, again: bool) -> list[int]:
        """Return the next indices to hand out, none when there are no more.

        Args:
            again: Whether the worker may get items that another one died with.
        """
        left = self._count - self._next + len(self.again)
        # Ever smaller towards the end, so that no worker is left alone with many.
        size = max(1, min(self.chunk, left // (2 * _AHEAD * self.workers)))
        if again and self.again:
            return [self.again.popleft() for _ in range(min(len(self.again), size))]
        first, self._next = self._next, min(self._next + size, self._count)
        return list(range(first, self._next))

    def spare(self, index: int) -> bool:
        """Return whether an item whose process was killed may run again: once."""
        if index in self._spared:
            return False
        self._spared.add(index)
        return True


def _check_portable(function: Callable[..., Any]) -> None:
    if (getattr(function, "__module__", None) or type(function).__module__) == "__main__":
        raise HousetrainError(
            "A function of the script that is running cannot be sent to workers",
            do="define it in a module of its own and import it",
            function=getattr(function, "__name__", type(function).__name__),
        )
    try:
        pickle.dumps(function, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise HousetrainError("This function cannot be sent to workers", said=str(error)) from error
