"""The progress file of a run: how far a training is, for other processes to read.

In: the events of a training. Out: ``progress.json`` in the run folder, replaced as a whole so that a reader never sees
half of it. It does not know Keras, and decides nothing about training.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from housetrain.errors import DiskFull
from housetrain.system import store
from housetrain.system.events import Callback, Stage, State

_FACTS = ("phase", "epoch", "epochs", "loss", "accuracy", "images_per_s", "eta_s")


class RunProgressFile(Callback):
    """Keeps ``progress.json`` up to date: phase, step, steps, loss, accuracy, images_per_s, eta_s, pid, time, ...

    A full disk does not stop the training here; the history and the checkpoints report it themselves.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: dict[str, Any] = {}

    def begin(self, stage: Stage, **facts: Any) -> None:
        """Write that a stage of the training starts."""
        self._last = {"phase": "prepare", "epoch": facts.get("first_epoch", 0), "epochs": facts.get("epochs", 0)}
        self._write()

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """Write how far the stage is."""
        plain = {name: value for name, value in facts.items() if name in _FACTS}
        self._last = {"phase": stage, **plain, "step": done, "steps": total}
        self._write()

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        """Write how the training ended."""
        if stage == "train" or state != "complete":
            self._last |= {"phase": state, "eta_s": 0.0 if state == "complete" else None}
            self._write()

    def _write(self) -> None:
        value = self._last | {"pid": os.getpid(), "time": time.time()}
        try:
            store.write_json_atomic(self.path, value, durable=False)
        except DiskFull:
            return
