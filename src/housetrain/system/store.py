"""Files that survive a kill -9: atomic files and folders, JSON lines.

In: paths and plain values. Out: files with the old content or the new, never a part; folders whose manifest (sizes and
sha256) was written last. Does not know: runs, checkpoints, images.

The protocol of a committed folder: write everything into a hidden temporary folder beside the target, fsync each file,
write ``manifest.json`` last, fsync, rename, fsync the parent. A reader takes the newest folder that agrees with its
manifest and renames the others ``*.corrupt``: nothing is lost, and nothing damaged is read.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from housetrain.errors import CorruptError, DecodeError, IncompleteError
from housetrain.system.files import disk_errors as disk_errors
from housetrain.system.files import ensure_room as ensure_room
from housetrain.system.files import fsync_file, fsync_folder, inside, write_atomic
from housetrain.system.files import replacing as replacing
from housetrain.system.json_text import encode, parse_json
from housetrain.system.json_types import must_fit
from housetrain.system.machine import process_alive
from housetrain.system.regular_files import read_bytes

MANIFEST = "manifest.json"


class _File(TypedDict):
    bytes: int
    sha256: str


class _Manifest(TypedDict):
    files: dict[str, _File]


_active: set[str] = set()  # temporary folders of this very process that are still being written


# ------------------------------------------------------------------------------------------------- files
def write_bytes_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``path`` so that a reader sees the old content or the new, never a part.

    Args:
        path: The file; its folder is made.
        data: The content.
        durable: ``False`` skips the fsync, for files that only report progress.

    Raises:
        DiskFull: It cannot be written.
    """
    with disk_errors(path, bytes_needed=len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data, durable=durable)


def write_json_atomic(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write ``value`` as JSON: see `write_bytes_atomic` and `plain`."""
    write_bytes_atomic(path, encode(value), durable=durable)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises:
        IncompleteError: There is no such file.
        CorruptError: It is not JSON, or not a regular file.
    """
    data = _read(path)
    if data is None:
        raise IncompleteError(f"{path.name} is missing", do="point at a folder that housetrain wrote", path=str(path))
    return parse_json(data, path)


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Return the value of a JSON file that holds an object with at least these keys.

    Raises:
        IncompleteError: There is no such file.
        CorruptError: It holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict) or not value.keys() >= set(keys):
        raise CorruptError(
            f"{path.name} is not what housetrain writes",
            expected="a JSON object" + (f" with {', '.join(keys)}" if keys else ""),
            do="restore it, or create the folder again",
            path=str(path),
        )
    return value


def _read(path: Path) -> bytes | None:
    """Return the content of a regular file, ``None`` if it is missing."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return read_bytes(path)
    except DecodeError as error:
        if error.reason == "file not found":  # removed meanwhile
            return None
        raise CorruptError(
            f"{path.name} cannot be read: {error.reason}",
            do="restore it, or create the folder again",
            path=str(path),
        ) from error


# ------------------------------------------------------------------------------------------------- JSON lines
def append_line(path: Path, value: Mapping[str, Any], *, durable: bool = True) -> None:
    """Append one JSON object as one line in one write; an incomplete last line, left by a crash, is cut first.

    Raises:
        DiskFull: It cannot be written.
    """
    append_bytes(path, encode(value, indent=None), before=_cut_torn_tail, durable=durable)


def append_bytes(
    path: Path, line: bytes, *, before: Callable[[int], object] | None = None, durable: bool = True
) -> None:
    """Append to a file in one write: all of it or, where the disk fills up, nothing. The file is made if missing.

    Args:
        path: The file.
        line: What to append.
        before: Called with the descriptor of the opened file.
        durable: Whether the line survives a power cut from when this returns.

    Raises:
        DiskFull: It cannot be written.
    """
    with disk_errors(path, bytes_needed=len(line)):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            if before is not None:
                before(handle)
            start = os.lseek(handle, 0, os.SEEK_END)
            if os.write(handle, line) != len(line):  # a disk that fills up takes the first part only
                os.ftruncate(handle, start)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)


def open_own(path: Path, flags: int) -> int:
    """Return a descriptor of a regular file, which is not opened through a link.

    Raises:
        CorruptError: It is a link, or not a regular file.
        OSError: It cannot be opened.
    """
    flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise CorruptError("A file is a link or a FIFO", do="remove it", path=str(path)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise CorruptError("A file is not a regular file", do="remove it", path=str(path))
    return handle


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file; none if it is missing; an incomplete last line is skipped.

    Raises:
        CorruptError: A line that is not the last is not a JSON object.
    """
    data = _read(path)
    if data is None:
        return []
    complete = data[: data.rfind(b"\n") + 1].splitlines()
    values = []
    for number, line in enumerate(complete, 1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorruptError(
                f"Line {number} of {path.name} is not JSON", do="remove that line", path=str(path)
            ) from error
        if not isinstance(value, dict):
            raise CorruptError(
                f"Line {number} of {path.name} is not a JSON object", do="remove that line", path=str(path)
            )
        values.append(value)
    return values


def _cut_torn_tail(handle: int) -> None:
    size = os.lseek(handle, 0, os.SEEK_END)
    end = size
    while end > 0:
        start = max(0, end - 4096)
        os.lseek(handle, start, os.SEEK_SET)
        block = os.read(handle, end - start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(handle, end)


# ------------------------------------------------------------------------------------------------- folders
@contextlib.contextmanager
def commit_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a temporary folder; when the block returns, it becomes ``parent/name`` with its manifest in one step.

    An existing ``parent/name`` is exchanged for the new one and then removed. When the block raises, nothing changes.

    Args:
        parent: The folder it will stand in; made if missing.
        name: The name of the new folder.

    Yields:
        The empty temporary folder to write into.

    Raises:
        DiskFull: It cannot be written.
    """
    target = parent / name
    with disk_errors(target):
        parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(parent)
        temporary = parent / f".tmp-{name}-{_host()}-{os.getpid()}"
        temporary.mkdir()
        _active.add(str(temporary))
        try:
            yield temporary
            write_manifest(temporary)
            if target.exists():
                _exchange(temporary, target)
            else:
                temporary.rename(target)
            fsync_folder(parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # the failed attempt, or the old folder after an exchange
            _active.discard(str(temporary))


def write_manifest(folder: Path) -> None:
    """Fsync every file of ``folder``, then write its manifest (bytes and sha256 of each), then fsync that.

    Raises:
        DiskFull: It cannot be written.
    """
    files = {}
    for path in sorted(item for item in folder.rglob("*") if item.is_file() and item != folder / MANIFEST):
        fsync_file(path)
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    for path in folder.rglob("*"):
        if path.is_dir():
            fsync_folder(path)
    write_json_atomic(folder / MANIFEST, {"format": 1, "files": files})


def manifest_files(folder: Path) -> dict[str, _File]:
    """Return the files that the manifest of a committed folder names, with their sizes and sha256.

    Raises:
        CorruptError: The manifest is not readable.
    """
    try:
        found: dict[str, _File] = must_fit(read_json(folder / MANIFEST), _Manifest, folder / MANIFEST)["files"]
    except (IncompleteError, CorruptError) as error:
        raise CorruptError("A folder has no readable manifest", path=str(folder)) from error
    return found


def verify_folder(folder: Path) -> None:
    """Check a committed folder against its manifest.

    Raises:
        CorruptError: A file is missing, has another size or another sha256, or the manifest itself is not readable.
    """
    files = manifest_files(folder)
    for name, facts in files.items():
        path = inside(folder, name)
        if not path.is_file():
            raise CorruptError(f"{name} is missing", do="restore it, or create the folder again", path=str(folder))
        if path.stat().st_size != facts["bytes"] or file_sha256(path) != facts["sha256"]:
            raise CorruptError(
                f"{name} is not what was written", do="restore it, or create the folder again", path=str(folder)
            )


def committed(parent: Path, prefix: str) -> list[Path]:
    """Return the committed folders ``parent/prefix*``, oldest first (by name), without verifying them."""
    if not parent.is_dir():
        return []
    return sorted(
        item
        for item in parent.iterdir()
        if item.name.startswith(prefix) and ".corrupt" not in item.name and item.is_dir()
    )


def newest_valid(parent: Path, prefix: str) -> Path | None:
    """Return the newest (by name) folder ``parent/prefix*`` that verifies; those that do not become ``*.corrupt``."""
    for folder in reversed(committed(parent, prefix)):
        try:
            verify_folder(folder)
        except CorruptError:
            set_aside(folder)
        else:
            return folder
    return None


def set_aside(folder: Path) -> Path:
    """Rename a damaged folder to ``*.corrupt`` (then ``*.corrupt2`` ...) and return its new path."""
    number = 1
    while True:
        aside = folder.with_name(f"{folder.name}.corrupt{number if number > 1 else ''}")
        if not aside.exists():
            folder.rename(aside)
            return aside
        number += 1


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Return `file_sha256`, computed once per process and state of the file. For files that are only replaced whole."""
    status = path.stat()
    return _sha256_of(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@functools.lru_cache(maxsize=64)
def _sha256_of(path: Path, state: tuple[int, ...]) -> str:
    return file_sha256(path)


def _remove_leftovers(parent: Path) -> None:
    """Remove temporary folders of processes of this machine that have ended."""
    for item in parent.glob(".tmp-*"):
        *_, host, pid = item.name.rsplit("-", 2)
        if host != _host() or not pid.isdigit() or str(item) in _active:
            continue
        if int(pid) == os.getpid() or not process_alive(int(pid)):
            shutil.rmtree(item, ignore_errors=True)


def _exchange(temporary: Path, target: Path) -> None:
    """Exchange two folders in one step where the kernel can; else in two, with the old one moved aside first."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        if renameat2(-100, os.fsencode(temporary.absolute()), -100, os.fsencode(target.absolute()), 2) == 0:
            return
    aside = target.with_name(f"{target.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    target.rename(aside)
    temporary.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def _host() -> str:
    return socket.gethostname().replace("-", "_").replace("/", "_")
