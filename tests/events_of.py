"""Events of the work as plain dicts, for tests that look at all kinds of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from housetrain.system.events import Callback, Stage, State

Event = Mapping[str, Any]


class Listener(Callback):
    """Calls a function with each event: its facts, ``event`` (the method) and ``stage``."""

    def __init__(self, function: Callable[[Event], object]) -> None:
        self.function = function

    def begin(self, stage: Stage, **facts: Any) -> None:
        self.function({"event": "begin", "stage": stage, **facts})

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        self.function({"event": "progress", "stage": stage, "done": done, "total": total, **facts})

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        self.function({"event": "epoch", **row, **facts})

    def note(self, text: str) -> None:
        self.function({"event": "note", "text": text})

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        self.function({"event": "end", "stage": stage, "state": state, **facts})


class Interrupt(Callback):
    """Raises KeyboardInterrupt at the first report of at least ``after`` finished items."""

    def __init__(self, after: int) -> None:
        self.after = after

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        if done >= self.after:
            raise KeyboardInterrupt


BEGIN = {
    "name": "tiny",
    "epochs": 3,
    "first_epoch": 1,
    "steps_per_epoch": 40,
    "images": 1280,
    "parameters": 1234,
    "precision": "float32",
    "weights": {"a": 1.5, "b": 0.75},
}
STEP: dict[str, Any] = {"epoch": 2, "epochs": 3, "loss": 0.5, "accuracy": 0.75, "images_per_s": 1234.5, "eta_s": 75.0}
ROW = {
    "epoch": 2,
    "loss": 0.4,
    "accuracy": 0.8,
    "val_loss": 0.5,
    "val_accuracy": 0.7,
    "seconds": 2.0,
    "images_per_s": 1000.0,
}
RESULT = {
    "reason": "all epochs",
    "epochs_run": 3,
    "best_epoch": 2,
    "val_loss": 0.5,
    "val_accuracy": 0.7,
    "seconds": 61.0,
    "overfitting": "",
}


def snapshot(done: int) -> SimpleNamespace:
    rows = [
        SimpleNamespace(name=f"trial-{n}", state="complete", val_loss=0.5 - 0.1 * n, reason="") for n in range(done)
    ]
    rows.append(SimpleNamespace(name="runs", state="running", val_loss=None, reason=""))
    live = (SimpleNamespace(name="runs", epoch=2, epochs=9, share=0.5, val_loss=0.75, images_per_s=4321.0),)
    return SimpleNamespace(done=done, total=4, eta_s=90.0, live=live, board=SimpleNamespace(rows=rows))
