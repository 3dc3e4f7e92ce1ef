"""A small SVG writer: shapes with CSS classes, so that one stylesheet colors every drawing for light, dark and paper.

In: numbers and text. Out: one ``<svg>`` element as safe markup. It does not know what is drawn. All text is escaped
here, once, and control characters of file and class names are shown as escapes. The stylesheet is ``plots.css``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from housetrain.errors import one_line

GLYPH = 0.56
"""Mean width of a letter in a sans-serif font, as a share of the font size."""
_WIDEST_GLYPH = 0.66
"""Mean width of the letters of a label in the widest usual font, DejaVu Sans."""
LARGEST_TEXT = 14
"""Font size in a drawing on a small screen (``report.css``), in units of the drawing."""


class Drawing:
    """Collects shapes and returns one ``<svg>``.

    Args:
        width: Width of the drawing in its own units; with ``fixed`` also in pixels.
        height: Height likewise.
        label: What the drawing shows, in one sentence, for screen readers.
        fixed: Whether it keeps this size in pixels (and is scrolled on a small screen) instead of fitting its column.
    """

    def __init__(self, width: float, height: float, *, label: str, fixed: bool = False) -> None:
        self.width, self.height, self.label, self.fixed = width, height, label, fixed
        self._parts: list[str] = []

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        style: str,
        *,
        opacity: float | None = None,
        radius: float = 0,
        tip: str = "",
        key: str = "",
    ) -> None:
        """Add a rectangle; ``tip`` is its tooltip, ``key`` identifies it when it is clicked (``data-key``)."""
        extra = f' rx="{_number(radius)}"' if radius else ""
        if opacity is not None:
            extra += f' fill-opacity="{_number(opacity)}"'
        extra += f' data-key="{clean(key)}"' if key else ""
        place = f'x="{_number(x)}" y="{_number(y)}" width="{_number(max(0, width))}" height="{_number(max(0, height))}"'
        self._add("rect", place + extra, style, tip)

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """Add a straight line."""
        self._add("line", f'x1="{_number(x1)}" y1="{_number(y1)}" x2="{_number(x2)}" y2="{_number(y2)}"', style)

    def circle(self, x: float, y: float, radius: float, style: str, *, tip: str = "") -> None:
        """Add a circle."""
        self._add("circle", f'cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}"', style, tip)

    def polyline(self, points: Iterable[tuple[float, float] | None], style: str, *, tip: str = "") -> None:
        """Add a line through points; ``None`` is a gap."""
        steps, pen = [], "M"
        for point in points:
            if point is None:
                pen = "M"
                continue
            steps.append(f"{pen}{_number(point[0])} {_number(point[1])}")
            pen = "L"
        if steps:
            self.path("".join(steps), style, tip=tip)

    def polygon(self, points: Sequence[tuple[float, float]], style: str, *, tip: str = "") -> None:
        """Add a closed shape."""
        self.path("M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points) + "Z", style, tip=tip)

    def path(self, steps: str, style: str, *, tip: str = "") -> None:
        """Add a path; ``steps`` are SVG path commands made of numbers only."""
        self._add("path", f'd="{steps}"', style, tip)

    def text(
        self,
        x: float,
        y: float,
        content: str,
        style: str = "",
        *,
        anchor: str = "start",
        turn: float = 0,
        size: float | None = None,
        tip: str = "",
    ) -> None:
        """Add one line of text; ``turn`` is in degrees, clockwise."""
        extra = f' text-anchor="{anchor}"' if anchor != "start" else ""
        extra += f' transform="rotate({_number(turn)} {_number(x)} {_number(y)})"' if turn else ""
        extra += f' font-size="{_number(size)}"' if size else ""
        extra += f' class="{style}"' if style else ""
        title = f"<title>{clean(tip)}</title>" if tip else ""
        self._parts.append(f'<text x="{_number(x)}" y="{_number(y)}"{extra}>{title}{clean(content)}</text>')

    def markup(self) -> Markup:
        """Return the drawing."""
        width, height = _number(self.width), _number(self.height)
        size = f' width="{width}" height="{height}" class="fixed"' if self.fixed else ""
        head = f'<svg viewBox="0 0 {width} {height}"{size} role="img" aria-label="{clean(self.label)}">'
        return Markup(head + "".join(self._parts) + "</svg>")

    def _add(self, element: str, attributes: str, style: str, tip: str = "") -> None:
        end = f"><title>{clean(tip)}</title></{element}>" if tip else "/>"
        self._parts.append(f'<{element} class="{style}" {attributes}{end}')


def legend(items: Iterable[tuple[str, str]]) -> Markup:
    """Return a legend as HTML.

    Args:
        items: (CSS classes of the mark, text).
    """
    marks = "".join(f'<span><i class="{style}"></i>{clean(text)}</span>' for style, text in items)
    return Markup(f'<p class="legend">{marks}</p>')


def clean(text: str) -> str:
    """Return ``text`` escaped for markup, with control characters and undecodable bytes as escapes."""
    return str(escape(one_line(text)))


def shorten(text: str, room: float, *, size: float = 12) -> str:
    """Return ``text`` with its middle cut out where it would be wider than ``room`` at this font size."""
    text = one_line(text)
    letters = max(3, int(room / (size * GLYPH) + 0.01))  # a room of exactly the text's width is enough
    if len(text) <= letters:
        return text
    tail = (letters - 1) // 3
    return f"{text[: letters - 1 - tail]}…{text[len(text) - tail :]}"


def text_width(text: str, *, size: float = 12) -> float:
    """Return the approximate width of ``text``."""
    return len(one_line(text)) * size * GLYPH


def room_for(text: str) -> float:
    """Return the width in which ``text`` fits in every font and at every size that the stylesheet gives it."""
    return len(one_line(text)) * LARGEST_TEXT * _WIDEST_GLYPH


def ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
