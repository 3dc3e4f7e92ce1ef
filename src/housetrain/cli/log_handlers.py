"""Where the lines of a log go: a file, and the console of the progress bar.

In: log records. Out: one line each, with its time. It does not know what an event is: see `housetrain.cli.event_log`.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import logging
import os
import stat
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from housetrain.cli import terminal
from housetrain.cli.wrapping import fitted
from housetrain.errors import StoreError, one_line

if TYPE_CHECKING:
    from rich.console import Console

EVENTS = "housetrain.events"
"""Name of the logger of events. What other modules log is marked with its level."""
IN_FILE_ONLY = {"in_file_only": True}
"""``extra`` of a record that the terminal shows anyway."""
_HEAD_BYTES = 4096


class _Line(logging.Formatter):
    """One line per record, whatever names it holds."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.name != EVENTS:
            text = f"{record.levelname.lower()}: {text}"
        return f"{self.when(record)} {one_line(text)}"

    def when(self, record: logging.LogRecord) -> str:
        local = datetime.fromtimestamp(record.created).astimezone()
        return f"{local.isoformat(timespec='milliseconds')} {record.levelname:<7}"


class _ShortLine(_Line):
    def when(self, record: logging.LogRecord) -> str:
        return time.strftime("%H:%M:%S", time.localtime(record.created))


class ConsoleHandler(logging.Handler):
    """Prints lines above the progress bar of the same console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.setFormatter(_ShortLine())
        self.addFilter(lambda record: not hasattr(record, "in_file_only"))

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line. A standard error that is closed or full takes none, and nothing is left to say so."""
        with contextlib.suppress(OSError):
            self._console.print(fitted(self.format(record), self._console.file), markup=False)


class FileHandler(logging.Handler):
    """Appends each line to a file in one write, so that several commands can share it.

    Where the disk is full later, one message says so. The file gets the next line that fits, and how many are missing.

    Args:
        path: The file. A device or a FIFO with a reader is one, too.
        first: The first line, which is written at once.

    Raises:
        StoreError: The file cannot be written, or is not a text file.
    """

    def __init__(self, path: Path, first: str) -> None:
        super().__init__()
        self.setFormatter(_Line())
        self._path, self._lost, self._warned = path, 0, False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)  # no waiting for a FIFO's reader
        try:
            self._torn = _is_torn(path)
            self._file = os.open(path, flags, 0o666)
            try:
                self._write(logging.INFO, first)
            except OSError:
                os.close(self._file)
                raise
        except OSError as error:
            raise StoreError(
                f"The log file cannot be written: {error.strerror}",
                expected="a text file in an existing folder",
                do="choose another file",
                log_file=str(path),
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        """Append a line, after a remark about the lines that are missing before it."""
        try:
            if self._lost:
                self._write(logging.WARNING, f"note: {self._lost} lines are missing here, which could not be written")
                self._lost = 0
            self._append(self.format(record))
        except OSError as error:
            self._lost += 1
            if not self._warned:
                self._warned = True
                terminal.note(f"The log file cannot be written, the work continues: {error.strerror}: {self._path}")

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._file)
        super().close()

    def _write(self, level: int, text: str) -> None:
        self._append(self.format(logging.LogRecord(EVENTS, level, "", 0, text, None, None)))

    def _append(self, line: str) -> None:
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        if self._torn:
            data = b"\n" + data
        written = os.write(self._file, data)
        self._torn = written < len(data)
        if self._torn:  # a disk that fills up takes the first part only
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_torn(path: Path) -> bool:
    """Return whether the last line of a file is incomplete, as a crash leaves it.

    Raises:
        StoreError: The file exists and is no text; a log must not damage it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if not head:
                return False
            codecs.getincrementaldecoder("utf-8")().decode(head)
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except (FileNotFoundError, PermissionError):  # a file may be for writing only
        return False
    except UnicodeDecodeError:
        raise StoreError(
            "The log file exists and is not a text file", do="choose another file", log_file=str(path)
        ) from None
