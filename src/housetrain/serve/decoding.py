"""The bounded pool of child processes on an event loop.

In: functions of `housetrain.serve.bodies` with their arguments. Out: what they return, awaited. Does not know: what is
decoded. What hangs, crashes or needs too much memory costs the caller that asked for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from housetrain.errors import DecodeError, HousetrainError
from housetrain.serve import bodies
from housetrain.serve.limits import RETRY_S, Problem
from housetrain.system.process_pool import Failed, Limits, ProcessPool

_TICK_S = 0.1
_log = logging.getLogger(__name__)


class Decoders:
    """Child processes that decode. Children start with `open`, and end with `close`.

    Args:
        workers: Child processes.
        timeout_s: Seconds of processor time that one call may take; see `housetrain.system.process_pool.Limits`.
    """

    def __init__(self, workers: int, *, timeout_s: float) -> None:
        self._workers, self._limits = workers, Limits(timeout_s=timeout_s)
        self._pool: ProcessPool | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._ticker: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether a child takes work."""
        return self._pool is not None and self._pool.ready

    @property
    def waiting(self) -> int:
        """Calls without a result."""
        return len(self._waiting)

    def open(self) -> None:
        """Start the first child, before there is an event loop: it loads its libraries meanwhile.

        Raises:
            HousetrainError: No process starts.
        """
        self._pool = ProcessPool(bodies.run, workers=self._workers, limits=self._limits)
        self._pool.start(1)  # the others when there is work for them: at the start this process needs the other cores

    def attach(self) -> None:
        """Let the running event loop hear the children."""
        self._listen()
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function of `housetrain.serve.bodies` in a child.

        Raises:
            DecodeError: It failed; the reason is for the client.
            Problem: The children do not run; a moment later they may.
        """
        if self._pool is None:
            raise _unavailable()
        future = asyncio.get_running_loop().create_future()
        try:
            self._waiting[self._pool.submit(bodies.Work(function, arguments))] = future
        except HousetrainError as error:
            self._fail(error)
            raise _unavailable() from error
        result = await future
        if isinstance(result, Failed):
            raise DecodeError(result.reason)
        return result

    async def close(self) -> None:
        """End the children."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        self._end()

    def _listen(self) -> None:
        assert self._pool is not None, "open() comes first"
        asyncio.get_running_loop().add_reader(self._pool.fileno(), self._hear)

    def _hear(self) -> None:
        if self._pool is None:
            return
        try:
            results = self._pool.poll(0)
        except HousetrainError as error:
            self._fail(error)
            return
        for index, result in results:
            future = self._waiting.pop(index)
            if not future.done():  # its client may have left
                future.set_result(result)

    async def _tick(self) -> None:
        """Keep time limits, and start the children again after all of them failed."""
        while True:
            await asyncio.sleep(_TICK_S)
            if self._pool is not None:
                self._hear()
                continue
            await asyncio.sleep(RETRY_S)
            try:
                self.open()
                self._listen()
            except HousetrainError as error:
                self._fail(error)

    def _fail(self, error: HousetrainError) -> None:
        _log.error("The decoding processes do not run: %s", error)
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(_unavailable())
        self._end()

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            with contextlib.suppress(RuntimeError):  # no event loop: the children never were attached
                asyncio.get_running_loop().remove_reader(pool.fileno())
            pool.close()


def _unavailable() -> Problem:
    return Problem(503, f"Images cannot be decoded now. Ask again in {RETRY_S} s.", retry_s=RETRY_S)
