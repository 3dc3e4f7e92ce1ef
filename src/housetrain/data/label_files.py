"""A file of labels -> rows of cells, whatever its type; several files that belong together are one table.

In: a path, and the paths of the images. Out: `Rows`, or an error with what to do about a file that is not read. Labels
without the names of their images are never matched by a guess: only ``FILE:order`` says that they are in the order of
the images' names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from housetrain.data import array_labels
from housetrain.data.split_names import split_and_rest
from housetrain.data.table_cells import decode_text, json_cells, text_cells
from housetrain.errors import FolderError
from housetrain.images.sniff import EXTENSIONS
from housetrain.system.text import natural_key

ORDER = "order"
"""What follows the name of a file whose labels are in the order of the images' names: ``labels.npy:order``."""

SPREADSHEETS = frozenset({".xlsx", ".xls", ".xlsm", ".ods", ".numbers"})
_COLUMNAR = {
    ".parquet": "parquet",
    ".feather": "feather",
    ".dta": "stata",
    ".sav": "spss",
    ".h5": "hdf",
    ".hdf5": "hdf",
}
UNREAD = SPREADSHEETS | set(_COLUMNAR)
"""Suffixes of tables that are not read."""

_IMAGES = tuple(suffix for suffixes in EXTENSIONS.values() for suffix in suffixes)
_JSON = frozenset({".json", ".jsonl", ".ndjson"})
_SMALL = 16 << 20  # bytes of a file that is read though no one named it
_BESIDE = 24  # files looked at


class Rows(NamedTuple):
    """Rows of equal width, and whether the first one is a header for certain."""

    cells: list[list[str]]
    keyed: bool


def read_rows(path: Path, files: Sequence[str], *, in_order: bool = False, alone: bool = True) -> Rows:
    """Return the rows of a file of labels.

    Args:
        path: The file.
        files: Paths of the images, in any order.
        in_order: Whether the file holds one label an image, in the natural order of ``files``.
        alone: Whether files beside it that belong to it are left alone.

    Raises:
        FolderError: It is not read, or its labels have no images' names and ``in_order`` does not say their order.
    """
    suffix, images = path.suffix.lower(), [file for file in files if file.lower().endswith(_IMAGES)]
    if suffix in UNREAD:
        raise FolderError(f"{path.name} is {_what(path)}, which is not read", do=instead_of(path), file=str(path))
    if suffix in array_labels.SUFFIXES:
        columns = array_labels.columns_of(path)
        if len(columns) > 1 and not in_order:
            return Rows([list(columns), *map(list, zip(*columns.values(), strict=True))], True)
        return _ordered(path, next(iter(columns.values()), []), images, in_order=in_order)
    text = decode_text(path.read_bytes())
    if in_order:
        return _ordered(path, [line.strip() for line in text.splitlines() if line.strip()], images, in_order=True)
    if suffix in _JSON:
        return Rows(json_cells(text, path), True)
    cells = text_cells(text)
    if alone or not cells:
        return Rows(cells, False)
    if joined := _joined(path, cells):
        return Rows(joined, True)
    return Rows(_with_splits(path, cells), False)


def in_order_of(path: Path, files: Sequence[str]) -> str:
    """Return what says that the labels of a file are in the order of the images; ``""`` where they cannot be."""
    if path.suffix.lower() not in array_labels.SUFFIXES:
        return ""
    try:
        columns = array_labels.columns_of(path)
    except FolderError:
        return ""
    values = next(iter(columns.values()), [])
    return _examples(values, files) if len(columns) == 1 and len(values) == len(files) else ""


def instead_of(path: Path) -> str:
    """Return what to do about a table that is not read."""
    name = shlex.quote(path.with_suffix(".csv").name)
    if path.suffix.lower() in SPREADSHEETS:
        return f"save it as CSV (File > Save as > CSV), then: --labels {name}"
    kind = _COLUMNAR[path.suffix.lower()]
    read = f"pandas.read_{kind}({path.name!r}).to_csv({path.with_suffix('.csv').name!r}, index=False)"
    return f"save it as CSV, in Python: {read}; then: --labels {name}"


