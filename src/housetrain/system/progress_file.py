"""The progress file: how a command reports its progress to the studio, which started it as another process.

In: events. Out: one small JSON file, replaced as a whole: ``title``, ``done``, ``total``, ``seconds``. It does not know
who reads the file.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from housetrain.system import store
from housetrain.system.events import TITLES, Callback, Stage

PROGRESS_FILE = "HOUSETRAIN_PROGRESS_FILE"
"""Environment variable with the path of the file to write."""
_WRITE_S = 0.2


class ProgressFile(Callback):
    """Writes the progress of the work on images to a file; trainings and sweeps have files of their own.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = self._written = 0.0

    def begin(self, stage: Stage, **facts: Any) -> None:
        """See `Callback.begin`."""
        self._started, self._written = time.monotonic(), 0.0

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """See `Callback.progress`."""
        now = time.monotonic()
        if stage not in ("train", "sweep") and (now - self._written >= _WRITE_S or done >= total):
            self._written = now
            value = {"title": TITLES[stage], "done": done, "total": total, "seconds": round(now - self._started, 2)}
            store.write_json_atomic(self.path, value, durable=False)
