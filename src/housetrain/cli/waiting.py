"""What a command is doing, where it has said nothing for a second: loading a library or a model takes several.

In: a few words. Out: a line on standard error, at most one, and on a terminal the seconds below it. It does not know
how long the work takes.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from housetrain.cli import ticking

_PATIENCE_S = 1.0
_current: threading.Timer | None = None


@contextlib.contextmanager
def waiting(text: str, *, quiet: bool = False, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """A context that writes ``text ...`` on standard error if nothing else was said in its first second.

    Args:
        text: What is done, such as ``Loading the model``.
        quiet: Write nothing.
        patience_s: Seconds before it is said.
    """
    global _current
    try:
        out = os.dup(2)  # standard error itself is held back while libraries are imported
    except OSError:  # closed
        yield
        return

    def say() -> None:
        with contextlib.suppress(OSError):
            os.write(out, f"{text} ...\n".encode())
            ticking.start(out)

    timer = threading.Timer(patience_s, say)
    timer.daemon = True
    if not quiet:
        _current = timer
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if not quiet:
            timer.join()
            ticking.stop()
        os.close(out)


def over() -> None:
    """Something is about to be said: the line is not needed any more."""
    global _current
    ticking.stop()
    if _current is not None:
        _current.cancel()
        _current = None
