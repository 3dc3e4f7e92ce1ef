"""THE lock: one writer per folder, or per file.

In: a folder. Out: the right to write into it, until the process releases it or dies; for others, who holds it. Does not
know: what is written.

The lock is `flock(2)`: the kernel drops it when the process dies, however it dies, so a stale lock does not exist. Some
file systems have none (Lustre without ``-o flock``, NFS with ``nolock``, some FUSE mounts: errno 37, 38, 95). There a
note beside the data names the process instead: it counts while that process lives on this machine. A second process on
another machine is not noticed, and one warning says so.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict

from housetrain.errors import RunLocked, StoreError
from housetrain.system import store
from housetrain.system.files import refuse_links
from housetrain.system.json_types import fits
from housetrain.system.machine import born, process_alive

_PATIENCE_S = 0.2  # a reader that asks whether the run is alive holds the lock for some microseconds
_POLL_S = 0.02
_HELD = {errno.EAGAIN, errno.EACCES}
_log = logging.getLogger(__name__)


class Lock:
    """One writer: `flock` on ``folder/.lock``, with a note beside it of who holds it and since when.

    ```python
    with Lock(folder):
        ...
    ```

    Args:
        folder: The folder to write into; made if missing.
        file: Lock this file of the folder instead of the folder; made if missing.
        wait: Wait for the other process instead of raising. It then often finds that the work is done.

    Raises:
        RunLocked: On entering: another process holds it. Names its pid, host and since when.
        DiskFull: On entering: the folder cannot be written.
        CorruptError: On entering: the folder holds links; see `housetrain.system.files.refuse_links`.
    """

    def __init__(self, folder: Path, *, file: str = ".lock", wait: bool = False) -> None:
        self.folder, self._file, self._wait = folder, file, wait
        self._handle = -1
        self._by_note = False

    def __enter__(self) -> Lock:
        place = self.folder if self._file == ".lock" else self.folder / self._file
        with store.disk_errors(place), contextlib.ExitStack() as stack:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            if self._file == ".lock":  # the folder is the package's own
                refuse_links(self.folder)
                flags |= getattr(os, "O_NOFOLLOW", 0)
            self._handle = os.open(self.folder / self._file, flags, 0o666)
            stack.callback(os.close, self._handle)
            self._acquire(place)
            if self._by_note or (self._file == ".lock" and not self._wait):
                store.write_json_atomic(
                    _note(self.folder, self._file),
                    {
                        "pid": os.getpid(),
                        "host": socket.gethostname(),
                        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
                        "born": born(os.getpid()) if self._by_note else None,
                    },
                    durable=False,
                )
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._by_note:
            _note(self.folder, self._file).unlink(missing_ok=True)
        os.close(self._handle)

    @staticmethod
    def holder(folder: Path) -> dict[str, Any] | None:
        """Return ``{"pid", "host", "since"}`` of the last process that took the lock of ``folder``, or ``None``."""
        return _read(_note(folder, ".lock"))

    @staticmethod
    def held(folder: Path) -> bool:
        """Return whether some process holds the lock of ``folder`` now. Writes nothing."""
        try:
            handle = os.open(folder / ".lock", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
        except OSError:
            return False
        try:
            locked = _flock(handle, shared=True)
        finally:
            os.close(handle)
        return _held_by_note(folder, ".lock") if locked is None else not locked

    def _acquire(self, place: Path) -> None:
        """Take the lock, or raise `RunLocked`."""
        until = time.monotonic() + _PATIENCE_S
        waiting = False
        while not (locked := _flock(self._handle)):
            self._by_note = locked is None
            if self._by_note and not _held_by_note(self.folder, self._file):
                _log.warning("%s: this file system has no locks; write there with one process at a time", place)
                return
            if time.monotonic() < until:
                time.sleep(_POLL_S)
            elif not self._wait:
                holder = _read(_note(self.folder, self._file)) or {}
                raise RunLocked(
                    f"Another process is writing {'into this folder' if place == self.folder else 'this file'}",
                    do="wait for it, or stop it",
                    path=str(place),
                    **{name: holder.get(name, "unknown") for name in ("pid", "host", "since")},
                )
            else:
                if not waiting:
                    _log.warning("another process is writing to %s; waiting for it", place)
                waiting = True
                time.sleep(_PATIENCE_S)


def _flock(handle: int, *, shared: bool = False) -> bool | None:
    """Return whether the lock was taken; ``None`` where the file system has no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _HELD else None
    return True


class _Holder(TypedDict):
    pid: int
    host: str


class _Note(_Holder, total=False):
    born: float | None


def _held_by_note(folder: Path, file: str) -> bool:
    """Return whether the note names a process of this machine that lives: the last resort without `flock`."""
    note = _read(_note(folder, file))
    if note is None or note.get("host") != socket.gethostname() or note.get("born") is None:
        return False
    return process_alive(int(note["pid"]), born=float(note["born"]))


def _note(folder: Path, file: str) -> Path:
    return folder / f".{file.lstrip('.')}.json"


def _read(note: Path) -> dict[str, Any] | None:
    try:
        value = store.read_json(note)
    except StoreError:
        return None
    return value if fits(value, _Note) else None
