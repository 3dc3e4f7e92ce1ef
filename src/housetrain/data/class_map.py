"""Class names -> other names: classes renamed, merged or dropped.

In: a table ``from,to`` (CSV, or JSON), or a mapping. Out: a `ClassMap`. It does not know images or models.

    from,to
    red fox,fox
    arctic fox,fox
    empty,
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from housetrain.data.table_cells import decode_text, text_cells
from housetrain.errors import CorruptError, DecodeError, RecipeError
from housetrain.system import json_text
from housetrain.system.regular_files import read_bytes
from housetrain.system.text import natural_key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_BYTES = 16 << 20
"""Larger files are no tables of class names."""

_HEADER = ("from", "to")


@dataclass(frozen=True)
class ClassMap:
    """What each class is called.

    Attributes:
        names: Name -> new name; an empty one drops the class. A class that is not here keeps its name.
    """

    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: MapLike | None) -> ClassMap:
        """Return the map that a file, a mapping or nothing stands for.

        Raises:
            RecipeError: It is no table of two columns, or names a class twice.
        """
        if isinstance(given, ClassMap):
            return given
        if given is None or isinstance(given, Mapping):
            return cls({name.strip(): to.strip() for name, to in (given or {}).items()})
        return cls(_read(Path(given)))

    def __bool__(self) -> bool:
        return bool(self.names)

    def __call__(self, label: str) -> str:
        """Return the new name of a class; ``""`` where it is dropped."""
        return self.names.get(label, label)

    def apply(self, classes: Iterable[str]) -> tuple[str, ...]:
        """Return the new names of classes, each once, in natural order."""
        return tuple(sorted({self(label) for label in classes} - {""}, key=natural_key))

    def columns(self, classes: Iterable[str]) -> NDArray[np.float32]:
        """Return the matrix that turns probabilities of ``classes`` into those of ``apply(classes)``, of 0 and 1."""
        import numpy as np

        given = tuple(classes)
        place = {label: number for number, label in enumerate(self.apply(given))}
        matrix = np.zeros((len(given), len(place)), np.float32)
        for number, label in enumerate(given):
            if to := self(label):
                matrix[number, place[to]] = 1
        return matrix

    def summary(self, classes: Iterable[str]) -> str:
        """Return what happens to these classes, in words: ``2 renamed, 3 merged into 1, 1 dropped``."""
        given = tuple(classes)
        sources: dict[str, list[str]] = {}
        for label in given:
            sources.setdefault(self(label), []).append(label)
        dropped = sources.pop("", [])
        merged = {to: names for to, names in sources.items() if len(names) > 1}
        renamed = sum(names != [to] for to, names in sources.items() if to not in merged)
        parts = [f"{renamed:,} renamed"] if renamed else []
        parts += [f"{sum(map(len, merged.values())):,} merged into {len(merged):,}"] if merged else []
        parts += [f"{len(dropped):,} dropped"] if dropped else []
        return ", ".join(parts)


MapLike: TypeAlias = ClassMap | Mapping[str, str] | Path | str
"""What a class map may be given as: a file, or names."""


def _read(path: Path) -> dict[str, str]:
    try:
        data = read_bytes(path)
    except DecodeError as error:
        raise RecipeError(f"The map of classes cannot be read: {error.reason}", map=str(path)) from None
    if len(data) > MOST_BYTES:
        raise RecipeError("The map of classes is too large", expected="16 MB at most", map=str(path))
    pairs = _json_pairs(data, path) if path.suffix.lower() == ".json" else _csv_pairs(data)
    if not pairs:
        raise RecipeError(
            "This is no map of classes",
            expected='CSV of two columns, from,to, or JSON such as {"red fox": "fox", "empty": ""}',
            map=str(path),
        )
    names: dict[str, str] = {}
    for name, to in pairs:
        if names.setdefault(name, to) != to:
            raise RecipeError("The map names a class twice", do="keep one row a class", map=str(path), name=name)
    return names


def _csv_pairs(data: bytes) -> list[tuple[str, str]]:
    """Return the rows below the header, if there is one. Further columns, such as notes, do not count."""
    rows = text_cells(decode_text(data))
    if rows and tuple(cell.strip().lower() for cell in rows[0][:2]) == _HEADER:
        rows = rows[1:]
    return [(row[0].strip(), row[1].strip()) for row in rows if row[0].strip()]


def _json_pairs(data: bytes, path: Path) -> list[tuple[str, str]]:
    try:
        value = json_text.parse_json(decode_text(data), path)
    except CorruptError as error:
        raise RecipeError(f"The map of classes is no JSON: {error.what}", map=str(path)) from None
    if isinstance(value, dict):
        value = [{"from": name, "to": to} for name, to in value.items()]
    if not isinstance(value, list) or not all(isinstance(one, dict) and set(_HEADER) <= one.keys() for one in value):
        return []
    return [(str(one["from"]).strip(), str(one["to"] or "").strip()) for one in value]
