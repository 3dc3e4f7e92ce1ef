"""Calls in child processes: each of them costs itself, and the children come back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jobs
import pytest
from hostile import jpeg

from housetrain.errors import DecodeError
from housetrain.images.input_spec import InputSpec
from housetrain.serve import bodies
from housetrain.serve.decoding import Decoders
from housetrain.serve.limits import Problem

SPEC = InputSpec(12, 16)


def with_decoders(work: Callable[[Decoders], Awaitable[None]], *, timeout_s: float = 20.0) -> None:
    async def main() -> None:
        decoders = Decoders(2, timeout_s=timeout_s)
        decoders.open()
        decoders.attach()
        try:
            await work(decoders)
        finally:
            await decoders.close()

    asyncio.run(main())


def test_many_calls_at_once_get_their_own_results() -> None:
    async def work(decoders: Decoders) -> None:
        images = [jpeg(40, 50, seed=number) for number in range(12)]
        found = await asyncio.gather(*(decoders.run(bodies.read_image, data, SPEC, None) for data in images))
        for data, (pixels, _) in zip(images, found, strict=True):
            assert (pixels == bodies.read_image(data, SPEC, None)[0]).all()
        assert decoders.ready and decoders.waiting == 0

    with_decoders(work)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "process crashed (SIGSEGV)"),
        ("hang", "took over 2 s"),
        ("hog", "needs too much memory"),
        ("raise", "cannot be read (ValueError)"),
    ],
)
def test_a_bad_call_costs_itself(how: str, reason: str) -> None:
    async def work(decoders: Decoders) -> None:
        good = [decoders.run(bodies.read_image, jpeg(seed=number), SPEC, None) for number in range(4)]
        bad, *others = await asyncio.gather(decoders.run(jobs.misbehave, how), *good, return_exceptions=True)
        assert isinstance(bad, DecodeError) and bad.reason == reason
        assert all(isinstance(one, tuple) for one in others)

    with_decoders(work, timeout_s=2.0)


def test_the_pool_forgets_what_it_has_done() -> None:
    async def work(decoders: Decoders) -> None:
        for number in range(20):
            await decoders.run(bodies.read_image, jpeg(seed=number), SPEC, None)
        assert decoders._pool is not None and not decoders._pool._queue._added

    with_decoders(work)


def test_children_that_die_before_they_start_are_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(decoders: Decoders) -> None:
        data: Any = jpeg()
        await decoders.run(bodies.read_image, data, SPEC, None)
        assert decoders._pool is not None
        for worker in list(decoders._pool._workers.values()):
            os.kill(worker.process.pid, signal.SIGKILL)
        monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no new child starts
        with pytest.raises(Problem) as refused:
            await decoders.run(bodies.read_image, data, SPEC, None)
        assert refused.value.status == 503
        monkeypatch.delenv("PYTHONHOME")
        limit = time.monotonic() + 60
        while True:
            try:
                assert await decoders.run(bodies.read_image, data, SPEC, None)
                return
            except Problem:
                assert time.monotonic() < limit
                await asyncio.sleep(0.2)

    with_decoders(work)
