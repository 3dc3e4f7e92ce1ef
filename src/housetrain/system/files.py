"""Atomic files, and names that come out of files.

A reader sees the old content or the new, never a part; a full disk is one clear line; no name that a file holds leads
out of its folder.

In: paths and bytes. Out: files, or `DiskFull` with the path, the bytes needed and the bytes free. Does not know: what
is written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from housetrain.errors import CorruptError, DiskFull

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


# ------------------------------------------------------------------------------------------------- names from files
def inside(root: Path, name: object) -> Path:
    """Join a name that comes out of a file to the folder that it belongs to. The path need not exist.

    Args:
        root: The folder. It may itself be behind a link.
        name: What the file holds: a relative POSIX path.

    Raises:
        CorruptError: It is no relative path, has a part ``..``, leads out of the folder by a link, or is neither a
            regular file nor a folder.
    """
    if not is_relative(name):
        raise CorruptError("A name in a file leads out of its folder", folder=str(root), name=name)
    path = root / str(name)
    real, real_root = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([real, real_root]) != real_root:
        raise CorruptError("A link leads out of its folder", do="remove the link", folder=str(root), name=name)
    try:
        mode = Path(real).stat().st_mode
    except OSError:
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise CorruptError("A name in a file is neither a file nor a folder", folder=str(root), name=name)
    return path


def is_relative(name: object) -> bool:
    """Return whether ``name`` is a relative path without ``..`` on every system. It may hold a backslash elsewhere."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    if os.name == "nt":
        windows = PureWindowsPath(name)
        rooted, parts = bool(windows.drive or windows.root) or name.startswith("/"), windows.parts
    else:  # for each of many rows: `PurePosixPath` takes ten times as long
        rooted, parts = name.startswith("/"), tuple(part for part in name.split("/") if part not in ("", "."))
    return bool(parts) and not rooted and ".." not in parts


def refuse_links(folder: Path) -> None:
    """Refuse to write into a folder that holds links, or what is neither a file nor a folder, at any depth.

    A run or sweep from elsewhere could lead what is written or deleted there to another place.

    Raises:
        CorruptError: It holds such an entry.
    """
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = list(entries)
        except OSError:  # missing, or removed meanwhile: what is written there reports it
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif entry.is_symlink() or not _is_file(entry):
                kind = "a link" if entry.is_symlink() else "an entry that is neither a file nor a folder"
                raise CorruptError(
                    f"The folder holds {kind}, so nothing is written into it",
                    do="remove it, or work on a copy",
                    path=entry.path,
                )


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) or not os.path.lexists(entry.path)  # it was removed meanwhile


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
        with temporary.open("xb") as file:  # never through a link
            file.write(data)
        if durable:
            replace_durably(temporary, path)
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only this user can read (mode 0600), in one step and not through a link."""
    temporary = temporary_beside(path)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    temporary.replace(path)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a library that writes files itself; then rename it to ``path``, or leave nothing.

    Raises:
        OSError: It cannot be written; see `disk_errors`. The previous content is intact.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        replace_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def scratch_file() -> IO[bytes]:
    """Return an unnamed file for a little: in memory where the system has that, since TMPDIR may be full or missing."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("housetrain"), "w+b")
    return tempfile.TemporaryFile()


def temporary_beside(path: Path) -> Path:
    """Return a hidden, unpredictable name in the same folder, for a file that will be renamed to ``path``."""
    return path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.tmp{path.suffix}")


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
