"""How fast the epochs of a training are, and how long the rest takes.

In: steps as they are done. Out: examples per second, seconds left. It does not know what a step computes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

_TICK_S = 0.5  # how often progress is reported and the loss is checked, at most
_VALIDATION_COST = 1 / 3  # of training on an example: the forward pass, without the two of the gradients


class Pace:
    """The steps of the current epoch, how fast they are, and the seconds to the last one.

    The first step of an epoch may hold seconds of compiling; estimates use those after it.

    Args:
        steps: Steps per epoch.
        batch_size: Examples per step.
        count: Training examples.
        validation: Validation examples.
        costs: Of each epoch, relative to one at full image size; 1 for each of one epoch by default.
    """

    def __init__(
        self, steps: int, batch_size: int, count: int, *, validation: int = 0, costs: Sequence[float] = (1.0,)
    ) -> None:
        self.steps, self._batch_size, self._count, self._costs = steps, batch_size, count, costs
        self._validation = _VALIDATION_COST * validation / count
        self._whole_s: float | None = None  # an epoch at full image size
        self._ended = False  # whether a whole epoch was timed
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Start an epoch, counted from 0."""
        self._epoch = epoch
        self.step, self._start = 0, time.monotonic()
        self._tick = self._first = (self._start, 0)  # time and step of the last report, and of the first execution

    def count(self, step: int) -> float | None:
        """Record that ``step`` steps are done. Return the examples per second since the last report, if one is due."""
        self.step = min(step, self.steps)  # fit counts whole executions
        now = time.monotonic()
        (tick, tick_step), (first, first_step) = self._tick, self._first
        if not first_step:
            self._first = now, self.step
        elif not self._ended or self.step >= self.steps / 4:
            each = (now - first) / max(1, self.step - first_step)
            self._whole_s = each * self.steps / self._costs[self._epoch] * (1 + self._validation)
        if now - tick < _TICK_S:
            return None
        self._tick = now, self.step
        return (self.step - tick_step) * self._batch_size / (now - tick)

    @property
    def seconds(self) -> float:
        """Seconds since the epoch began."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Examples per second since the epoch began."""
        return min(self.step * self._batch_size, self._count) / max(self.seconds, 1e-9)

    def end(self) -> None:
        """End an epoch, after its validation: what it took is the best estimate for the next."""
        self._ended = True
        first, first_step = self._first
        if first_step < self.step == self.steps:
            each = (time.monotonic() - first) / (self.steps - first_step)
            self._whole_s = each * self.steps / self._costs[self._epoch]
        elif self.step:  # one execution is all there was
            self._whole_s = self.seconds / self._costs[self._epoch]

    def seconds_left(self) -> float | None:
        """Return the seconds to the end of the last epoch; ``None`` before two steps were timed."""
        if self._whole_s is None:
            return None
        rest = self._costs[self._epoch] * (1 - self.step / self.steps) + sum(self._costs[self._epoch + 1 :])
        return self._whole_s * rest
