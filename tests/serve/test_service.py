"""What one request gets: its images together, within the queue, each with its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hostile import jpeg
from small_run import Tiny

import housetrain as ht
from housetrain.serve.bodies import Sent
from housetrain.serve.decoding import Decoders
from housetrain.serve.limits import Limits, Problem
from housetrain.serve.metrics import Metrics
from housetrain.serve.models import Models
from housetrain.serve.service import Service


def with_service(tiny: Tiny, work: Callable[[Service], Awaitable[None]], limits: Limits) -> None:
    async def main() -> None:
        decoders = Decoders(2, timeout_s=20)
        models = Models({"run": tiny.run}, limits=limits, metrics=Metrics())
        decoders.open()
        models.load()
        service = Service(models, decoders, limits, models.metrics)
        await service.open()
        try:
            await work(service)
        finally:
            await service.close()
        with pytest.raises(RuntimeError, match="closed"):
            next(iter(models)).predictor.probabilities(tiny_images)

    import numpy as np

    tiny_images = np.zeros((1, *ht.Predictor.load(tiny.run).spec.shape), np.uint8)
    asyncio.run(main())


def test_images_of_concurrent_requests_share_batches(tiny: Tiny) -> None:
    sent = [Sent(f"{number}.jpg", jpeg(seed=number)) for number in range(24)]
    sent[5] = Sent("broken.jpg", b"no image")

    async def work(service: Service) -> None:
        async def ask(part: list[Sent]) -> list[ht.Prediction]:
            with service.models.use("run") as model, service.admission.enter() as share:
                found = await service.predict(model, part, None, share)
                assert service.admission.images >= len(part)
                return found

        found = [
            one for part in await asyncio.gather(*(ask(sent[at : at + 3]) for at in range(0, 24, 3))) for one in part
        ]
        assert service.admission.images == service.admission.bytes == 0
        assert found[5].error == "not an image (text)"
        wanted = list(ht.Predictor.load(tiny.run).predict_many([one.data for one in sent], workers=0))
        for one, (name, _), other in zip(found, sent, wanted, strict=True):
            assert one.image == name and one.label == other.label
            assert one.error or one.probability == pytest.approx(other.probability, abs=1e-6)
        text = service.metrics.text().decode()
        assert 'housetrain_batch_images_sum{model="run"} 23.0' in text
        batches = float(text.partition('housetrain_batch_images_count{model="run"} ')[2].split()[0])
        assert batches < 23, "fewer than images"

    with_service(tiny, work, Limits())


def test_more_images_than_the_queue_takes_are_refused_together(tiny: Tiny) -> None:
    async def work(service: Service) -> None:
        sent = [Sent("a.jpg", jpeg())] * 3
        with service.models.use(None) as model, service.admission.enter() as first, service.admission.enter() as second:
            assert len(await service.predict(model, sent, 1, first)) == 3
            with pytest.raises(Problem) as refused:
                await service.predict(model, sent, 1, second)
            assert refused.value.status == 503 and service.decoders.waiting == 0

    with_service(tiny, work, Limits(queue=4))
