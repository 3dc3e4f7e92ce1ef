"""A drawing with two linear axes: scales, grid lines, tick labels.

In: the ranges of the axes. Out: a `Drawing` with its axes, and the place of each value on it. It does not know what is
plotted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from housetrain.report.plots.svg import Drawing, room_for, ticks

WIDTH, HEIGHT = 440, 290
Range = tuple[float, float]
Labels = Callable[[Sequence[float]], Iterable[str]]
"""Returns the labels of the values of one axis."""
_LEAST_LEFT = 46.0
_MOST_DECIMALS, _LARGEST = 6, 1e7  # beyond them: powers of ten
_PLAIN = (1e-4, 1e5)  # beyond it, a logarithmic axis has powers of ten throughout
_GAP = 7  # between a label of the vertical axis and the axis


class Frame:
    """The axes of a plot.

    Args:
        label: What the plot shows, in one sentence, for screen readers.
        x: Lowest and highest value of the horizontal axis.
        y: Lowest and highest value of the vertical axis.
        size: Width and height of the drawing.
        right: Margin on the right.
        y_text: Returns the labels of the values of the vertical axis.
        y_count: About how many values of the vertical axis are labeled.
    """

    def __init__(
        self,
        label: str,
        x: Range,
        y: Range,
        *,
        size: tuple[float, float] = (WIDTH, HEIGHT),
        right: float = 24,
        y_text: Labels | None = None,
        y_count: int = 5,
    ) -> None:
        width, height = size
        self.drawing = Drawing(width, height, label=label)
        self.right, self.top, self.bottom = width - right, 16.0, height - 40.0
        self._x, self._y = x, y
        values = ticks(*y, count=y_count)
        self._y_labels = dict(zip(values, (y_text or numbers)(values), strict=True))
        self.left = left_margin(self._y_labels.values())

    def x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        low, high = self._x
        return self.left + (value - low) / ((high - low) or 1.0) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the vertical place of a value."""
        low, high = self._y
        return self.bottom - (value - low) / ((high - low) or 1.0) * (self.bottom - self.top)

    def draw_y_axis(self) -> None:
        """Draw grid lines at round values, with their labels."""
        for value, text in self._y_labels.items():
            self.drawing.line(self.left, self.y(value), self.right, self.y(value), "grid")
            self.drawing.text(self.left - _GAP, self.y(value) + 4, text, anchor="end")

    def draw_x_axis(self, name: str, values: Sequence[float], text: Labels | None = None) -> None:
        """Draw labels at the values, and the name of the axis."""
        for value, label in zip(values, (text or numbers)(values), strict=True):
            self.drawing.text(self.x(value), self.bottom + 17, label, anchor="middle")
        middle = (self.left + self.right) / 2
        self.drawing.text(middle, self.drawing.height - 6, name, "axis-name", anchor="middle")


def left_margin(labels: Iterable[str]) -> float:
    """Return the margin in which the labels of the vertical axis fit."""
    return max([_LEAST_LEFT, *(room_for(label) + _GAP for label in labels)])


def numbers(values: Sequence[float]) -> list[str]:
    """Return the labels of the values of one axis, with as many decimals as one of them needs: 0.50, 0.75, 1.00."""
    decimals = max([0, *(_decimals(value) for value in values)])
    if decimals > _MOST_DECIMALS or max(map(abs, values), default=0) >= _LARGEST:
        return [short(f"{value:g}") for value in values]
    return [f"{value:.{decimals}f}" for value in values]


def log_numbers(values: Sequence[float]) -> list[str]:
    """Return the labels of the values of one logarithmic axis, all in one form: 0.001, 0.01 or 1e-5, 1e-4, 1e0."""
    if all(_PLAIN[0] <= value <= _PLAIN[1] for value in values):
        return [f"{value:g}" for value in values]
    return [short(re.sub(r"\.?0*e", "e", f"{value:.5e}")) for value in values]


def short(number: str) -> str:
    """Return a number without the padding of its exponent: 2e-7 and 1e9, not 2e-07 and 1e+09."""
    return re.sub(r"e\+?(-?)0*(?=\d)", r"e\1", number)


def percents(values: Sequence[float]) -> list[str]:
    """Return the labels of shares on one axis: 97.5 %, 100.0 %."""
    return [f"{label} %" for label in numbers([value * 100 for value in values])]


def _decimals(value: float) -> int:
    exponent = Decimal(f"{value:.10g}").normalize().as_tuple().exponent
    return max(0, -int(exponent))


def padded(values: Iterable[float | None], *, pad: float) -> Range:
    """Return the range of values that are not negative, widened by a share of it on both sides, down to 0 at most."""
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    room = (high - low) * pad or 0.05
    return max(0.0, low - room), high + room
