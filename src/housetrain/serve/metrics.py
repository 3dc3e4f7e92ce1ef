"""What the server counts, for Prometheus.

In: events. Out: the text that Prometheus reads. Does not know: what is served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        here: dict[str, Any] = {"registry": self._registry, "namespace": "housetrain"}
        self.requests = Counter("requests", "Requests by path and status.", ["path", "status"], **here)
        self.seconds = Histogram(
            "request_seconds", "Seconds from headers to response.", ["path"], buckets=_SECONDS, **here
        )
        self.batch = Histogram("batch_images", "Images per batch.", ["model"], buckets=_IMAGES, **here)
        self.failures = Counter("decode_failures", "Images that could not be decoded.", **here)
        self.reloads = Counter("reloads", "Changed bundles, by outcome.", ["model", "outcome"], **here)
        self._queue = Gauge("queue_images", "Images without a result.", **here)

    def watch_queue(self, images: Callable[[], float]) -> None:
        """Report the length of the queue when Prometheus asks."""
        self._queue.set_function(images)

    def text(self) -> bytes:
        """Return all counters in the text format of Prometheus."""
        found: bytes = generate_latest(self._registry)
        return found
