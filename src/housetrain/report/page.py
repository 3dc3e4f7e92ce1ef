"""Self-contained HTML pages: templates, styles and the script, rendered into one file that loads nothing.

In: the name of a template and its context. Out: a page, written in one step. Everything is escaped, nothing may be
undefined. It does not know what the pages show.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import one_line
from housetrain.report.plots.svg import legend
from housetrain.system import store, text

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
PLOTS_CSS = Path(__file__).with_name("plots") / "plots.css"
_NAMES_IN_TITLE = 5
NBSP, WORD_JOINER = "\u00a0", "\u2060"
_FILTERS: dict[str, Callable[..., str]] = {
    "percent": text.format_percent,
    "interval": text.format_interval,
    "number": text.format_number,
    "duration": text.format_duration,
    "size": text.format_bytes,
    "plural": text.format_count,
    "sentence": text.format_sentence,
    "text": str,  # a sentence as it is
}
_UNIT = re.compile(r"(?<=\d) (?=(?:%|s|min|h|bytes|[kMG]B)(?!\w))")
_RANGE = re.compile(r"(?<=\d–)(?=\d)")


def write_page(path: Path, template: str, context: dict[str, Any]) -> Path:
    """Render a template and write the page, replacing an old one in one step.

    Args:
        path: The HTML file.
        template: Name of a file in ``templates/``.
        context: What the template shows; styles, script and date are added.

    Returns:
        ``path``.

    Raises:
        DiskFull: It cannot be written; an earlier page is intact.
    """
    from markupsafe import Markup

    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    styles = [file.read_text(encoding="utf-8") for file in (PLOTS_CSS, TEMPLATES / "report.css")]
    page = (
        _environment()
        .get_template(template)
        .render(
            context,
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            style=Markup("\n".join(styles)),
            written=time.strftime("%-d %B %Y"),
        )
    )
    store.write_bytes_atomic(path, page.encode("utf-8", errors="backslashreplace"))
    return path


def title_of(classes: Sequence[str]) -> str:
    """Return the heading of a page: the classes, or how many they are."""
    if len(classes) > _NAMES_IN_TITLE:
        return f"{len(classes)} classes"
    return text.format_list(classes, limit=_NAMES_IN_TITLE, last="or")


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters |= {name: _nonbreaking(function) for name, function in _FILTERS.items()}
    environment.globals |= {"legend": legend, "list_names": text.format_list}
    return environment


def _nonbreaking(function: Callable[..., str]) -> Callable[..., str]:
    return functools.wraps(function)(lambda *args, **options: nonbreaking(function(*args, **options)))


def printable(value: str) -> str:
    """Return text for a page: control characters, which file and class names may hold, as escapes."""
    if value.isprintable():
        return value
    return "".join(letter if letter in (NBSP, WORD_JOINER) else one_line(letter) for letter in value)


def nonbreaking(value: str) -> str:
    """Return text that keeps each number and its unit, and both ends of an interval, on one line."""
    return _RANGE.sub(WORD_JOINER, _UNIT.sub(NBSP, value))
