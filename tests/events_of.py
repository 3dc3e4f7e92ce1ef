"""Events of the work as plain dicts, for tests that look at all kinds of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
