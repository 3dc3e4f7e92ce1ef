"""Columns of a table that could be the label, and cells that hold several labels.

In: names and values of columns. Out: `Column`, and how likely a name means the label. It opens no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from housetrain.data.table_cells import as_number, filled

LABEL_NAMES = ("label", "class", "category", "target", "species", "diagnosis", "breed", "name", "type", "y")
"""Header names that mean the label, the likeliest first."""

_FLAGS = ({"0", "1"}, {"0.0", "1.0"}, {"-1", "1"})
_PLURAL = frozenset(("tags", "labels", "attributes", "classes", "targets"))


@dataclass(frozen=True)
class Column:
    """A column that could be the label: its number from 1, its name in the header or ``""``, its commonest values."""

    number: int
    name: str
    values: tuple[str, ...]
    distinct: int

    @property
    def key(self) -> str:
        """What selects this column on the command line."""
        return self.name if self.name and not re.search(r"[,:\s]", self.name) else str(self.number)

    def __str__(self) -> str:
        shown = ", ".join(self.values[:4]) + (f", ... {self.distinct} values" if self.distinct > 4 else "")
        return f"{self.key} ({shown})"


def preference(name: str) -> int:
    """Return the place in `LABEL_NAMES` of the word that a header holds; ``len(LABEL_NAMES)`` for other headers."""
    lowered = name.lower()
    for place, wanted in enumerate(LABEL_NAMES):
        if lowered == wanted or wanted in re.split(r"[^a-z]+", lowered):
            return place
    return len(LABEL_NAMES)


def are_flags(columns: Sequence[Column]) -> bool:
    """Return whether all columns, three or more, only say whether an image has the label of their name."""
    return len(columns) > 2 and all({*one.values} in _FLAGS and one.distinct == 2 and one.name for one in columns)


def numbers_another(column: Column, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a column holds class numbers, and another one the name of each number."""
    if any(as_number(value) is None for value in column.values):
        return False
    for other in columns:
        if other.distinct == column.distinct and all(as_number(value) is None for value in other.values):
            pairs = {(filled(row[column.number - 1]), filled(row[other.number - 1])) for row in rows}
            if len(pairs) == column.distinct:
                return True
    return False


def several_in(values: Collection[str], name: str = "") -> str:
    """Return the separator of cells that hold several labels each: ``|`` of ``rust|scab``; ``""`` where none do.

    Parts of such cells are values of their own, or recur in others. ``apple, red`` and ``Chinee apple`` are one label.

    Args:
        values: The different values of the column.
        name: The name of the column.
    """
    alone = set(values)
    for separator in ("|", ";", ",", " "):
        joined = [parts for value in alone if len(parts := [one for one in value.split(separator) if one]) > 1]
        counts = Counter(part.strip() for parts in joined for part in parts)
        known = sum(all(part.strip() in alone for part in parts) for parts in joined)
        recurring = sum(count > 1 for count in counts.values())
        by_name = name.strip().lower() in _PLURAL and 2 * recurring >= len(counts)
        by_sign = separator == "|" and (recurring or not alone.isdisjoint(part.strip() for part in counts))
        words = separator == " " and len(joined) == 1  # "sea lion" beside "sea" and "lion"
        if joined and ((2 * known > len(joined) and not words) or by_name or by_sign):
            return separator
    return ""
