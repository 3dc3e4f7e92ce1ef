"""Standard output and error at the edge: every character fits, and a full disk or closed pipe becomes an exit code.

In: the process' streams. Out: the same streams, reconfigured; exit codes. It does not know what is written.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from housetrain.errors import DiskFull

_PLAIN = str.maketrans({"–": "-", "—": "-", "−": "-", "×": "x", "·": "|", "…": "...", "±": "+-", "→": "->"})


def prepare() -> None:
    """Make standard output and error accept every character in any encoding of the terminal or pipe."""
    codecs.register_error("housetrain", _spell_out)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the parent: `housetrain ... >&-`
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open until exit
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="housetrain")


@contextmanager
def guarded() -> Iterator[None]:
    """Flush standard output at the end, where a failure can still be reported.

    Raises:
        BrokenPipeError: The reader (``head``, ``less``) has closed the pipe; not an error of the command.
        DiskFull: Standard output cannot be written.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has nowhere to go
        if error.errno == errno.EPIPE:
            raise
        raise DiskFull("Standard output cannot be written", reason=error.strerror) from error


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    """Encoding error handler: typography becomes ASCII, everything else an escape sequence."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
