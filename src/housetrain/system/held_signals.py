"""SIGINT and SIGTERM that wait for the end of a call of a C++ library.

In: signals. Out: the same signals, a little later. Such a library calls Python functions of its own, in which Python
raises `KeyboardInterrupt`; the library drops it, and works on, or makes an error of its own of it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """A context whose SIGINT and SIGTERM are delivered at its end, instead of an error of the call in it.

    Outside the main thread, where no signal is delivered, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[signal.Signals, FrameType | None]] = []
    before: dict[signal.Signals, Any] = {}

    def hold(number: int, frame: FrameType | None) -> None:
        held.append((signal.Signals(number), frame))

    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(handler := signal.getsignal(number)):  # else a signal ends the process, or is ignored
            before[number] = handler
            signal.signal(number, hold)
    try:
        yield
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)
        if held:
            before[held[0][0]](*held[0])
