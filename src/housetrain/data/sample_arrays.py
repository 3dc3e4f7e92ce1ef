"""A standard data set as one ``.npz`` file of arrays, as ``keras.datasets`` gives them: no image files.

In: the arrays of a data set. Out: a file with ``x_train``, ``y_train``, ``x_test`` and ``y_test`` that `numpy.load`
opens and ``housetrain prepare`` takes. It does not know where the arrays come from.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from housetrain.errors import FolderError
from housetrain.system.files import disk_errors, write_atomic

SUFFIX = ".npz"
_COMMENT = "housetrain sample "
_NAMES = {"train": "train", "test": "test", "": "train"}


def holds_sample(file: Path, name: str) -> bool:
    """Return whether a file holds this data set already.

    Raises:
        FolderError: It is something else, or not the name of a ``.npz`` file.
    """
    if file.suffix.lower() != SUFFIX:
        raise FolderError("The arrays go into one file", expected=f"a name that ends with {SUFFIX}", dest=str(file))
    if not file.exists():
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            found = archive.comment.decode("ascii", "replace")
    except (OSError, zipfile.BadZipFile):
        found = ""
    if found != f"{_COMMENT}{name}":
        raise FolderError(
            "The destination is another file",
            expected=f"a new file, or one with the arrays of {name}",
            do="choose another name",
            dest=str(file),
        )
    return True


def write_sample_arrays(file: Path, name: str, parts: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write the arrays of a data set in one step.

    Args:
        file: The ``.npz`` file.
        name: Of the data set, kept in the file's comment.
        parts: ``"train"`` and ``"test"``, or ``""`` for a data set without a split: images and labels.

    Raises:
        DiskFull: No room or no permission.
    """
    arrays: dict[str, np.ndarray] = {}
    for part, (images, labels) in parts.items():
        arrays |= {f"x_{_NAMES[part]}": images, f"y_{_NAMES[part]}": labels.astype(np.int64)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = f"{_COMMENT}{name}".encode("ascii")
    with disk_errors(file, bytes_needed=len(buffer.getbuffer())):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, buffer.getvalue())
