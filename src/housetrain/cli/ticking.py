"""The seconds that something takes, on the last line of a terminal: importing TensorFlow shows nothing else.

In: a file descriptor. Out: a line that changes four times a second and is gone at the end; nothing where it is no
terminal. It does not know what takes the time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from housetrain.training import interrupt

_EVERY_S = 0.25
_PATIENCE_S = 0.5
_SHAPES = "|/-\\"
_CLEAR = b"\r\x1b[K"
_current: Ticker | None = None


class Ticker:
    """Shows a turning line and the seconds since it was made, until `stop`, or until Ctrl-C is answered.

    Args:
        descriptor: Where to write; a copy is kept, because standard error is held back while libraries are imported.
    """

    def __init__(self, descriptor: int) -> None:
        self._out = os.dup(descriptor)
        self._done = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._tick, name="shows the seconds", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Clear the line. Nothing is written after it."""
        self._done.set()
        self._thread.join()
        os.close(self._out)

    def _tick(self) -> None:
        wait, shown = _PATIENCE_S, 0
        with contextlib.suppress(OSError):  # the terminal is gone
            while not self._done.wait(wait) and not interrupt.stopping():
                line = f"{_SHAPES[shown % len(_SHAPES)]} {time.monotonic() - self._began:.0f} s"
                os.write(self._out, _CLEAR + line.encode())
                wait, shown = _EVERY_S, shown + 1
            if shown and not interrupt.stopping():
                os.write(self._out, _CLEAR)


def start(descriptor: int = 2) -> None:
    """Show the seconds from now on, where the descriptor is a terminal that can clear a line."""
    global _current
    stop()
    with contextlib.suppress(OSError):  # closed
        if os.isatty(descriptor) and os.environ.get("TERM") not in ("dumb", "unknown"):
            _current = Ticker(descriptor)


def stop() -> None:
    """Clear the line, if there is one."""
    global _current
    ticker, _current = _current, None
    if ticker is not None:
        ticker.stop()
