"""What the page of a sweep draws: curves of the best, parallel coordinates, the effect of each setting.

In: ranked rows and histories. Out: tables as frozen values (tested), and drawings of them as inline SVG. It does not
know where the numbers came from, nor the page they stand on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from housetrain.report.plots.evaluation_plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from housetrain.report.plots.svg import Drawing, shorten, ticks

if TYPE_CHECKING:
    from markupsafe import Markup

    from housetrain.sweeps.results import Row

STYLES = ("one", "two", "three", "four", "five")
_FEW_LEVELS = 6
_WIDE = 920


# ------------------------------------------------------------------------------------------------- curves
@dataclass(frozen=True)
class Curve:
    """The validation losses of one model, an entry an epoch from 1; ``None`` is not a number."""

    name: str
    rank: int
    losses: tuple[float | None, ...]


def best_curves(rows: Sequence[Row], histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Curve, ...]:
    """Return the validation losses of the first five rows.

    Args:
        rows: Ranked, best first.
        histories: Row name -> history of its best run.
    """
    return tuple(
        Curve(row.name, row.rank or 0, tuple(epoch.get("val_loss") for epoch in histories[row.name]))
        for row in rows[: len(STYLES)]
        if histories.get(row.name)
    )


def draw_best_curves(curves: Sequence[Curve]) -> Markup:
    """Draw them in one frame; each line ends in the rank of its model."""
    known = [loss for curve in curves for loss in curve.losses if loss is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    pad = (high - low) * 0.06 or 0.05
    low, high = max(0.0, low - pad), high + pad
    last = max(2, *(len(curve.losses) for curve in curves)) if curves else 2
    names = ", ".join(curve.name for curve in curves)
    drawing = Drawing(WIDTH, HEIGHT, label=f"Validation loss over {last} epochs of the best models: {names}.")
    right = RIGHT + 12

    def x(epoch: float) -> float:
        return LEFT + (epoch - 1) / (last - 1) * (WIDTH - LEFT - right)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    for tick in ticks(low, high):
        drawing.line(LEFT, y(tick), WIDTH - right, y(tick), "grid")
        drawing.text(LEFT - 7, y(tick) + 4, f"{tick:g}", anchor="end")
    for tick in ticks(1, last, count=8):
        if tick == int(tick):
            drawing.text(x(tick), HEIGHT - BOTTOM + 17, f"{tick:.0f}", anchor="middle")
    drawing.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "epoch", "axis-name", anchor="middle")
    ends: list[float] = []
    for style, curve in reversed(list(zip(STYLES, curves, strict=False))):
        points = [None if loss is None else (x(n), y(loss)) for n, loss in enumerate(curve.losses, 1)]
        drawing.polyline(points, f"curve {style}")
        for number, loss in enumerate(curve.losses, 1):
            if loss is not None:
                tip = f"{curve.name}, epoch {number}: {loss:.4f}"
                drawing.circle(x(number), y(loss), 2.4 if last <= 40 else 1.2, f"dot {style}", tip=tip)
        if points and points[-1] is not None:
            place = points[-1][1] + 4
            while any(abs(place - other) < 12 for other in ends):
                place += 4
            ends.append(place)
            drawing.text(points[-1][0] + 8, place, str(curve.rank), f"strong {style}")
    return drawing.markup()


# ------------------------------------------------------------------------------------------------- settings
@dataclass(frozen=True)
class Factor:
    """One setting that differs between the models.

    Attributes:
        name: The setting.
        levels: Its values, in order.
        losses: For each level the validation losses of the models that have it.
        effect: Largest mean loss of a level minus the smallest: how much the choice matters on its own.
        best: The level of the smallest mean.
    """

    name: str
    levels: tuple[Any, ...]
    losses: tuple[tuple[float, ...], ...]
    effect: float
    best: Any

    @property
    def continuous(self) -> bool:
        """Whether it has so many numeric values that they stand on a scale."""
        return len(self.levels) > _FEW_LEVELS and all(_is_number(level) for level in self.levels)


def factors(rows: Sequence[Row]) -> tuple[Factor, ...]:
    """Return the settings that differ, the one that matters most first.

    The effect is the range of the means over everything else (a main effect). In a full grid every level is seen with
    every other setting, so that the means can be compared; in a search they are a hint.
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
        low: Smallest loss of the axis, the same for all settings, so that they can be compared by eye.
        high: Largest.
    """
    width, height, left, bottom = 300.0, 210.0, 46.0, 38.0
    label = f"Validation loss by {factor.name}; best on average with {_shown(factor.best)}."
    drawing = Drawing(width, height, label=label)
    place = _scale(factor, left + 22, width - 24)

    def y(value: float) -> float:
        return height - bottom - (value - low) / ((high - low) or 1.0) * (height - bottom - 12)

    for tick in ticks(low, high, count=4):
        drawing.line(left, y(tick), width - 8, y(tick), "grid")
        drawing.text(left - 7, y(tick) + 4, f"{tick:g}", anchor="end")
    means = []
    for level, losses in zip(factor.levels, factor.losses, strict=True):
        for loss in losses:
            tip = f"{factor.name} {_shown(level)}: {loss:.4f}"
            drawing.circle(place(level), y(loss), 3.2, "point faded", tip=tip)
        means.append((place(level), y(fmean(losses))))
    if not factor.continuous:
        drawing.polyline(means, "curve one")
        for at, level, losses in zip(means, factor.levels, factor.losses, strict=True):
            drawing.circle(*at, 4.6, "dot one", tip=f"{factor.name} {_shown(level)}: mean {fmean(losses):.4f}")
    shown = factor.levels if not factor.continuous else (factor.levels[0], factor.levels[-1])
    for level in shown:
        text = shorten(_shown(level), (width - left) / len(shown))
        drawing.text(place(level), height - bottom + 16, text, anchor="middle")
    drawing.text((left + width) / 2, height - 5, factor.name.replace("_", " "), "axis-name", anchor="middle")
    return drawing.markup()


def draw_parallel(rows: Sequence[Row], found: Sequence[Factor]) -> Markup:
    """Draw every ranked model as a thread through its settings to its validation loss, the best one in front."""
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
    for index, factor in enumerate(found):  # last, so that no thread crosses them out
        for level in factor.levels if not factor.continuous else (factor.levels[0], factor.levels[-1]):
            place = left + index * step - 8, scales[index](level) + 4
            drawing.text(*place, shorten(_shown(level), 52), "halo", anchor="end")
    return drawing.markup()


def _scale(factor: Factor, first: float, last: float) -> Any:
    """Return where a level stands between two ends: on a scale, or in equal steps."""
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


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
