"""Numbers and names as people read them: on the command line, in reports, in the studio.

In: numbers, names. Out: plain text; nothing here is escaped. It does not know where the text is shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from housetrain.errors import one_line

MISSING = "–"
"""Stands for a value that does not exist."""


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts numbers by their value: ``2`` before ``10``, ``class 9`` before ``class 10``."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def without_controls(name: str) -> str:
    """Return a name with newlines, other control characters and bytes that are not UTF-8 as escapes.

    Such a name would break lines of a terminal, and no UTF-8 file can hold it. Invisible characters that belong to a
    script (joiners of Persian or of emoji) stay.
    """
    hidden = {"Cc", "Cs", "Zl", "Zp"}  # https://www.unicode.org/reports/tr44/#General_Category_Values
    return "".join(_escaped(c) if unicodedata.category(c) in hidden else c for c in name)


def file_name(name: str) -> str:
    """Return a name for an output made of that of a folder: a newline or another control character becomes a dash.

    The name stands in lines and commands of a terminal.
    """
    return "".join("-" if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in name)


def cell_width(text: str) -> int:
    """Return the columns that a text takes in a terminal: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # how Python holds a byte that is not UTF-8 (PEP 383)
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else character.encode("unicode_escape", "surrogatepass").decode()


def format_percent(share: float | None, digits: int = 1) -> str:
    """Return 0.9012 as ``90.1 %``."""
    return MISSING if share is None else f"{share * 100:.{digits}f} %"


def format_interval(bounds: tuple[float, float] | None, digits: int = 1) -> str:
    """Return (0.883, 0.917) as ``88.3–91.7 %``, a missing interval as an empty text."""
    return "" if bounds is None else f"{bounds[0] * 100:.{digits}f}–{bounds[1] * 100:.{digits}f} %"


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a whole number as ``1,180``, another one rounded to ``digits`` decimals."""
    if value is None:
        return MISSING
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def format_count(count: int, noun: str, plural: str = "") -> str:
    """Return ``1 image`` or ``1,180 images``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def format_duration(seconds: float | None) -> str:
    """Return a duration as ``4.2 s``, ``42 s``, ``3 min 20 s`` or ``1 h 05 min``; ``–`` for ``None``.

    Args:
        seconds: 0 or more; ``None`` where it is not known.
    """
    if seconds is None:
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def format_bytes(count: float) -> str:
    """Return a number of bytes as ``512 bytes`` or ``12.3 MB`` (powers of 1,000)."""
    if count < 1000:
        return f"{count:,.0f} bytes"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:,.1f} {unit}"
    return f"{count / 1000:,.1f} GB"


def format_list(names: Sequence[str], *, limit: int = 5, last: str = "and", quote: bool = False) -> str:
    """Return ``a, b and c``; of more than ``limit`` names ``a, b, c and 7 more``."""
    shown = [f"“{one_line(name)}”" if quote else one_line(name) for name in names]
    if len(shown) > limit:
        return f"{', '.join(shown[: limit - 1])} {last} {len(shown) - limit + 1:,} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}" if shown else ""


def format_sentence(text: str) -> str:
    """Return ``text`` with a capital at its beginning and a period at its end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
