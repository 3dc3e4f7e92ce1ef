"""A tracker may fail; a training may not fail for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from housetrain.training.tensorboard import Tracker


class Guarded:
    """A tracker that may fail: what it raises is said once, and training goes on without it.

    Args:
        tracker: Told of each epoch; TensorBoard by default.
        folder: Where TensorBoard's files go.
        classes: Class names.
        note: Called with what is to be said.
    """

    def __init__(
        self, tracker: Tracker | None, folder: Path, *, classes: tuple[str, ...], note: Callable[[str], None]
    ) -> None:
        self._tracker, self._folder, self._classes, self._note = tracker, folder, classes, note
        self._failed = False

    def begin(self, *args: Any) -> None:
        """See `Tracker.begin`."""
        if self._tracker is None:
            self._guard(self._open)
        self._call("begin", *args)

    def epoch(self, *args: Any) -> None:
        """See `Tracker.epoch`."""
        self._call("epoch", *args)

    def end(self, *args: Any) -> None:
        """See `Tracker.end`."""
        self._call("end", *args)

    def close(self) -> None:
        """See `Tracker.close`."""
        self._call("close")

    def _open(self) -> None:
        from housetrain.training.tensorboard import TensorBoardTracker

        self._tracker = TensorBoardTracker(self._folder, classes=self._classes)

    def _call(self, name: str, *args: Any) -> None:
        if not self._failed and self._tracker is not None:
            self._guard(getattr(self._tracker, name), *args)

    def _guard(self, function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001 - any tracker may be plugged in; none is worth a training
            self._failed = True
            self._note(f"Tracking stopped, training goes on: {type(error).__name__}: {error}")
