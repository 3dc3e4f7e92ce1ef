"""Horizontal bars, one row per class: images in each split, F1 with its interval, probabilities of a prediction.

In: counts and scores by class name. Out: tables as frozen values, and drawings of them as inline SVG. It does not know
where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from housetrain.report.plots.frame import WIDTH, numbers
from housetrain.report.plots.svg import Drawing, shorten, text_width, ticks
from housetrain.system.text import format_percent

if TYPE_CHECKING:
    from markupsafe import Markup

    from housetrain.evaluation.evaluation import ClassScores
    from housetrain.evaluation.metrics import Interval


@dataclass(frozen=True)
class ClassCounts:
    """Images of one class, by part: a split, or "usable" and "left out"."""

    name: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Images of the class."""
        return sum(self.parts.values())


def counts_table(counts: Mapping[str, Mapping[str, int]]) -> tuple[ClassCounts, ...]:
    """Return one row per class, the classes in their order.

    Args:
        counts: Part -> class -> images, as ``SplitManifest.counts()`` returns them.
    """
    names = dict.fromkeys(name for per_class in counts.values() for name in per_class)
    return tuple(
        ClassCounts(name, {part: per_class.get(name, 0) for part, per_class in counts.items()}) for name in names
    )


def draw_counts(rows: Sequence[ClassCounts], *, limit: int = 40) -> Markup:
    """Draw one stacked bar per class; with more than ``limit`` classes the largest and the smallest."""
    shown: list[ClassCounts | None] = list(rows)
    if len(rows) > limit:
        by_size = sorted(rows, key=lambda row: -row.total)
        shown = [*by_size[: limit // 2], None, *by_size[len(by_size) - limit // 2 :]]
    step, label = _step(len(shown)), _label_width(row.name for row in rows)
    most = max(row.total for row in rows) or 1
    room = WIDTH - label - 62
    parts = ", ".join(rows[0].parts)
    drawing = Drawing(WIDTH, step * len(shown) + 8, label=f"Images of {len(rows)} classes: {parts}.")
    for index, row in enumerate(shown):
        top = 4 + index * step
        if row is None:
            drawing.text(label, top + step * 0.68, f"… {len(rows) - limit} classes in between …", "faint")
            continue
        drawing.text(label - 8, top + step / 2 + 4, shorten(row.name, label - 12), anchor="end", tip=row.name)
        x = label
        for part, count in row.parts.items():
            width = count / most * room
            if count:
                tip, style = f"{row.name}, {part}: {count:,}", f"bar {part.replace(' ', '-')}"
                drawing.rect(x, top + step * 0.14, max(0.5, width - 1), step * 0.72, style, radius=2, tip=tip)
            x += width
        drawing.text(x + 6, top + step / 2 + 4, f"{row.total:,}", "strong")
    return drawing.markup()


@dataclass(frozen=True)
class ScoreRow:
    """F1 of one class with its interval, each in [0, 1]."""

    name: str
    f1: float
    interval: Interval
    support: int


def score_table(per_class: Mapping[str, ClassScores]) -> tuple[ScoreRow, ...]:
    """Return the classes that occur in the test, the lowest F1 first."""
    rows = [
        ScoreRow(name, scores.f1, scores.f1_interval, scores.support)
        for name, scores in per_class.items()
        if scores.f1 is not None and scores.f1_interval is not None
    ]
    return tuple(sorted(rows, key=lambda row: (row.f1, row.name)))


def draw_scores(rows: Sequence[ScoreRow], *, limit: int = 30) -> Markup:
    """Draw F1 and its interval for each class; with more than ``limit`` classes the lowest and the highest."""
    shown: list[ScoreRow | None] = list(rows)
    if len(rows) > limit:
        shown = [*rows[: limit - limit // 3], None, *rows[len(rows) - limit // 3 :]]
    step, label = _step(len(shown)), _label_width(row.name for row in rows)
    low = max(0.0, int(min(row.interval[0] for row in rows) * 10) / 10)
    height = step * len(shown) + 26
    worst = f"F1 of {len(rows)} classes, the lowest first: {rows[0].name}, {rows[0].f1:.3f}."
    drawing = Drawing(WIDTH, height, label=worst)

    def x(value: float) -> float:
        return label + (value - low) / (1 - low) * (WIDTH - label - 58)

    values = ticks(low, 1.0)
    for value, text in zip(values, numbers(values), strict=True):
        drawing.line(x(value), 2, x(value), height - 22, "grid")
        drawing.text(x(value), height - 6, text, anchor="middle")
    for index, row in enumerate(shown):
        y = 4 + (index + 0.5) * step
        if row is None:
            drawing.text(label, y + 4, f"… {len(rows) - limit} classes in between …", "faint halo")
            continue
        drawing.text(label - 8, y + 4, shorten(row.name, label - 12), anchor="end", tip=row.name)
        drawing.line(x(row.interval[0]), y, x(row.interval[1]), y, "whisker score")
        interval = f"95 % interval {row.interval[0]:.3f}–{row.interval[1]:.3f}"
        tip = f"{row.name}: F1 {row.f1:.3f}, {interval}, {row.support:,} images"
        drawing.circle(x(row.f1), y, 5 if step > 20 else 4, "point score", tip=tip)
        drawing.text(WIDTH - 4, y + 4, f"{row.f1:.3f}", "strong", anchor="end")
    return drawing.markup()


def draw_probabilities(top: Sequence[tuple[str, float]]) -> Markup:
    """Draw one bar per class: its probability for one image.

    Args:
        top: (name, probability), the most probable first.
    """
    step, label = 30, _label_width(name for name, _ in top)
    drawing = Drawing(
        WIDTH, step * len(top) + 8, label=f"Most probable class: {top[0][0]}, {format_percent(top[0][1])}."
    )
    for index, (name, probability) in enumerate(top):
        y, width = 4 + index * step, max(1.0, probability * (WIDTH - label - 62))
        tip = f"{name}: {format_percent(probability, 2)}"
        drawing.text(label - 8, y + step / 2 + 4, shorten(name, label - 12), anchor="end", tip=name)
        drawing.rect(label, y + 5, width, step - 10, "bar train" if index == 0 else "bar other", radius=3, tip=tip)
        drawing.text(label + width + 6, y + step / 2 + 4, format_percent(probability), "strong")
    return drawing.markup()


def _step(rows: int) -> int:
    return 34 if rows <= 6 else 24 if rows <= 15 else 18


def _label_width(names: Iterable[str]) -> float:
    return min(130.0, max(text_width(name) for name in names) + 12)
