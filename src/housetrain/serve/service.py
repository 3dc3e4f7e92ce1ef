"""One server's work: decode, batch, predict, within the limits.

In: encoded images or arrays of a request. Out: predictions or probabilities. Does not know: HTTP.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from housetrain.errors import DecodeError
from housetrain.inference.engine import Probabilities
from housetrain.inference.prediction import Prediction
from housetrain.inference.predictor import Predictor
from housetrain.serve import bodies
from housetrain.serve.bodies import Inference, Sent
from housetrain.serve.decoding import Decoders
from housetrain.serve.limits import Admission, Limits, Problem, Share
from housetrain.serve.metrics import Metrics
from housetrain.serve.models import Models, ServedModel


class Service:
    """Everything behind the addresses of a server.

    Args:
        models: What it serves; loaded.
        decoders: Child processes that decode; open.
        limits: Bounds.
        metrics: Counters.
    """

    def __init__(self, models: Models, decoders: Decoders, limits: Limits, metrics: Metrics) -> None:
        self.models, self.decoders, self.limits, self.metrics = models, decoders, limits, metrics
        self.admission = Admission(limits.queue, limits.queue_bytes)
        self.stopping = False
        self._watcher: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether requests are answered without delay."""
        return self.decoders.ready and not self.stopping

    async def open(self) -> None:
        """Start on the running event loop."""
        self.models.attach()
        self.decoders.attach()
        self.metrics.watch_queue(lambda: self.admission.images)
        self._watcher = asyncio.create_task(self.models.watch())

    async def close(self) -> None:
        """End children and release models."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self.decoders.close()
        await self.models.close()

    async def images_of(self, body: bytes, content_type: str) -> list[Sent]:
        """Return the images in a body: a form, JSON, or the image itself.

        Raises:
            Problem: The body is not what its type says, or holds too many images.
        """
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in ("multipart/form-data", "application/json"):
            return [Sent(bodies.UNNAMED, body)]
        try:
            if kind == "application/json":
                return list(await self.decoders.run(bodies.images_of_json, body, self.limits.images))
            return list(await self.decoders.run(bodies.images_of_form, body, content_type, self.limits.images))
        except DecodeError as error:
            raise Problem(422, error.reason) from error

    async def predict(
        self, model: ServedModel, sent: Sequence[Sent], top: int | None, share: Share, rules: Predictor | None = None
    ) -> list[Prediction]:
        """Return a prediction for each image; one that cannot be read has an `error`.

        ``rules`` is the predictor of the model with the rules of the request; by default the model's own.

        Raises:
            Problem: The queue is full.
        """
        share.take(images=len(sent), bytes_=len(sent) * math.prod(model.predictor.spec.shape))
        return await asyncio.gather(*(self._predict(model, one, top, rules or model.predictor) for one in sent))

    async def _predict(self, model: ServedModel, sent: Sent, top: int | None, rules: Predictor) -> Prediction:
        spec = model.predictor.spec
        try:
            with model.batcher.announce():
                pixels, prefix = await self.decoders.run(bodies.read_image, sent.data, spec, self.limits.pixels)
        except DecodeError as error:
            self.metrics.failures.inc()
            return Prediction.failed(sent.name, error.reason)
        raw = await model.batcher(pixels[None])
        return rules.predictions(raw, [(sent.name, prefix)], top=top)[0]

    async def infer(
        self, model: ServedModel, body: bytes, header_bytes: int | None, share: Share
    ) -> tuple[Inference, Probabilities]:
        """Return a request of the Open Inference Protocol and the probabilities that answer it.

        Raises:
            Problem: It is not such a request, or the queue is full.
        """
        arguments = body, header_bytes, model.predictor.spec.shape, self.limits.images
        try:
            request: Inference = await self.decoders.run(bodies.inference_of, *arguments)
        except DecodeError as error:
            raise Problem(422, error.reason) from error
        share.take(images=len(request.images), bytes_=request.images.nbytes)
        return request, model.predictor.answers(await model.batcher(request.images)).probabilities
