"""Who decodes the pictures of an array file: threads of this process, and worker processes when there is much to do.

In: a `RowWriter` and its items. Out: what became of each. It does not know splits or folders.

Starting processes costs as much as decoding some hundred photos. So the first pictures are decoded in threads (JPEG and
PNG decoders, sha256 and writing all let go of the interpreter's lock), and processes take over when what is left is
worth their start. Threads have no bound in time and cannot survive a crash of the decoder; here they need none, because
a row is only decoded after its bytes have the sha256 of a file that `scan` has decoded, whole, in a bounded worker.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Generator, Sequence
from typing import overload

from housetrain.data.arrays import Outcome, RowWriter
from housetrain.data.workers import Failed, cores, map_in_workers

Item = tuple[int, str, str]

FIRST_S = 0.4  # so long threads are tried before it is known how long the rest will take
WORTH_S = 1.5  # what must be left, in seconds of threads, for processes to be worth their start
_CHUNK = 8


def fill(
    writer: RowWriter, items: Sequence[Item], *, workers: int | None = None
) -> Generator[tuple[int, Outcome | Failed | None], None, None]:
    """Write all rows.

    Args:
        writer: Writes one row.
        items: What it takes, one per row.
        workers: Threads or processes; default: one per core.

    Yields:
        (place in ``items``, ``None`` for success or what went wrong), each place once, in any order.
    """
    threads = _Threads(writer, items, count=workers or cores())
    with contextlib.closing(threads.run()) as outcomes:
        yield from outcomes
    rest = _From(items, threads.begun)
    with contextlib.closing(map_in_workers(writer, rest, workers=workers)) as results:
        for place, outcome in results:
            yield place + threads.begun, outcome


class _Threads:
    """Threads that work through a list from its front until they are done or told to stop."""

    def __init__(self, writer: RowWriter, items: Sequence[Item], *, count: int) -> None:
        self.begun = 0
        self._writer, self._items = writer, items
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._results: queue.SimpleQueue[list[tuple[int, Outcome | Failed | None]]] = queue.SimpleQueue()
        self._count = min(count, -(-len(items) // _CHUNK))

    def run(self) -> Generator[tuple[int, Outcome | Failed | None], None, None]:
        since, done, total = time.perf_counter(), 0, len(self._items)
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._count)]
        for thread in threads:
            thread.start()
        try:
            while done < (self.begun if self._stop.is_set() else total):
                for outcome in self._results.get():
                    done += 1
                    yield outcome
                passed = time.perf_counter() - since
                if passed > FIRST_S and passed / done * (total - done) > WORTH_S:
                    with self._lock:
                        self._stop.set()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                start = self.begun
                if self._stop.is_set() or start == len(self._items):
                    return
                self.begun = stop = min(start + _CHUNK, len(self._items))
            self._results.put([(place, self._one(self._items[place])) for place in range(start, stop)])

    def _one(self, item: Item) -> Outcome | Failed | None:
        try:
            return self._writer(item)
        except MemoryError:
            return Failed("needs too much memory")
        except Exception as error:  # noqa: BLE001 - as in a worker: one picture fails, the others go on; it is told
            return Failed(f"{type(error).__name__}: {error}")


class _From(Sequence[Item]):
    """The part of a sequence from some place on, without a copy."""

    def __init__(self, items: Sequence[Item], start: int) -> None:
        self._items, self._start = items, start

    def __len__(self) -> int:
        return len(self._items) - self._start

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return self._items[self._start + place]
