"""The time a training has taken, over all its processes."""

from __future__ import annotations

import time


class Clock:
    """Seconds of training, including those of earlier processes, against a limit.

    Args:
        start: When this process began, `time.monotonic`.
        limit_s: Seconds that the training may take in total; ``None`` for no limit.

    Attributes:
        before: Seconds of earlier processes.
    """

    def __init__(self, start: float, limit_s: float | None = None) -> None:
        self.start, self.limit_s, self.before = start, limit_s, 0.0

    @property
    def seconds(self) -> float:
        """Seconds until now."""
        return self.before + time.monotonic() - self.start

    @property
    def is_over(self) -> bool:
        """Whether the limit is exceeded."""
        return self.limit_s is not None and self.seconds > self.limit_s

    def at_most(self, seconds: float) -> float:
        """Return ``seconds``, or the time to the limit if that is less; 0 or more."""
        left = seconds if self.limit_s is None else min(seconds, self.limit_s - self.seconds)
        return max(0.0, left)
