"""Atomic files: a reader sees the old content or the new, never a part; and a full disk is one clear line.

In: paths and bytes. Out: files, or `DiskFull` with the path, the bytes needed and the bytes free. Does not know: what
is written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from housetrain.errors import DiskFull

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EROFS, errno.EACCES, errno.EPERM}


# ------------------------------------------------------------------------------------------------- room
@contextlib.contextmanager
def disk_errors(path: Path, *, bytes_needed: int | None = None) -> Iterator[None]:
    """Turn a full disk, a quota, a read-only file system or a missing permission for ``path`` into one clear line.

    Raises:
        DiskFull: Any of them; it names ``path`` and, where it is known, ``bytes_needed``.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM | _NO_PERMISSION:
            raise
        raise _disk_full(path, bytes_needed, error.errno) from error


def ensure_room(path: Path, bytes_needed: int) -> None:
    """Refuse early what cannot be written: ``path`` (or its nearest existing parent) lacks room or permission.

    Raises:
        DiskFull: Fewer than ``bytes_needed`` bytes are free, or the place is not writable.
    """
    place = _nearest(path)
    if not os.access(place, os.W_OK):
        raise _disk_full(path, bytes_needed, errno.EACCES)
    if shutil.disk_usage(place).free < bytes_needed:
        raise _disk_full(path, bytes_needed, errno.ENOSPC)


def _nearest(path: Path) -> Path:
    """Return ``path``, or the nearest of its parents that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _disk_full(path: Path, bytes_needed: int | None, code: int) -> DiskFull:
    received: dict[str, Any] = {"path": str(path)}
    if bytes_needed is not None:
        received["bytes_needed"] = bytes_needed
    if code in _NO_ROOM:
        with contextlib.suppress(OSError):
            received["bytes_free"] = shutil.disk_usage(_nearest(path)).free
    return DiskFull(
        f"Cannot write {path}: {os.strerror(code)}; the previous content is intact",
        do=f"{'free some space' if code in _NO_ROOM else 'allow writing there'}, or choose another folder",
        **received,
    )


# ------------------------------------------------------------------------------------------------- files
def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``path`` so that a reader sees the old content or the new, never a part, even after a power cut.

    Args:
        path: The file; its folder exists.
        data: The content.
        durable: ``False`` skips the fsync, for files that only report progress.

    Raises:
        OSError: It cannot be written; see `disk_errors`. The previous content is intact.
    """
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(data)
        if durable:
            replace_durably(temporary, path)
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_beside(path: Path) -> Path:
    """Return a hidden name in the same folder, for a file that will be renamed to ``path``."""
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


def is_temporary(name: str) -> bool:
    """Return whether `temporary_beside` gives such names: a kill may leave such a file behind."""
    return name.startswith(".") and ".tmp" in name


def replace_durably(temporary: Path, path: Path) -> None:
    """Rename the finished file ``temporary`` to ``path``, so that ``path`` is the new one even after a power cut."""
    fsync_file(temporary)
    temporary.replace(path)
    fsync_folder(path.parent)


def fsync_file(path: Path) -> None:
    """Make the content of ``path`` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_folder(folder: Path) -> None:
    """Make the names inside ``folder`` durable. Does nothing where the file system (or Windows) cannot."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)
