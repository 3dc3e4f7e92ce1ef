"""Events: how long work reports its progress, from reading a folder to a sweep.

In: calls of the code that works. Out: calls of every callback that listens: the terminal, the progress file,
TensorBoard, the page, or your own. It does not know what the work is, and no callback can stop or change it.

    class Print(housetrain.Callback):
        def epoch(self, row, **facts):
            print(row["epoch"], row["val_loss"])

    housetrain.train(prepared, recipe, callbacks=[Print()])
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

Stage = Literal["download", "scan", "prepare", "features", "train", "sweep", "evaluate", "predict", "export"]
"""The kinds of work that report progress."""

TITLES: dict[Stage, str] = {
    "download": "Downloading",
    "scan": "Reading",
    "prepare": "Preparing",
    "features": "Computing features",
    "train": "Training",
    "sweep": "Sweep",
    "evaluate": "Testing",
    "predict": "Predicting",
    "export": "Exporting",
}
"""Stage -> its title in front of people."""

State = Literal["complete", "stopped", "failed"]
"""How a stage ends: done, interrupted so that the same call resumes it, or failed for a reason that is given."""


_COUNT_EVERY_S = 0.1


class Callback:
    """Base class of everything that follows work in progress. Override what you need; each method does nothing here.

    Every method must accept further keyword facts, so that a later version can report more.
    """

    def begin(self, stage: Stage, **facts: Any) -> None:
        """Called once when a stage starts, with what is known by then (``total`` items, a run's name, ...)."""

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """Called at most a few times a second: ``done`` of ``total`` items of the stage are finished."""

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        """Called after each epoch of a training with its row of ``history.jsonl``."""

    def note(self, text: str) -> None:
        """Called with one line for a person."""

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        """Called once when a stage ends, however it ends."""


class SafeCallback(Callback):
    """A callback that cannot stop the work it follows.

    The first exception is reported as a note to ``report``; after that the callback is not called again.

    Args:
        callback: The callback to protect the work from.
        report: Receives the note about the failure; nothing is reported by default.
    """

    def __init__(self, callback: Callback, report: Callback | None = None) -> None:
        self.callback, self.report = callback, report
        self.failed = False

    def begin(self, stage: Stage, **facts: Any) -> None:
        """See `Callback.begin`."""
        self._call("begin", stage, **facts)

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """See `Callback.progress`."""
        self._call("progress", stage, done, total, **facts)

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        """See `Callback.epoch`."""
        self._call("epoch", row, **facts)

    def note(self, text: str) -> None:
        """See `Callback.note`."""
        self._call("note", text)

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        """See `Callback.end`."""
        self._call("end", stage, state, **facts)

    def _call(self, method: str, /, *args: Any, **facts: Any) -> None:
        if self.failed:
            return
        try:
            getattr(self.callback, method)(*args, **facts)
        except Exception as error:  # noqa: BLE001 - any callback may be plugged in; none is worth the work it follows
            self.failed = True
            if self.report is not None:
                what = type(self.callback).__name__
                self.report.note(f"{what} stopped, the work continues: {type(error).__name__}: {error}")


class Callbacks(Callback):
    """Several callbacks as one, each of them safe: what the working code calls.

    Args:
        callbacks: The callbacks, called in this order.
    """

    def __init__(self, callbacks: Iterable[Callback] = ()) -> None:
        self.callbacks = [SafeCallback(one, self) for one in callbacks]
        self._counted_s = -_COUNT_EVERY_S

    def begin(self, stage: Stage, **facts: Any) -> None:
        """See `Callback.begin`."""
        for callback in self.callbacks:
            callback.begin(stage, **facts)

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """See `Callback.progress`."""
        for callback in self.callbacks:
            callback.progress(stage, done, total, **facts)

    def count(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """Report progress after each of many short items: only ten calls a second are passed on, and the last one."""
        now = time.monotonic()
        if done >= total or now - self._counted_s >= _COUNT_EVERY_S:
            self._counted_s = now
            self.progress(stage, done, total, **facts)

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        """See `Callback.epoch`."""
        for callback in self.callbacks:
            callback.epoch(row, **facts)

    def note(self, text: str) -> None:
        """See `Callback.note`."""
        for callback in self.callbacks:
            callback.note(text)

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        """See `Callback.end`."""
        for callback in self.callbacks:
            callback.end(stage, state, **facts)

    @contextmanager
    def stage(self, stage: Stage, **facts: Any) -> Iterator[dict[str, Any]]:
        """Report the begin and the end of the work in a ``with`` block, whether it returns or raises.

        Args:
            stage: The kind of work.
            **facts: Facts of the begin.

        Yields:
            A dict that the block may fill with facts of the end. After an exception it also has its ``reason``.
        """
        self.begin(stage, **facts)
        found: dict[str, Any] = {}
        try:
            yield found
        except BaseException as error:
            found.setdefault("reason", str(error) or type(error).__name__)
            self.end(stage, "stopped" if isinstance(error, KeyboardInterrupt) else "failed", **found)
            raise
        self.end(stage, **found)
