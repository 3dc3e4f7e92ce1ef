"""CSV rows that a spreadsheet shows and never runs.

In: cells. Out: rows, and the same cells back. It does not know what the columns mean.

A spreadsheet takes a text that begins with ``=``, ``+``, ``-`` or ``@``, also behind a tab or line break, for a
formula, and file names come from strangers. Such a text gets an apostrophe in front (OWASP, "CSV injection"); a number
does not.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def write_row(file: IO[str], cells: Iterable[Any], *, end: str = "\n", separator: str = ",") -> None:
    """Write one row; ``None`` is an empty cell.

    Args:
        file: A text file that was opened with ``newline=""``.
        cells: Texts and numbers.
        end: The line end; with a carriage return in it, one in a text is quoted, too.
        separator: One character.
    """
    csv.writer(file, lineterminator=end, delimiter=separator).writerow([defuse(cell) for cell in cells])


def read_rows(file: Iterable[str], separator: str = ",") -> Iterator[list[str]]:
    """Yield the cells of each row as they were before `write_row`; a spreadsheet may have changed the separator."""
    for row in csv.reader(file, delimiter=separator):
        yield [cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell for cell in row]


def defuse(cell: Any) -> Any:
    """Return a text that begins like a formula with an apostrophe in front, anything else as it is."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell
