"""Arrays in a file: the ``.npz`` archives of numpy, such as Keras' ``mnist.npz``; a pickle is refused.

In: a path. Out: pairs of images and labels for `housetrain.Prepared.from_arrays`. Nothing is unpickled: a pickle may
run any code when it is opened. It does not know what the numbers mean.
"""

from __future__ import annotations

import shlex
import zipfile
from pathlib import Path
from typing import Any

from housetrain.errors import DataError, FolderError
from housetrain.system.arrays import load_npz

PICKLES = (".pickle", ".pkl", ".p", ".joblib")
_PAIRS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("x", "y"), ("images", "labels")),
    "validation": (("x_val", "y_val"), ("x_valid", "y_valid"), ("x_validation", "y_validation")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
"""Names of arrays, in any case: images and labels of each split."""
_MOST_BYTES = 1 << 36


def is_array_file(path: Path) -> bool:
    """Return whether a path is a ``.npz`` file by its name."""
    return path.suffix.lower() == ".npz" and path.is_file()


def refuse_arrays(path: Path) -> None:
    """Refuse a file of arrays where a folder of images is expected, and say what to do with it.

    Raises:
        FolderError: It is a pickle, or a ``.npy`` or ``.npz`` file.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES and path.is_file():
        raise FolderError(
            "A pickle can run any code when it is opened, so it is not read",
            expected="a folder of images, or arrays in a .npz file",
            do="if you made it yourself, save the arrays in Python: numpy.savez('images.npz', x=X, y=y); then: "
            "housetrain prepare images.npz",
            path=str(path),
        )
    if is_array_file(path):
        raise FolderError(
            "These are arrays, not a folder of images",
            do=f"housetrain prepare {shlex.quote(str(path))}, then housetrain train",
            path=str(path),
        )
    if suffix == ".npy" and path.is_file():
        raise FolderError(
            "This is one array, without its labels",
            do="save both in one file, in Python: numpy.savez('images.npz', x=X, y=y); then: "
            "housetrain prepare images.npz",
            path=str(path),
        )


def arrays_of(path: Path) -> dict[str, tuple[Any, Any]]:
    """Return the arrays of a ``.npz`` file: ``train``, and ``validation`` and ``test`` where it holds them.

    Args:
        path: With arrays named ``x_train``, ``y_train``, ``x_test`` and ``y_test``, as Keras' ``mnist.npz``; or ``x``
            and ``y``, in any case.

    Raises:
        DataError: It holds no arrays of these names.
        CorruptError: It is no such file, is damaged, or holds objects.
    """
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).stem.lower(): Path(name).stem for name in archive.namelist()}
    except zipfile.BadZipFile:
        names = {}
    found = {}
    for split, pairs in _PAIRS.items():
        pair = next((pair for pair in pairs if names.keys() >= set(pair)), None)
        if pair is not None:
            keys = [names[name] for name in pair]
            arrays = load_npz(data, keys, most_bytes=_MOST_BYTES, name=path.name)
            found[split] = (arrays[keys[0]], arrays[keys[1]])
    if "train" not in found:
        raise DataError(
            "The file holds no images and labels",
            expected="arrays named x_train, y_train, x_test and y_test, or x and y",
            file=str(path),
            holds=", ".join(sorted(names.values())[:8]),
        )
    return found
