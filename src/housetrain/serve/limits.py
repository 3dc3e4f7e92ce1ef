"""What one request may cost, and the error that a request gets instead of an answer.

In: numbers. Out: a `Limits`, a `Problem`, and the admission of requests within them. Does not know: HTTP libraries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

TOKEN = "HOUSETRAIN_SERVE_TOKEN"
"""Environment variable with the token that clients send."""

RETRY_S = 1
"""Seconds after which a client that met a full queue should ask again."""


@dataclass(frozen=True)
class Limits:
    """Bounds of the server and of each request.

    Attributes:
        body_bytes: Size of a request's body.
        images: Images per request.
        pixels: Pixels per image; ``None`` for what the decoder reads, see `housetrain.images.decode.MAX_PIXELS`.
        queue: Images that have arrived and have no result yet, over all requests; more get a 503.
        queue_bytes: Bytes that all requests together may hold as bodies and decoded images.
        batch: Images that the model takes at a time.
        wait_s: Seconds that an image waits for others that are being decoded, to share a batch with them.
        decode_s: Seconds of processor time that one image may take to decode; six times as many on the clock.
        receive_s: Seconds within which a request must arrive, headers and body each.
        answer_s: Seconds within which a client must take the response.
        finish_s: Seconds that requests have to finish when the server stops.
    """

    body_bytes: int = 32 << 20
    images: int = 64
    pixels: int | None = None
    queue: int = 256
    queue_bytes: int = 512 << 20
    batch: int = 64
    wait_s: float = 0.005
    decode_s: float = 10.0
    receive_s: float = 30.0
    answer_s: float = 30.0
    finish_s: float = 30.0


class Problem(Exception):
    """The reason why a request gets no answer, as its client sees it. It names no path and no library.

    Args:
        status: HTTP status code.
        message: One line.
        retry_s: Seconds after which the same request may succeed; 0 if it may not.
    """

    def __init__(self, status: int, message: str, *, retry_s: int = 0) -> None:
        self.status, self.message, self.retry_s = status, message, retry_s
        super().__init__(message)


class Admission:
    """Counts what is in the server, so that a request that does not fit is refused at once.

    Args:
        images: Images at most.
        bytes_: Bytes at most.
    """

    def __init__(self, images: int, bytes_: int) -> None:
        self._most_images, self._most_bytes = images, bytes_
        self.images = self.bytes = 0

    @contextlib.contextmanager
    def enter(self) -> Iterator[Share]:
        """Yield the share of a request, which is given back at the end.

        Raises:
            Problem: The queue is full.
        """
        if self.images >= self._most_images:
            raise _full()
        share = Share(self)
        try:
            yield share
        finally:
            self.images -= share.images
            self.bytes -= share.bytes

    def fits(self, images: int, bytes_: int) -> bool:
        """Return whether so much more fits. A request alone always fits: its own limits bound it."""
        return (not self.images or self.images + images <= self._most_images) and (
            not self.bytes or self.bytes + bytes_ <= self._most_bytes
        )


class Share:
    """What one request holds of an `Admission`.

    Args:
        whole: What it is a share of.
    """

    def __init__(self, whole: Admission) -> None:
        self._whole = whole
        self.images = self.bytes = 0

    def take(self, *, images: int = 0, bytes_: int = 0) -> None:
        """Add to the share.

        Raises:
            Problem: It does not fit.
        """
        if not self._whole.fits(images, bytes_):
            raise _full()
        self.images += images
        self.bytes += bytes_
        self._whole.images += images
        self._whole.bytes += bytes_


def _full() -> Problem:
    return Problem(503, f"The queue is full. Ask again in {RETRY_S} s.", retry_s=RETRY_S)
