"""Plots of a sweep: validation loss of the best models, parallel coordinates, the effect of each setting.

In: ranked rows and histories. Out: tables as frozen values (tested), and drawings of them as inline SVG. It does not
know where the numbers come from, nor the page that shows them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from housetrain.report.plots.frame import Frame, log_numbers, numbers, padded, percents
from housetrain.report.plots.svg import Drawing, shorten, ticks
from housetrain.system.text import format_percent

if TYPE_CHECKING:
    from markupsafe import Markup

    from housetrain.sweeps.results import Row

Measure = Literal["val_loss", "val_accuracy"]
STYLES = ("one", "two", "three", "four", "five", "six", "seven", "eight")
"""CSS classes of the curves; as many as are distinguishable."""
PARALLEL_LEGEND = (
    ("line thread-best", "best"),
    ("line", "not shown to be worse"),
    ("line thread-rest", "others"),
)
_FEW_LEVELS = 6
_WIDE = 920


# ------------------------------------------------------------------------------------------------- curves
@dataclass(frozen=True)
class Curve:
    """The validation losses or accuracies of one model, one per epoch from 1; ``None`` is not a number."""

    name: str
    rank: int
    losses: tuple[float | None, ...]


def best_curves(rows: Sequence[Row], histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Curve, ...]:
    """Return the validation losses of rows, of at most as many as there are `STYLES`.

    Args:
        rows: In the order of the legend.
        histories: Row name -> history of its best run.
    """
    return curves_of(rows, histories)[: len(STYLES)]


def curves_of(
    rows: Sequence[Row], histories: Mapping[str, Sequence[Mapping[str, Any]]], measure: Measure = "val_loss"
) -> tuple[Curve, ...]:
    """Return the curves of all rows that have a history; their rank is the place among the rows of a measure.

    Args:
        rows: Best first.
        histories: Row name -> history of its best run.
        measure: What to draw.
    """
    return tuple(
        Curve(
            row.name,
            (row.rank or 0) if measure == "val_loss" else place,
            tuple(epoch.get(measure) for epoch in histories[row.name]),
        )
        for place, row in enumerate(rows, 1)
        if histories.get(row.name)
    )


def draw_best_curves(curves: Sequence[Curve], others: Sequence[Curve] = (), *, measure: Measure = "val_loss") -> Markup:
    """Draw the curves in one frame; each line ends in the rank of its model.

    Args:
        curves: In color, the best first, as many as there are `STYLES`.
        others: In gray behind them. They may leave the frame: it ends at twice the highest loss of the best.
        measure: What the curves are.
    """
    last = max(2, *(len(curve.losses) for curve in (*curves, *others))) if curves else 2
    names = ", ".join(curve.name for curve in curves)
    what = "loss" if measure == "val_loss" else "accuracy"
    label = f"Validation {what} over {last} epochs: {names}{f' and {len(others)} others' if others else ''}."
    low, high = padded((loss for curve in (*curves, *others) for loss in curve.losses), pad=0.06)
    if measure == "val_loss" and others:
        high = min(high, 2 * padded((loss for curve in curves for loss in curve.losses), pad=0.0)[1])
    top, text = (min(1.0, high), percents) if measure == "val_accuracy" else (high, numbers)
    frame = Frame(label, (1, last), (low, top), right=26, y_text=text)
    frame.draw_y_axis()
    for curve in others:
        heights = [None if loss is None else frame.y(min(loss, high)) for loss in curve.losses]
        inside = [None if y is None else (frame.x(n), y) for n, y in enumerate(heights, 1)]
        frame.drawing.polyline(inside, "curve rest", tip=curve.name)
    frame.draw_x_axis("epoch", [tick for tick in ticks(1, last, count=8) if tick == int(tick)])
    ends: list[tuple[float, float, str, str]] = []
    for style, curve in reversed(list(zip(STYLES, curves, strict=False))):
        points = [None if loss is None else (frame.x(n), frame.y(loss)) for n, loss in enumerate(curve.losses, 1)]
        frame.drawing.polyline(points, f"curve {style}")
        for epoch, (loss, point) in enumerate(zip(curve.losses, points, strict=True), 1):
            if point is not None:
                tip = f"{curve.name}, epoch {epoch}: {_value(loss or 0.0, measure)}"
                frame.drawing.circle(*point, 2.4 if last <= 40 else 1.2, f"dot {style}", tip=tip)
        if points and points[-1] is not None and curve.rank:
            ends.append((points[-1][1] + 4, points[-1][0] + 8, str(curve.rank), f"strong {style}"))
    place = -math.inf
    for y, x, rank, style in sorted(ends):  # from the top, so that the ranks keep the order of the ends
        place = max(y, place + 12)
        frame.drawing.text(x, place, rank, style)
    return frame.drawing.markup()


def _value(value: float, measure: Measure) -> str:
    return format_percent(value) if measure == "val_accuracy" else f"{value:.4f}"


def curves_legend(curves: Sequence[Curve]) -> list[tuple[str, str]]:
    """Return (CSS class, text) of the legend."""
    return [(style, f"{curve.rank or ''} {curve.name}".strip()) for style, curve in zip(STYLES, curves, strict=False)]


# ------------------------------------------------------------------------------------------------- settings
@dataclass(frozen=True)
class Factor:
    """One setting that differs between the models.

    Attributes:
        name: The setting.
        levels: Its values, in order.
        losses: For each level the validation losses of the models that have it.
        effect: Highest mean loss of a level minus the lowest: the main effect of the setting.
        best: The level with the lowest mean.
    """

    name: str
    levels: tuple[Any, ...]
    losses: tuple[tuple[float, ...], ...]
    effect: float
    best: Any

    @property
    def continuous(self) -> bool:
        """Whether it has so many numeric values that they are drawn on a scale."""
        return len(self.levels) > _FEW_LEVELS and all(_is_number(level) for level in self.levels)


def factors(rows: Sequence[Row]) -> tuple[Factor, ...]:
    """Return the settings that differ, the one with the largest effect first.

    The effect is the range of the means over everything else (a main effect). In a full grid every level occurs with
    every other setting, so the means are comparable; in a search they are a hint.
    """
    found = []
    for name in dict.fromkeys(name for row in rows for name in row.settings):
        scored = [row for row in rows if row.val_loss is not None and name in row.settings]
        levels = sorted({row.settings[name] for row in scored}, key=_order)
        losses = tuple(
            tuple(float(row.val_loss or 0.0) for row in scored if row.settings[name] == level) for level in levels
        )
        if len(levels) < 2:
            continue
        means = [fmean(values) for values in losses]
        best = levels[means.index(min(means))]
        found.append(Factor(name, tuple(levels), losses, max(means) - min(means), best))
    return tuple(sorted(found, key=lambda factor: -factor.effect))


def draw_factor(factor: Factor, *, low: float, high: float) -> Markup:
    """Draw the losses of each level as dots, their mean as a line.

    Args:
        factor: The setting.
        low: Lowest loss of the axis, the same for all settings so that they can be compared.
        high: Highest.
    """
    label = f"Validation loss by {factor.name}; best on average with {_shown(factor.best)}."
    frame = Frame(label, (0.0, 1.0), (low, high), size=(300, 210), y_count=4)
    drawing = frame.drawing
    place = _scale(factor, frame.left + 22, frame.right - 10)
    frame.draw_y_axis()
    means = []
    for level, losses in zip(factor.levels, factor.losses, strict=True):
        for loss in losses:
            tip = f"{factor.name} {_shown(level)}: {loss:.4f}"
            drawing.circle(place(level), frame.y(loss), 3.2, "point faded", tip=tip)
        means.append((place(level), frame.y(fmean(losses))))
    if not factor.continuous:
        drawing.polyline(means, "curve one")
        for at, level, losses in zip(means, factor.levels, factor.losses, strict=True):
            drawing.circle(*at, 4.6, "dot one", tip=f"{factor.name} {_shown(level)}: mean {fmean(losses):.4f}")
    labels = _labels(factor)
    for level, name in labels:
        text = shorten(name, (frame.right - frame.left) / len(labels))
        drawing.text(place(level), frame.bottom + 17, text, anchor="middle")
    frame.draw_x_axis(factor.name.replace("_", " "), ())
    return drawing.markup()


def draw_parallel(rows: Sequence[Row], found: Sequence[Factor]) -> Markup:
    """Draw every ranked model as a line through its settings to its validation loss (parallel coordinates)."""
    scored = [row for row in rows if row.val_loss is not None]
    height, top, bottom, left, right = 330.0, 34.0, 30.0, 60.0, 70.0
    drawing = Drawing(_WIDE, height, label=f"The settings of {len(scored)} models and their validation loss.")
    losses = [float(row.val_loss or 0.0) for row in scored]
    low, high = min(losses), max(losses)
    step = (_WIDE - left - right) / max(1, len(found))
    scales = [_scale(factor, height - bottom, top) for factor in found]

    def y(value: float) -> float:
        return top + (value - low) / ((high - low) or 1.0) * (height - bottom - top)

    for index, factor in enumerate(found):
        at = left + index * step
        drawing.line(at, top - 6, at, height - bottom + 6, "axis")
        drawing.text(at, top - 16, factor.name.replace("_", " "), "strong", anchor="middle")
    end = left + len(found) * step
    drawing.line(end, top - 6, end, height - bottom + 6, "axis")
    drawing.text(end, top - 16, "validation loss", "strong", anchor="middle")
    for value in (low, high):
        drawing.text(end + 8, y(value) + 4, f"{value:.4f}")
    for row in reversed(scored):
        points = [(left + index * step, scales[index](row.settings[factor.name])) for index, factor in enumerate(found)]
        points.append((end, y(row.val_loss or 0.0)))
        style = "best" if row.rank == 1 else "tied" if row.tied else "rest"
        steps = f"M{points[0][0]:.2f} {points[0][1]:.2f}"
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            middle = (x0 + x1) / 2
            steps += f"C{middle:.2f} {y0:.2f} {middle:.2f} {y1:.2f} {x1:.2f} {y1:.2f}"
        drawing.path(steps, f"thread {style}", tip=f"{row.rank}. {row.name}: {row.val_loss:.4f}")
    for index, factor in enumerate(found):  # last, so that no line crosses them out
        for level, label in _labels(factor):
            place = left + index * step - 8, scales[index](level) + 4
            drawing.text(*place, shorten(label, 52), "halo", anchor="end")
    return drawing.markup()


def _scale(factor: Factor, first: float, last: float) -> Any:
    """Return the place of a level between two ends: on a scale, or in equal steps."""
    if factor.continuous:
        log = factor.levels[0] > 0 and factor.levels[-1] / factor.levels[0] >= 10
        ends = [math.log(v) if log else float(v) for v in (factor.levels[0], factor.levels[-1])]

        def place(level: Any) -> float:
            value = math.log(level) if log else float(level)
            return first + (value - ends[0]) / (ends[1] - ends[0]) * (last - first)

        return place
    step = (last - first) / max(1, len(factor.levels) - 1)
    return lambda level: first + factor.levels.index(level) * step


def _order(value: Any) -> tuple[bool, Any, str]:
    return (not _is_number(value), value if _is_number(value) else 0, str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _labels(factor: Factor) -> list[tuple[Any, str]]:
    """Return the levels to label on an axis and their labels; numbers that are not whole have one form."""
    levels = factor.levels if not factor.continuous else (factor.levels[0], factor.levels[-1])
    numbers = [level for level in levels if isinstance(level, float) and level > 0]
    known = dict(zip(numbers, log_numbers(numbers), strict=True))
    return [(level, known[level] if isinstance(level, float) and level > 0 else _shown(level)) for level in levels]


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
