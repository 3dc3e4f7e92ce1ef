"""The page of a part of the course: each step with its command and what it printed.

In: a part and what its steps gave. Out: one self-contained HTML file beside the runs, with links to their reports.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from housetrain.report.page import write_page

if TYPE_CHECKING:
    from markupsafe import Markup

_MARKS = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<b>\1</b>"),
    (re.compile(r"(?<!\w)\*([^*]+)\*(?!\w)"), r"<i>\1</i>"),
    (re.compile(r"\[([^\]]+)\]\((https://[^)]+)\)"), r'<a href="\2" rel="noreferrer">\1</a>'),
    (re.compile(r"\[([^\]]+)\]\([^)]+\)"), r"\1"),
)


class _Step(Protocol):
    title: str
    text: str
    see: str


class _Part(Protocol):
    title: str
    text: str


class _Ran(Protocol):
    shown: str
    output: str
    code: int
    seconds: float
    pictures: tuple[Path, ...]


def write_course_page(path: Path, part: Any, steps: Iterable[tuple[Any, Sequence[Any]]]) -> Path:
    """Write the page of a part.

    Args:
        path: The HTML file; links lead to reports below its folder.
        part: With ``title`` and ``text``.
        steps: Each with ``title``, ``text`` and ``see``, and what its commands gave.

    Returns:
        ``path``.

    Raises:
        DiskFull: It cannot be written.
    """
    typed: _Part = part
    context = {
        "title": typed.title,
        "text": paragraphs(typed.text),
        "steps": [_shown(path.parent, step, ran) for step, ran in steps],
    }
    return write_page(path, "course.html.j2", context)


def _shown(folder: Path, step: _Step, ran: Sequence[_Ran]) -> dict[str, Any]:
    pages = [folder / word for one in ran for word in re.findall(r"[\w./-]+\.html", one.output)]
    return {
        "title": step.title,
        "text": paragraphs(step.text),
        "see": paragraphs(step.see),
        "ran": ran,
        "pictures": [
            (picture.name, "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode())
            for picture in dict.fromkeys(picture for one in ran for picture in one.pictures)
        ],
        "links": [
            page.resolve().relative_to(folder.resolve()).as_posix()
            for page in dict.fromkeys(pages)
            if page.is_file() and page.resolve().is_relative_to(folder.resolve())
        ],
    }


def paragraphs(text: str) -> Markup:
    """Return Markdown text as HTML: paragraphs, code, bold, italics and links; everything else is escaped."""
    from markupsafe import Markup

    made = html.escape(text)
    for pattern, into in _MARKS:
        made = pattern.sub(into, made)
    return Markup("".join(f"<p>{one}</p>" for one in re.split(r"\n\s*\n", made) if one.strip()))
