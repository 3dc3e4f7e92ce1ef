"""Images of concurrent calls share batches, get their own outputs, and wait for a bounded time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from housetrain.serve.batching import Batcher


def image(value: int, count: int = 1) -> Any:
    return np.full((count, 2, 2, 1), value, np.uint8)


class Model:
    """Returns the value of each image; the first batch waits to be released."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.release = threading.Event()

    def __call__(self, images: Any) -> Any:
        self.release.wait(10)
        self.sizes.append(len(images))
        return images[:, 0, 0, :].astype(np.float32)


def test_what_arrives_while_the_model_runs_is_the_next_batch() -> None:
    async def main() -> None:
        model = Model()
        batcher = Batcher(model, most=8, wait_s=0.0)
        calls = [asyncio.ensure_future(batcher(image(0)))]
        await asyncio.sleep(0.05)
        calls += [asyncio.ensure_future(batcher(image(number))) for number in range(1, 13)]
        await asyncio.sleep(0.05)
        model.release.set()
        found = await asyncio.gather(*calls)
        assert [float(one[0, 0]) for one in found] == [*range(13)], "each call gets its own outputs"
        assert model.sizes == [1, 8, 4]
        await batcher.close()

    asyncio.run(main())


def test_a_large_call_is_a_batch_of_its_own() -> None:
    async def main() -> None:
        model = Model()
        model.release.set()
        batcher = Batcher(model, most=4, wait_s=0.0)
        found = await asyncio.gather(batcher(image(1, 3)), batcher(image(2, 9)), batcher(image(3, 2)))
        assert [one.shape for one in found] == [(3, 1), (9, 1), (2, 1)] and float(found[1][8, 0]) == 2
        assert sorted(model.sizes) == [2, 3, 9]
        await batcher.close()

    asyncio.run(main())


def test_it_waits_for_images_that_are_coming_and_no_longer_than_allowed() -> None:
    async def main() -> None:
        model = Model()
        model.release.set()
        batcher = Batcher(model, most=8, wait_s=30.0)

        async def late() -> Any:
            with batcher.announce():
                await asyncio.sleep(0.1)
            return await batcher(image(2))

        await asyncio.wait_for(asyncio.gather(late(), batcher(image(1))), 20)
        assert model.sizes == [2]
        await asyncio.wait_for(batcher(image(3)), 20)  # nothing is coming: at once
        await batcher.close()
        batcher = Batcher(model, most=8, wait_s=0.01)
        with batcher.announce():
            await asyncio.wait_for(batcher(image(4)), 20)
        assert model.sizes == [2, 1, 1]
        await batcher.close()

    asyncio.run(main())


def test_an_error_reaches_every_caller_and_the_next_batch_runs() -> None:
    async def main() -> None:
        broken = [True]

        def run(images: Any) -> Any:
            if broken.pop():
                raise RuntimeError("as asked")
            return images[:, 0, 0, :].astype(np.float32)

        batcher = Batcher(run, most=8, wait_s=0.0)
        for result in await asyncio.gather(batcher(image(1)), batcher(image(2)), return_exceptions=True):
            assert isinstance(result, RuntimeError)
        broken.append(False)
        assert float((await batcher(image(3)))[0, 0]) == 3
        await batcher.close()

    asyncio.run(main())


def test_a_caller_that_left_costs_the_others_nothing() -> None:
    async def main() -> None:
        model = Model()
        batcher = Batcher(model, most=8, wait_s=0.0)
        calls = [asyncio.ensure_future(batcher(image(number))) for number in range(3)]
        await asyncio.sleep(0.05)
        calls[1].cancel()
        model.release.set()
        assert [float((await calls[at])[0, 0]) for at in (0, 2)] == [0, 2]
        with pytest.raises(asyncio.CancelledError):
            await calls[1]
        await batcher.close()

    asyncio.run(main())
