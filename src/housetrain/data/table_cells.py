"""Text of a table -> rows of cells: CSV, TSV, blank-separated, JSON and JSON lines.

In: bytes or text. Out: rows of equal width, as text. It does not know images.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from housetrain.data.split_names import split_of
from housetrain.errors import FolderError

_SAMPLE = 2_000  # rows that decide about the separator
_SEPARATORS = (",", ";", "\t", "|")
_NO_VALUE = frozenset(("nan", "null", "n/a", "#n/a", "<na>"))
_MOST_JSON = 12  # files beside a table
_CLASS_FILES = ("classes", "class_names", "class_labels", "names", "labels_names", "categories", "labels", "label_map")


def decode_text(data: bytes) -> str:
    """Return text in UTF-8, UTF-16 with or without its mark, or the Western code page of Windows."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    start = data[:_SAMPLE]
    for odd, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(start) > 3 and start[odd::2].count(0) > 0.6 * len(start[odd::2]):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def text_cells(text: str) -> list[list[str]]:
    """Return the rows of a table with one of the usual separators or blanks; empty where it is no table."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if lines and re.fullmatch(r"sep=.", lines[0].strip()):  # written for a spreadsheet
        del lines[0]
    best: list[list[str]] = []
    for separator in _SEPARATORS:
        try:
            rows = [row for row in csv.reader(io.StringIO("\n".join(lines[:_SAMPLE])), delimiter=separator) if row]
        except csv.Error:
            continue
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        if width > max(1, len(best[0]) if best else 1) and count >= 0.95 * len(rows):
            whole = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=True)
            best = [row for row in whole if len(row) == width]
    if best:
        return best
    rows = [line.split() for line in lines]
    width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
    if len(rows) > 2 and rows[0] == [str(len(rows) - 2)] and [len(row) for row in rows[1:3]] == [width - 1, width]:
        # list_attr_celeba.txt: the number of images, then the names of the columns without the first one
        return [["image", *rows[1]], *(row for row in rows[2:] if len(row) == width)]
    if width > 1 and count >= 0.95 * len(rows):
        return [row for row in rows if len(row) == width]
    rows = [line.split(maxsplit=1) for line in lines]  # 1025794 Boeing 737: a label of several words
    return rows if rows and all(len(row) == 2 for row in rows) else []


def json_cells(text: str, path: Path) -> list[list[str]]:
    """Return the rows of a JSON or JSON-lines table, the names of the columns first.

    Raises:
        FolderError: It is no valid JSON.
    """
    try:
        whole = (
            json.loads(text)
            if path.suffix.lower() == ".json"
            else [json.loads(one) for one in text.splitlines() if one.strip()]
        )
    except (ValueError, RecursionError) as error:
        raise FolderError("The table of labels is no valid JSON", file=str(path), cause=str(error)) from error
    if isinstance(whole, dict):
        whole = _rows_of(whole)
    if isinstance(whole, list) and whole and all(isinstance(one, list) for one in whole):
        return [[str(number + 1) for number in range(len(whole[0]))], *_rectangle(whole)]
    if not isinstance(whole, list) or not all(isinstance(one, dict) for one in whole):
        return []
    whole = [_flattened(one) for one in whole]
    names = list(dict.fromkeys(name for one in whole for name in one))
    return [names, *([_text(one.get(name)) for name in names] for one in whole)]


def _flattened(row: dict[str, Any]) -> dict[str, Any]:
    """Return a record with what its ``data`` holds, and the choice of its only annotation, as Label Studio has them."""
    data, marks = row.get("data"), row.get("annotations")
    found = {**row, **data} if isinstance(data, dict) else dict(row)
    results = [one.get("result") for one in marks if isinstance(one, dict)] if isinstance(marks, list) else []
    marked = results[0] if results and isinstance(results[0], list) else []
    values = [one.get("value") for one in marked if isinstance(one, dict)]
    chosen = [one["choices"] for one in values if isinstance(one, dict) and isinstance(one.get("choices"), list)]
    if len(results) == len(chosen) == 1:
        found["label"] = "|".join(map(str, chosen[0]))
    return found


def _rows_of(whole: dict[str, object]) -> object:
    """Return the rows that an object of a JSON file means: file -> label, class -> files, COCO, or a list inside it."""
    values = list(whole.values())
    classes, of = whole.get("classes"), whole.get("labels")
    if isinstance(of, dict) and isinstance(classes, list) and all(isinstance(one, str) for one in classes):
        names = dict(enumerate(classes))  # FiftyOne
        return [{"file": name, "label": names.get(number, number)} for name, number in of.items()]
    if values and all(isinstance(value, str | int | float) for value in values):
        return [{"file": name, "label": label} for name, label in whole.items()]
    if values and all(isinstance(value, list) and all(isinstance(one, str) for one in value) for value in values):
        return [{"file": one, "label": name} for name, files in whole.items() for one in files]  # type: ignore[attr-defined]
    if values and all(map(split_of, whole)):
        return _of_splits(whole)
    if len(values) > 1 and all(isinstance(value, dict) for value in values) and not any(map(_has_dicts, values)):
        return [{"file": name, **value} for name, value in whole.items()]  # type: ignore[dict-item]
    named = {key: _by_id(whole.get(key)) for key in ("images", "categories")}
    if all(named.values()) and isinstance(marks := whole.get("annotations"), list):
        return [
            {"file": named["images"].get(one.get("image_id")), "label": named["categories"].get(one.get("category_id"))}
            for one in marks
            if isinstance(one, dict)
        ]
    lists = [one for one in values if isinstance(one, list) and one and all(isinstance(r, dict | list) for r in one)]
    return lists[0] if len(lists) == 1 else None


def _of_splits(whole: dict[str, object]) -> object:
    """Return the rows of each split with its name: ``{"train": {"cat": [...]}}``, ``{"train": [["1.jpg", 0]]}``."""
    rows: list[object] = []
    for name, value in whole.items():
        inner = _rows_of(value) if isinstance(value, dict) else value
        for row in inner if isinstance(inner, list) else ():
            if isinstance(row, dict):
                rows.append({**row, "split": name})
            elif isinstance(row, list):
                rows.append({**{str(number + 1): cell for number, cell in enumerate(row)}, "split": name})
    return rows


def _has_dicts(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(one, dict) for one in value.values())


def _rectangle(rows: list[list[object]]) -> list[list[str]]:
    """Return the rows that are as long as the first, as text."""
    return [[_text(cell) for cell in row] for row in rows if len(row) == len(rows[0])]


def _by_id(rows: object) -> dict[object, object]:
    """Return id -> file name, or name, of the images or categories of a COCO file."""
    if not isinstance(rows, list):
        return {}
    return {
        one["id"]: one.get("file_name", one.get("name"))
        for one in rows
        if isinstance(one, dict) and isinstance(one.get("id"), str | int)
    }


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return "" if value is None or isinstance(value, dict | list) else str(value).lower()
    return str(value)


def class_names(path: Path, values: set[str]) -> dict[str, str]:
    """Return class number -> name where a file beside the table names the class numbers, else nothing."""
    if not values or not all(re.fullmatch(r"\d+", value) for value in values):
        return {}
    for stem in _CLASS_FILES:
        for suffix in (".csv", ".txt", ".tsv", ".names"):
            beside = path.with_name(stem + suffix)
            if beside == path or not beside.is_file() or beside.stat().st_size > 1 << 20:
                continue
            text = decode_text(beside.read_bytes())
            rows = text_cells(text)
            for row in rows if rows and len(rows[0]) > 1 else []:
                row[:] = [cell.strip() for cell in row]
            named = _number_names(rows, values)
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if not named and not rows and all(int(value) < len(lines) for value in values):
                named = {value: lines[int(value)] for value in values}
            if named:
                return named
    return _names_in_json(path, values)


def _names_in_json(path: Path, values: set[str]) -> dict[str, str]:
    """Return class number -> name of a JSON file beside the table: ``{"0": "rust"}`` or ``{"rust": 0}``."""
    for beside in sorted(path.parent.glob("*.json"))[:_MOST_JSON]:
        if beside == path or not beside.is_file() or beside.stat().st_size > 1 << 20:
            continue
        try:
            held = json.loads(decode_text(beside.read_bytes()))
        except (ValueError, RecursionError):  # no table: it names nothing
            continue
        pairs = held.items() if isinstance(held, dict) else ()
        for named in ({str(key): name for key, name in pairs}, {str(number): name for name, number in pairs}):
            if values <= named.keys() and all(isinstance(named[value], str) for value in values):
                return {value: named[value] for value in values}
    return {}


def _number_names(rows: list[list[str]], values: set[str]) -> dict[str, str]:
    for key in range(len(rows[0]) if rows else 0):
        if not values <= {row[key] for row in rows}:
            continue
        for name in range(len(rows[0])):
            named = {row[key]: row[name] for row in rows if row[key] in values}
            distinct = all(named.values()) and len(set(named.values())) == len(named)
            if name != key and distinct and any(as_number(one) is None for one in named.values()):
                return named
    return {}


def filled(cell: str) -> str:
    """Return a cell without blanks around it; ``""`` for one that a program wrote for no value."""
    value = cell.strip()
    return "" if value.lower() in _NO_VALUE else value


def as_number(cell: str) -> float | None:
    """Return the number that a cell holds, or ``None``."""
    try:
        return float(cell)
    except ValueError:
        return None