def _what(path: Path) -> str:
    return "a spreadsheet" if path.suffix.lower() in SPREADSHEETS else f"a file of type {path.suffix.lower()}"


def _ordered(path: Path, values: list[str], files: Sequence[str], *, in_order: bool) -> Rows:
    if not values:
        raise FolderError(
            "This is no table of labels", expected="one row an image, or one label an image", file=str(path)
        )
    if len(values) != len(files):
        raise FolderError(
            f"{path.name} holds {len(values):,} labels and no names of images, and there are {len(files):,} images",
            expected="a file name beside each label, or one label for each image",
            do="save them as CSV: one row an image, with its file name and its class",
            file=str(path),
        )
    if not in_order:
        raise FolderError(
            f"{path.name} holds {len(values):,} labels and no names of images",
            expected="a file name beside each label",
            do=f"if they are in the order of the file names ({_examples(values, files)}): "
            f"--labels {shlex.quote(f'{path.name}:{ORDER}')}",
            file=str(path),
        )
    return Rows([["file", "label"], *map(list, zip(_sorted(files), values, strict=True))], True)


def _examples(values: Sequence[str], files: Sequence[str]) -> str:
    names = [file.rpartition("/")[2] for file in _sorted(files)]
    shown = [f"{name}: {value}" for name, value in zip(names[:2], values, strict=False)]
    return f"{', '.join(shown)}, ..., {names[-1]}: {values[-1]}"


def _sorted(files: Iterable[str]) -> list[str]:
    return sorted(files, key=natural_key)


def _joined(path: Path, cells: list[list[str]]) -> list[list[str]]:
    """Return a table of numbers and names with the columns of others that have the same numbers; empty without any.

    CUB-200 has ``images.txt`` (number, path), ``image_class_labels.txt`` (number, class), ``train_test_split.txt``.
    """
    keys = [row[0] for row in cells]
    paths = sum(row[-1].lower().endswith(_IMAGES) for row in cells)
    if len(cells[0]) != 2 or len(set(keys)) < len(keys) or not all(map(str.isdecimal, keys)) or 2 * paths < len(keys):
        return []
    columns = {}
    for other in sorted(path.parent.glob(f"*{path.suffix}"))[:_BESIDE]:
        if other == path or other.stat().st_size > _SMALL:
            continue
        rows = text_cells(decode_text(other.read_bytes()))
        of = {row[0]: row[1] for row in rows if len(row) == 2}
        if len(rows) == len(keys) and of.keys() == set(keys):
            splits = {"1": "train", "0": "test"} if re.search(r"train.*test", other.stem.lower()) else {}
            columns["split" if splits else other.stem] = [splits.get(of[key], of[key]) for key in keys]
    header = ["id", path.stem, *columns]
    return [header, *([*row, *rest] for row, *rest in zip(cells, *columns.values(), strict=True))] if columns else []


def _with_splits(path: Path, cells: list[list[str]]) -> list[list[str]]:
    """Return a table with those of the other splits of the same shape: ``train.txt``, ``val.txt``, ``test.txt``.

    A column says the split of each row. Tables of other columns, such as those of a test without labels, do not count.
    """
    split, rest = split_and_rest(path.stem)
    if split != "train" or rest.startswith("sample"):
        return cells
    numbers = re.findall(r"\d+", path.stem)
    header = cells[0] if not any(re.search(r"\d|[.]", cell) for cell in cells[0]) else []
    parts: list[tuple[str | None, list[list[str]]]] = [(split, cells)]
    for other in sorted(path.parent.glob(f"*{path.suffix}"))[:_BESIDE]:
        also, same = split_and_rest(other.stem)
        known = also in {"validation", "test"} and same == rest and re.findall(r"\d+", other.stem) == numbers
        if known and other.stat().st_size <= _SMALL:
            rows = text_cells(decode_text(other.read_bytes()))
            if rows and len(rows[0]) == len(cells[0]) and (rows[0] == header if header else True):
                parts.append((also, rows))
    if len(parts) == 1:
        return cells
    first = [[*header, "split"]] if header else []
    return [*first, *([*row, name] for name, rows in parts for row in rows[bool(header) :] if name)]
