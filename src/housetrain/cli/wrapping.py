"""Lines as wide as the terminal: wrapped between words, never inside a word, a command to copy or a field.

In: a line, a stream. Out: the line in parts. It does not know what the line says, and prints nothing. Where a stream is
no terminal (a pipe, a file), a line stays one line, which is what other programs read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import IO

from housetrain.system.text import cell_width

_LEAST = 20  # columns; a narrower terminal breaks most words anyway
_INDENT = 2  # of the lines that continue one
_WHOLE = re.compile(
    r"`[^`]+`\S*"  # a command in backticks
    r"|(?<!\S)housetrain [a-z][a-z-]*(?: '[^']*'\S*| \S+)?"  # a command: its verb and the word after that,
    r"(?: (?:-\S+(?: (?!-)\S+)?|'[^']*'\S*|\S*[/=_]\S*|[A-Z]{2,}\S*|\d\S*))*"  # then all that looks like an argument
    r"|[\d.,]+ (?:%|s|MB|GB|kB|GiB|min)(?!\w)\S*"  # a number with its unit
    r"|\S+"
)
_LABEL = re.compile(r" *(?:[A-Z]\w* {2,})?(?=\S)")


def columns_of(stream: IO[str]) -> int | None:
    """Return the width of a terminal in columns (``COLUMNS`` counts first); ``None`` where the stream is none."""
    try:
        if not stream.isatty():
            return None
        wished = os.environ.get("COLUMNS", "")
        columns = int(wished) if wished.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # closed, or without a file descriptor
        return None
    return max(_LEAST, columns) if columns else None  # 0: a terminal that does not know its width


def wrapped(text: str, width: int | None) -> str:
    """Return a line in parts of at most ``width`` columns, the later ones indented.

    Args:
        text: One line. Two spaces separate fields, which are kept whole where they fit (``loss 0.6224  accuracy 0.9``);
            a label before two spaces (``Report   runs/pets``) stays before its text.
        width: Columns of the terminal; ``None`` leaves the line as it is. A word or command that is longer has a line
            of its own, which the terminal breaks: copied, it is whole.
    """
    if width is None or cell_width(text) <= width:
        return text
    label = _LABEL.match(text)
    start = label[0] if label else ""
    indent = " " * (len(start) or _INDENT)
    lines, line = [], start
    for gap, unit in _units(text[len(start) :], width - len(indent)):
        if line != start and cell_width(line) + len(gap) + cell_width(unit) > width:
            lines.append(line)
            line = indent + unit
        else:
            line += gap + unit
    return "\n".join([*lines, line])


def fitted(text: str, stream: IO[str]) -> str:
    """Return a line in parts that fit the terminal behind ``stream``; in one part where it is no terminal."""
    return wrapped(text, columns_of(stream))


def _units(text: str, room: int) -> Iterator[tuple[str, str]]:
    """Yield the parts that are kept whole, each with the spaces before it."""
    gap = ""
    for number, part in enumerate(re.split(r"( {2,})", text)):
        if number % 2:
            gap = part
        elif "  " in text and cell_width(part) <= room:
            yield gap, part
        else:
            for place, unit in enumerate(_WHOLE.findall(part)):
                yield " " if place else gap, unit
