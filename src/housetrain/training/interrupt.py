"""Interrupts: Ctrl-C and SIGTERM take effect between two steps.

In: signals. Out: `Interrupted`, raised where it is safe. It does not know what is interrupted.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM stopped the training after a finished step. Everything finished is kept.

    A `KeyboardInterrupt`, so that a command line exits with 130 or 143 and no ``except Exception`` swallows it.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)


def number_of(error: BaseException | None) -> int:
    """Return the signal behind an interruption that a library turned into another error; SIGINT if it is unknown."""
    while error is not None:
        if isinstance(error, Interrupted):
            return error.number
        error = error.__cause__ or error.__context__
    return signal.SIGINT


@contextlib.contextmanager
def on_sigterm() -> Iterator[None]:
    """A context in which SIGTERM raises `Interrupted`, so that what is half done is cleaned up as after Ctrl-C."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Signals:
    """A context in which the first SIGINT or SIGTERM is only recorded, for `check` to raise. A second one acts at once.

    Outside the main thread, where Python does not allow signal handlers, the context does nothing.
    """

    def __init__(self) -> None:
        self._received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def check(self) -> None:
        """Raise the recorded signal.

        Raises:
            Interrupted: A signal came since the context was entered.
        """
        if self._received:
            raise Interrupted(self._received)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        self._restore()  # a second signal acts at once

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
