"""Labels in files of NumPy and MATLAB -> columns of text.

In: a ``.npy``, ``.npz`` or ``.mat`` file. Out: name -> values of its columns, or of one column of labels without the
names of their images. It does not know images.

Nothing is unpickled. MATLAB files are read by scipy in a process of its own, whose memory and time are bounded: a small
file may announce large arrays.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from housetrain.data.table_cells import as_number
from housetrain.errors import DecodeError, FolderError, HousetrainError
from housetrain.system.arrays import load_npy, load_npz

SUFFIXES = frozenset({".npy", ".npz", ".mat"})

MOST_ROWS = 5_000_000
_MOST_BYTES = 64 << 20  # of one array of labels
_MOST_ARRAYS = 32
_MOST_COLUMNS = 50
_DEEPEST = 3  # structures in structures
_CLASS_NAMES = ("class_names", "classes", "classnames", "names", "categories", "labels_names", "label_names")
_TIMEOUT_S = 20.0
_MEMORY_BYTES = 1 << 30

Columns = dict[str, list[str]]


def columns_of(path: Path) -> Columns:
    """Return name -> values of the columns in a file, all of one length; empty where it holds none.

    Raises:
        FolderError: It is damaged, holds objects, is of MATLAB 7.3, or asks for too much memory.
    """
    suffix = path.suffix.lower()
    try:
        return _mat(path) if suffix == ".mat" else _npz(path) if suffix == ".npz" else _npy(path)
    except HousetrainError as error:
        raise FolderError(
            f"{path.name} cannot be read as labels ({error.what})",
            do="save the labels as CSV: one row an image, with its file name and its class",
            file=str(path),
        ) from error


def _npy(path: Path) -> Columns:
    array = load_npy(path, mmap_mode="r")
    if array.nbytes > _MOST_BYTES:
        return {}
    if array.dtype.names:
        return {name: values for name in array.dtype.names if (values := _values(array[name]))}
    if array.ndim == 2 and array.dtype.kind in "US" and array.shape[1] > 1:
        return {
            str(number + 1): list(map(str, array[:, number])) for number in range(min(array.shape[1], _MOST_COLUMNS))
        }
    values = _values(array)
    return {"label": values} if values else {}


def _npz(path: Path) -> Columns:
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(info.filename).stem for info in archive.infolist() if info.file_size <= _MOST_BYTES]
    except zipfile.BadZipFile as error:
        raise DecodeError("no .npz file") from error
    arrays = load_npz(data, names[:_MOST_ARRAYS], most_bytes=_MOST_BYTES, name=path.name)
    return _longest({name: values for name, array in arrays.items() if (values := _values(array))})


def _mat(path: Path) -> Columns:
    from housetrain.system.process_pool import Failed, map_in_workers

    ((_, found),) = map_in_workers(read_mat, [str(path)], workers=1, timeout_s=_TIMEOUT_S, memory_bytes=_MEMORY_BYTES)
    if isinstance(found, Failed):
        raise DecodeError(found.reason)
    return found


def read_mat(path: str) -> Columns:
    """Return the columns of a MATLAB file: a structure an image, a structure of columns, or variables of one length.

    Class numbers become names where the file, or one beside it that is called ``meta``, holds a list of names.

    Raises:
        DecodeError: It is no MATLAB file, or one of MATLAB 7.3.
    """
    values = _loaded(Path(path))
    found = max((_longest(one) for one in _tables(values, _DEEPEST)), key=_rank, default={})
    beside = [
        one for one in sorted(Path(path).parent.glob("*.mat")) if "meta" in one.stem.lower() and one != Path(path)
    ]
    for source in (values, *(_loaded(one) for one in beside[:2])):
        for names in (_texts(value) for key, value in _named(source, _DEEPEST) if key.lower() in _CLASS_NAMES):
            for column in [column for column in found if names and column.lower() in {"class", "label", "labels"}]:
                found[column] = _renamed(found[column], names)
    return found


def _loaded(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        if b"MATLAB 7.3" in file.read(128):
            raise DecodeError("MATLAB 7.3 file; in MATLAB: save('labels.mat', 'labels', '-v7')")
    from scipy.io import loadmat

    try:
        loaded = loadmat(path, simplify_cells=True)
    except MemoryError:
        raise DecodeError("needs too much memory") from None
    except Exception as error:  # scipy raises many kinds for damaged files
        raise DecodeError("damaged, or no MATLAB file") from error
    return {name: value for name, value in loaded.items() if not name.startswith("__")}


def _tables(values: Any, deepest: int) -> list[Columns]:
    """Return the tables in what a MATLAB file holds: each a name -> values."""
    found: list[Columns] = []
    if isinstance(values, list | np.ndarray) and len(values) > 1 and all(isinstance(one, dict) for one in values):
        names = [name for name, value in values[0].items() if isinstance(value, str | int | float | np.generic)]
        rows = [one for one in values[:MOST_ROWS] if all(name in one for name in names)]
        found.append({name: [_text(row[name]) for row in rows] for name in names[:_MOST_COLUMNS]})
    elif isinstance(values, Mapping):
        found.append({name: texts for name, value in values.items() if (texts := _values(value))})
        for value in values.values() if deepest else ():
            found += _tables(value, deepest - 1)
    return found


def _named(values: Any, deepest: int) -> list[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        return []
    return [*values.items(), *(pair for value in values.values() if deepest for pair in _named(value, deepest - 1))]


def _rank(columns: Columns) -> tuple[bool, int, int]:
    """Return what tells the table of the images from others: it has text, several columns and many rows."""
    with_text = any(as_number(value) is None for values in columns.values() for value in values[:5])
    return with_text and len(columns) > 1, max(map(len, columns.values()), default=0), len(columns)


def _longest(columns: Columns) -> Columns:
    """Return the columns of the commonest length, of several lengths the greatest."""
    lengths = [len(values) for values in columns.values()]
    most = max(lengths, key=lambda length: (lengths.count(length), length), default=0)
    return {name: values for name, values in list(columns.items())[:_MOST_COLUMNS] if len(values) == most}


def _values(array: Any) -> list[str]:
    """Return a vector as text; empty for what is none: images, single numbers, objects."""
    if isinstance(array, list):
        array = np.array(array, dtype=object) if all(isinstance(one, str) for one in array) else np.array(array)
    if (
        not isinstance(array, np.ndarray)
        or array.size != max(array.shape, default=0)
        or not 2 <= array.size <= MOST_ROWS
    ):
        return []
    flat = array.ravel()
    if flat.dtype.kind == "O":
        return _texts(flat.tolist())
    return [_text(value) for value in flat.tolist()] if flat.dtype.kind in "iufbUS" else []


def _texts(values: Any) -> list[str]:
    items: Sequence[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return list(items) if isinstance(items, list) and items and all(isinstance(one, str) for one in items) else []


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    number = value.item() if isinstance(value, np.generic) else value
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def _renamed(values: list[str], names: list[str]) -> list[str]:
    """Return class numbers as names: MATLAB counts from 1."""
    numbers = {int(value) for value in values if value.isdecimal()}
    if len(numbers) == 0 or not all(value.isdecimal() for value in values) or min(numbers) < 1:
        return values
    return [names[int(value) - 1] for value in values] if max(numbers) <= len(names) else values
