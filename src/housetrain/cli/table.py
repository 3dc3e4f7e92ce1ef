"""A table as wide as the terminal: no number is broken, and no word that is not a long path.

In: columns and rows. Out: lines on standard output; in a pipe or file 160 columns or more. It does not know what
the cells mean.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from housetrain.cli.wrapping import wrapped
from housetrain.errors import one_line

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST_WORD = 36  # a longer one, such as a path, is broken


def console(*, stderr: bool = False) -> Console:
    """Return a console for results (standard output) or messages (standard error)."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    right: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> None:
    """Print a table on standard output, as wide as the terminal.

    Args:
        title: Above it; empty for none.
        columns: Their names.
        rows: A cell for each column.
        right: The columns that are numbers.
        drop: Where the terminal is too narrow for whole words and numbers, columns to leave out, the first one first.
            If that is not enough, each row is a paragraph: the first cell, then each column's name and cell.
    """
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    drawn.show_header = any(columns)
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    out = console()
    if not out.is_terminal:
        out.width = max(out.width, 160)
    widths = _widths([[name, *(row[i] for row in cells)] for i, name in enumerate(columns)], columns, right, drop, out)
    if not widths:
        for row in cells:
            _paragraph(columns, row, out.width)
        return
    for index in widths:
        justify: Literal["left", "right"] = "right" if columns[index] in right else "left"
        drawn.add_column(columns[index], justify=justify, overflow="fold", width=widths[index])
    for row in cells:
        drawn.add_row(*(Text(row[index]) for index in widths))
    with out.capture() as held:
        out.print(drawn)
    out.file.write("".join(f"{line.rstrip()}\n" for line in held.get().rstrip("\n").split("\n")))
    if len(widths) < len(columns):
        left_out = ", ".join(name for index, name in enumerate(columns) if index not in widths)
        out.print(Text(f"Not shown at this width: {left_out}"), soft_wrap=False)


def headings(names: Sequence[str], *, beside: int) -> list[str]:
    """Return the names of columns, shortened in the middle so that they fit side by side on a terminal.

    Args:
        names: Two or more; those that would look the same get their number.
        beside: Columns of text that the rest of the table needs.
    """
    out = console()
    width = max(8, (out.width - beside) // len(names) - 2) if out.is_terminal else 60
    tail = width // 3
    short = [name if len(name) <= width else f"{name[: width - 1 - tail]}…{name[-tail:]}" for name in names]
    return short if len(set(short)) == len(short) else [f"{n} {name}" for n, name in enumerate(short, 1)]


def _widths(
    texts: Sequence[Sequence[str]], columns: Sequence[str], right: Sequence[str], drop: Sequence[str], out: Console
) -> dict[int, int]:
    """Return the columns that fit, and their widths: no number is broken, and no word that is not a long path.

    Where too few fit, none is returned.
    """
    from rich.cells import cell_len

    def least(index: int) -> int:
        parts = texts[index] if columns[index] in right else [word for text in texts[index] for word in text.split()]
        return min(_LONGEST_WORD, max(map(cell_len, parts), default=1))

    def room(widths: Iterable[int]) -> int:
        return sum(width + 2 for width in widths) - 2

    shown = {index: least(index) for index in range(len(columns))}
    for name in drop:
        if room(shown.values()) > out.width:
            shown.pop(columns.index(name))
    if room(shown.values()) > out.width:
        return {}
    widths = {index: max(map(cell_len, texts[index])) for index in shown}
    while room(widths.values()) > out.width and (wide := [one for one in widths if widths[one] > shown[one]]):
        widths[max(wide, key=widths.__getitem__)] -= 1
    return {index: max(1, width) for index, width in widths.items()}


def _paragraph(columns: Sequence[str], row: Sequence[str], width: int) -> None:
    """Print a row of a table below each other, as far as it has cells."""
    first, *others = ((name, cell) for name, cell in zip(columns, row, strict=True) if cell)
    sys.stdout.write(wrapped("  ".join(filter(None, first)), width) + "\n")
    fields = "  ".join(" ".join(filter(None, field)) for field in others)
    sys.stdout.write(wrapped(f"    {fields}", width) + "\n")
