"""One ``.npy`` file of equally sized images, filled row by row from many processes.

In: the number of rows and their shape, and for each row an image file with its sha256, or a row of an older file. Out:
a plain ``.npy`` that ``np.load(path, mmap_mode="r")`` opens. Every process writes each row with ``os.pwrite`` at its
place, so no image travels through a pipe and no array is held in memory. Does not know: classes, splits.

Workers import this module: it must stay quick to import.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from housetrain.errors import DecodeError
from housetrain.images.decode import load_image, read_bytes
from housetrain.images.input_spec import InputSpec
from housetrain.system.regular_files import READING

HEADER_BYTES = 128
_BLOCK_BYTES = 8 << 20  # copied at once


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why one image did not become a row.

    Attributes:
        kind: ``"failed"`` (it cannot be decoded), ``"changed"`` (not the file that was scanned) or ``"disk"``.
        reason: A short phrase; for ``"disk"`` the error number.
    """

    kind: str
    reason: str


class RowWriter:
    """Decode one image and write it as one row: what worker processes run. Each keeps the array file open.

    Args:
        root: The folder of images.
        path: The array file, made by `create`.
        spec: What a row holds.
    """

    def __init__(self, root: Path, path: Path, spec: InputSpec) -> None:
        self.root, self.path, self.spec = root, path, spec
        self._start = os.path.join(root, "")  # noqa: PTH118 - text: joining paths costs more than reading a small file
        self._descriptor = -1  # a fork or a new program opens its own

    def __call__(self, item: tuple[int, str, str]) -> Outcome | None:
        """Write the row ``item[0]`` from the file ``item[1]`` whose sha256 was ``item[2]``; ``None`` is success."""
        number, name, sha256 = item
        path = self._start + name
        try:
            data = _read(path)
        except DecodeError as error:  # it was read when it was scanned
            return Outcome("changed", error.reason if os.path.lexists(path) else "it is gone")
        if hashlib.sha256(data).hexdigest() != sha256:
            return Outcome("changed", "its content is another")
        try:
            image = load_image(data, self.spec)
        except DecodeError as error:
            return Outcome("failed", error.reason)
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            write_row(self._descriptor, number, image)
        except OSError as error:
            return Outcome("disk", str(error.errno or errno.EIO))
        return None


def _read(path: str) -> bytes:
    """Return what `read_bytes` returns, in half the time; files that are not plain are left to it."""
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(path)  # noqa: PTH116 - see RowWriter
        if stat.S_ISREG(status.st_mode) and status.st_size < _BLOCK_BYTES:
            descriptor = os.open(path, READING)
            try:
                data = os.read(descriptor, status.st_size + 1)
            finally:
                os.close(descriptor)
            if len(data) == status.st_size:
                return data
    return read_bytes(Path(path))


def row_bytes(spec: InputSpec) -> int:
    """Return the size of one row."""
    return spec.height * spec.width * spec.channels


def file_bytes(count: int, spec: InputSpec) -> int:
    """Return the size of the file of ``count`` rows."""
    return HEADER_BYTES + count * row_bytes(spec)


def create(path: Path, count: int, *, spec: InputSpec) -> None:
    """Create a file with room for ``count`` rows. The room is reserved, so that a full disk is reported now.

    Raises:
        OSError: No room (ENOSPC, EFBIG, EDQUOT) or no permission. No file is left.
    """
    size = file_bytes(count, spec)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        _reserve(descriptor, size)
        os.pwrite(descriptor, header(count, spec), 0)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _reserve(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    # macOS, and file systems that cannot reserve (ZFS): ask how much is free instead.
    status = os.fstatvfs(descriptor)
    if status.f_bavail * status.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(descriptor, size)


def header(count: int, spec: InputSpec) -> bytes:
    """Return the header of a version 1.0 ``.npy`` file, padded to `HEADER_BYTES`.

    numpy's own header has another length for other counts; with a fixed one the count can be corrected in place. The
    format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(count, *spec.shape)!r}, }}"
    start = b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
    return start + text.ljust(HEADER_BYTES - 11).encode("ascii") + b"\n"


def write_row(descriptor: int, number: int, image: np.ndarray) -> None:
    """Write one uint8 image as row ``number``."""
    data = np.ascontiguousarray(image)
    _pwrite(descriptor, data.data.cast("B"), HEADER_BYTES + number * data.nbytes)


def copy_rows(source: Path, target: Path, pairs: Iterable[tuple[int, int]], *, spec: InputSpec) -> None:
    """Copy rows between two files, or down inside one; consecutive rows are copied together.

    Args:
        source: The file to read.
        target: The file to write; may be ``source`` when every row moves down or stays.
        pairs: (row in source, row in target), ascending in the target.
        spec: What a row holds.
    """
    size = row_bytes(spec)
    most = max(1, _BLOCK_BYTES // size)
    with source.open("rb") as old, target.open("r+b", buffering=0) as new:
        for start_old, start_new, count in _runs(pairs, most):
            block = os.pread(old.fileno(), count * size, HEADER_BYTES + start_old * size)
            if len(block) != count * size:
                raise OSError(errno.EIO, f"{source} is shorter than it was")
            _pwrite(new.fileno(), memoryview(block), HEADER_BYTES + start_new * size)


def _runs(pairs: Iterable[tuple[int, int]], most: int) -> Iterable[tuple[int, int, int]]:
    first_old = first_new = count = 0
    for old, new in pairs:
        if count and count < most and old == first_old + count and new == first_new + count:
            count += 1
            continue
        if count:
            yield first_old, first_new, count
        first_old, first_new, count = old, new, 1
    if count:
        yield first_old, first_new, count


def drop_rows(path: Path, numbers: Sequence[int], count: int, *, spec: InputSpec) -> None:
    """Remove rows from the file of ``count`` rows, in place; the others keep their order."""
    gone = set(numbers)
    kept = [number for number in range(count) if number not in gone]
    copy_rows(path, path, ((old, new) for new, old in enumerate(kept) if old != new), spec=spec)
    with path.open("r+b", buffering=0) as file:
        file.truncate(file_bytes(len(kept), spec))
        os.pwrite(file.fileno(), header(len(kept), spec), 0)


def _pwrite(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
