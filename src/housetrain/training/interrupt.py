"""Interrupts: Ctrl-C and SIGTERM take effect between two steps, and are answered at once.

In: signals. Out: `Interrupted`, raised where it is safe; a line on standard error. Does not know what is interrupted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
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
    return _stopped_by  # Ray raises a KeyboardInterrupt without a cause


@contextlib.contextmanager
def on_sigterm() -> Iterator[None]:
    """A context in which SIGTERM raises `Interrupted`, so that what is half done is cleaned up as after Ctrl-C."""

    def stop(number: int, frame: FrameType | None) -> None:
        global _stopped_by
        _stopped_by = number
        raise Interrupted(number)

    global _stopped_by
    _stopped_by = int(signal.SIGINT)
    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def received() -> bool:
    """Return whether a signal was answered: an error after it is one that a library made of the interruption."""
    return _answered_one.wait(0.2)


def stopping() -> bool:
    """Return whether a signal has been answered, without waiting."""
    return _answered_one.is_set()


def exit_now(code: int) -> None:
    """End the process of a command that a signal interrupted, without the seconds that libraries take to unload.

    Nothing happens where no signal was answered, or where Ray must stop its own processes first.

    Args:
        code: The exit code.
    """
    if received() and "ray" not in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


_AT_ONCE_S = 0.5  # a second signal ends the process after this long, where Python does not get to it
_STILL_S = 2.0
_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """A context in which the first SIGINT or SIGTERM is answered at once, whatever the main thread is doing.

    Python runs signal handlers only between two of its instructions, which may be seconds away. A thread reads the
    numbers of the signals from `signal.set_wakeup_fd` and writes a line to standard error. A second signal ends the
    process, with the exit code of a shell, unless it ends by itself in half a second.

    It is for a process that ends with the interrupted call: inside, no signal waits for an import.
    """
    global _ending
    try:
        terminal = os.dup(2)  # standard error itself is held back while libraries are imported
    except OSError:
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_answer, args=(reading, terminal), name="answers Ctrl-C", daemon=True).start()
    _answered_one.clear()
    _ending = True
    try:
        yield
    finally:
        _ending = False
        signal.set_wakeup_fd(before)
        os.close(writing)  # ends the thread


def _answer(reading: int, terminal: int) -> None:
    def say(text: str) -> None:
        line = f"{text}\n".encode()
        with contextlib.suppress(OSError):
            os.write(terminal, b"\r\x1b[K" + line if os.isatty(terminal) else line)

    received, still = 0, threading.Timer(_STILL_S, lambda: say(f"Still working. Stopping{_finishing()} ..."))
    with open(reading, "rb", buffering=0) as numbers, open(terminal, "wb", buffering=0), _ended(still):
        while number := numbers.read(1):
            if number[0] not in (signal.SIGINT, signal.SIGTERM):
                continue
            received += 1
            if received == 1:
                say(f"Stopping{_finishing()} ... Press Ctrl-C again to stop at once.")
                _answered_one.set()
                still.start()
                continue
            time.sleep(_AT_ONCE_S)
            say("Stopped." + (_SHOW_CURSOR.decode() if os.isatty(terminal) else ""))
            os._exit(128 + number[0])


@contextlib.contextmanager
def _ended(timer: threading.Timer) -> Iterator[None]:
    """A context that a timer does not outlive: it writes to a number that another file gets once this one is closed."""
    timer.daemon = True
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident is not None:
            timer.join()


def _finishing() -> str:
    return f" {_current.finishing}" if _current is not None and _current.finishing else ""


# Signals belong to the process, and so do these.
_current: Signals | None = None
_ending = False
_stopped_by: int = signal.SIGINT
_answered_one = threading.Event()


class Signals:
    """A context in which the first SIGINT or SIGTERM is only recorded, for `check` to raise. A second one acts at once.

    Before the first call of `check` a signal acts at once, too, except inside `importing`.

    Outside the main thread, where Python does not allow signal handlers, the context does nothing.

    Attributes:
        finishing: When the next check comes, for the answer to a signal; empty where the signal acts at once.
    """

    def __init__(self) -> None:
        self.finishing = ""
        self._received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        global _current
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._record)
            _current = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _current
        self._restore()
        _current = None if _current is self else _current
        if error is None:
            self.check()

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """A context in which a signal waits for the end: in a notebook, half an import would break the library.

        Raises:
            Interrupted: A signal came.
        """
        self.finishing = "" if _ending else "after the import"
        try:
            yield
        finally:
            self.finishing = ""
        if self._received:
            raise Interrupted(self._received)

    def check(self) -> None:
        """Raise the recorded signal.

        Raises:
            Interrupted: A signal came since the context was entered.
        """
        self.finishing = "after this step"
        if self._received:
            raise Interrupted(self._received)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        self._restore()  # a second signal acts at once
        if not self.finishing:
            raise Interrupted(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
