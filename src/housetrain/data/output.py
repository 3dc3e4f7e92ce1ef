"""Writing beside the pictures without harm: outputs never inside the source, one writer, errors in one line.

In: paths. Out: files that are the old or the new, ``DiskFull`` with the path and the bytes needed, a lock that waits.
It does not know what is written.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from housetrain.errors import DiskFull, FolderError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EROFS, errno.EACCES, errno.EPERM}
_log = logging.getLogger(__name__)


def refuse_inside(root: Path, folder: Path) -> None:
    """Refuse an output folder that is the source folder or lies inside it.

    Raises:
        FolderError: It does. Nothing was written.
    """
    if folder.resolve().is_relative_to(root.resolve()):
        raise FolderError(
            "the output would be written into the folder of pictures, which is never changed",
            do="choose an output folder outside of it",
            output=folder,
            pictures=root,
        )


@contextlib.contextmanager
def writing(path: Path, *, bytes_needed: int) -> Iterator[None]:
    """Turn a full disk, a quota, a read-only place or a missing permission into one clear line.

    Raises:
        DiskFull: Any of them; it names ``path`` and ``bytes_needed``.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM | _NO_PERMISSION:
            raise
        full = error.errno in _NO_ROOM
        received: dict[str, Any] = {"path": path, "bytes_needed": bytes_needed}
        if full:
            received["bytes_free"] = bytes_free(path)
        raise DiskFull(
            f"cannot write {path}: {os.strerror(error.errno)}",
            do=f"{'free some space' if full else 'allow writing there'} or choose another folder; "
            "what was there before is intact",
            **received,
        ) from error


def bytes_free(path: Path) -> int | None:
    """Return the free bytes of the file system that ``path`` lies on or would lie on; ``None`` if unknown."""
    for place in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, even after a power cut."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can (Windows and some network disks cannot)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for writing; a second process waits for the first, and then usually finds its work done.

    The lock is the kernel's: it ends with the process, also after a kill.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        from filelock import FileLock

        with FileLock(folder / ".lock"):
            yield
        return
    # The same lock as filelock.FileLock's, whose import would take a third of the time that 600 photos take.
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("another process is writing to %s; waiting for it", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
