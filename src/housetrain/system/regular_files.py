"""Read regular files, and nothing else.

In: a path. Out: bytes, or a `DecodeError` with a short reason. Does not know: images.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from housetrain.errors import DecodeError

MAX_BYTES = 512 << 20
"""The most bytes a file may have."""

READING = os.O_RDONLY
"""Flags to open a file with: bytes as they are, nothing blocks, nothing is inherited. Windows lacks some."""
for _name in ("O_BINARY", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_NOINHERIT"):
    READING |= getattr(os, _name, 0)


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file. Never blocks on a FIFO and never opens a device.

    Args:
        path: A file, or a symlink to one.

    Returns:
        All of its bytes.

    Raises:
        DecodeError: ``dangling symlink``, ``symlink loop``, ``not a file (FIFO)``, ``no permission to read``,
            ``file too large (...)``, ``file not found``, ``cannot be read (...)``.
    """
    try:
        check_regular(path.stat())  # before open(): opening a device can have effects of its own
        handle = os.open(path, READING)
        try:
            size = check_regular(os.fstat(handle))
            with open(handle, "rb", buffering=0, closefd=False) as file:
                data = file.read(min(size, MAX_BYTES) + 1)
                while len(data) > size and (more := file.read(1 << 20)):  # it grew meanwhile
                    data += more
                    if len(data) > MAX_BYTES:
                        raise DecodeError(f"file too large (over {MAX_BYTES >> 20} MiB)")
                return data
        finally:
            os.close(handle)
    except OSError as error:
        raise DecodeError(why_unreadable(path, error)) from error
    except ValueError as error:  # a NUL in the name
        raise DecodeError("file not found") from error


def check_regular(status: os.stat_result, *, most: int | None = MAX_BYTES) -> int:
    """Return the size in bytes of a regular file of up to ``most``; anything else is a :class:`DecodeError`."""
    kinds = {
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
        stat.S_IFDIR: "folder",
    }
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError(f"not a file ({kinds.get(stat.S_IFMT(status.st_mode), 'special')})")
    if most is not None and status.st_size > most:
        raise DecodeError(f"file too large (over {most >> 20} MiB)")
    return status.st_size


def why_unreadable(path: Path, error: OSError) -> str:
    """Return a short phrase for a file that the system does not open."""
    if error.errno == errno.ELOOP:
        return "symlink loop"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission to read"
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO):
        return "dangling symlink" if path.is_symlink() else "file not found"
    return f"cannot be read ({error.strerror})"
