"""One writer per folder.

In: a folder. Out: the right to write into it, until the process leaves or dies; for others, who holds it. Does not know
what is written.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from housetrain.errors import RunLocked
from housetrain.system import store


class Lock:
    """One writer per folder: `flock` on ``folder/.lock``, with a note beside it of who holds it and since when.

    The kernel drops the lock when the process dies, however it dies, so a stale lock does not exist.

    ```python
    with Lock(folder):
        ...
    ```

    Args:
        folder: The folder to write into; made if missing.

    Raises:
        RunLocked: On entering: another process holds it. Names its pid, host and since when.
        DiskFull: On entering: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: Any = None

    def __enter__(self) -> Lock:
        from filelock import FileLock, Timeout  # 50 ms to import, and readers of runs do not need it

        with store.disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            try:
                # Not zero: a reader that looks whether the run is alive holds the lock for some microseconds.
                lock.acquire(timeout=0.2, poll_interval=0.02)
            except Timeout:
                holder = self.holder(self.folder) or {}
                raise RunLocked(
                    "Another process is writing into this folder",
                    do="wait for it, or stop it",
                    folder=str(self.folder),
                    pid=holder.get("pid", "unknown"),
                    host=holder.get("host", "unknown"),
                    since=holder.get("since", "unknown"),
                ) from None
        self._lock = lock
        store.write_json_atomic(
            self.folder / ".lock.json",
            {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")},
            durable=False,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        self._lock = None

    @staticmethod
    def holder(folder: Path) -> dict[str, Any] | None:
        """Return ``{"pid", "host", "since"}`` of the last process that took the lock of ``folder``, or ``None``."""
        try:
            note = json.loads((folder / ".lock.json").read_bytes())
        except (OSError, ValueError):
            return None
        return note if isinstance(note, dict) else None

    @staticmethod
    def held(folder: Path) -> bool:
        """Return whether some process holds the lock of ``folder`` now. Writes nothing."""
        try:
            import fcntl
        except ImportError:  # Windows: the note is the best there is
            note = Lock.holder(folder)
            return note is not None and store.process_alive(int(note.get("pid", -1)))
        try:
            handle = os.open(folder / ".lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False
