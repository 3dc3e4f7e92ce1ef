"""Arrays from files of strangers: what a header announces must be there before memory is taken for it.

In: ``.npy`` files and the bytes of ``.npz`` archives. Out: numpy arrays, or one `CorruptError`. Nothing is unpickled.
It does not know what the numbers mean.
"""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import CorruptError, DecodeError
from housetrain.system.regular_files import check_regular

_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError, TypeError, SyntaxError, MemoryError,
    NotImplementedError, RuntimeError, AttributeError, OverflowError, DecodeError, tokenize.TokenError,
)  # fmt: skip
"""What numpy and zipfile raise for damaged files."""


def load_npy(path: Path, *, mmap_mode: Literal["r"] | None = None) -> Any:
    """Return the array of a ``.npy`` file.

    Args:
        path: A regular file.
        mmap_mode: ``"r"`` maps the file, read-only, instead of reading it.

    Raises:
        CorruptError: It is no such file, holds objects, or not as many bytes as its header announces.
        FileNotFoundError: There is none.
    """
    try:
        size = check_regular(path.stat(), most=None)
        with path.open("rb") as file:
            _check_header(file, size)
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        raise _corrupt(path.name, error, path=str(path)) from error


def load_npz(data: bytes, keys: Sequence[str], *, most_bytes: int, name: str) -> dict[str, NDArray[Any]]:
    """Return arrays of a ``.npz`` archive.

    Args:
        data: Its content.
        keys: Names of the arrays.
        most_bytes: The most bytes that an array may have.
        name: What an error calls the archive.

    Raises:
        CorruptError: It is no such archive, or an array is missing, damaged or larger than ``most_bytes``.
    """
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for key in keys:
                member = archive.getinfo(f"{key}.npy")
                if member.file_size > most_bytes:
                    raise ValueError(f"an array is larger than {most_bytes:,} bytes")
                with archive.open(member) as file:
                    _check_header(file, member.file_size)
                with archive.open(member) as file:
                    found[key] = np.lib.format.read_array(file, allow_pickle=False)
    except _BROKEN as error:
        raise _corrupt(name, error) from error
    return found


def _check_header(file: IO[bytes], size: int) -> None:
    """Refuse a header that announces another number of bytes than the file has."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError("unknown version")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject or any(side < 0 for side in shape):
        raise ValueError("its header is not valid")
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError("its header announces another size")


def _corrupt(name: str, error: Exception, **received: Any) -> CorruptError:
    reason = str(error)[:200] if isinstance(error, ValueError) else type(error).__name__
    return CorruptError(f"{name} is not readable: {reason}", do="restore it, or create the folder again", **received)
