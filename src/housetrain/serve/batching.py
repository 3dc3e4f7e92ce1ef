"""Micro-batching: images of several requests pass through the model together.

In: prepared images, from many callers. Out: each caller's outputs, awaited. Does not know: HTTP, files, class names.

While the model runs, the images that arrive collect; the next batch takes all of them. With nothing else being decoded
a single image therefore starts at once. Otherwise it waits for company, but never longer than the bound.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from housetrain.inference.engine import Images, Probabilities


class _Waiting(NamedTuple):
    images: Images
    result: asyncio.Future[Probabilities]


class Batcher:
    """Collects images of concurrent calls into batches.

    Args:
        run: Takes uint8 (N, height, width, channels) and returns float32 (N, classes); called in other threads.
        most: Images per batch. A call with more gets a batch of its own.
        wait_s: Seconds at most that the model waits for images which are `coming`.
        parallel: Batches that run at the same time.
        observe: Called with the number of images of each batch.
    """

    def __init__(
        self,
        run: Callable[[Images], Probabilities],
        *,
        most: int,
        wait_s: float,
        parallel: int = 1,
        observe: Callable[[float], None] = lambda images: None,
    ) -> None:
        self._run, self._most, self._wait_s, self._observe = run, most, wait_s, observe
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="housetrain-model")
        self._tasks = [asyncio.ensure_future(self._work()) for _ in range(parallel)]
        self.coming = 0

    async def __call__(self, images: Images) -> Probabilities:
        """Return the outputs of images: float32 (N, classes) for uint8 (N, height, width, channels)."""
        result: asyncio.Future[Probabilities] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(images, result))
        self._arrived.set()
        return await result

    async def close(self) -> None:
        """End the threads. Calls that still wait are cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self._queue:
            one.result.cancel()
        self._threads.shutdown(wait=False)

    @contextlib.contextmanager
    def announce(self) -> Iterator[None]:
        """A context in which an image is being decoded that a batch may wait for."""
        self.coming += 1
        try:
            yield
        finally:
            self.coming -= 1

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next()
            images = batch[0].images if len(batch) == 1 else np.concatenate([one.images for one in batch])
            self._observe(len(images))
            try:
                outputs = await loop.run_in_executor(self._threads, self._run, images)
            except Exception as error:  # noqa: BLE001 - the callers raise it
                for one in batch:
                    if not one.result.done():
                        one.result.set_exception(error)
                continue
            begin = 0
            for one in batch:
                if not one.result.done():
                    one.result.set_result(outputs[begin : begin + len(one.images)])
                begin += len(one.images)

    async def _next(self) -> list[_Waiting]:
        while not self._queue:
            await self._arrive(None)
        loop = asyncio.get_running_loop()
        limit = loop.time() + self._wait_s
        while self.coming and len(self._queue) < self._most and (left := limit - loop.time()) > 0:
            await self._arrive(left)
        batch: list[_Waiting] = []
        count = 0
        while self._queue and (not batch or count + len(self._queue[0].images) <= self._most):
            batch.append(self._queue.popleft())
            count += len(batch[-1].images)
        return batch or await self._next()

    async def _arrive(self, seconds: float | None) -> None:
        self._arrived.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), seconds)
