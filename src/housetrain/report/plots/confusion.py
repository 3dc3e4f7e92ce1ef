"""The confusion matrix: each row is the true class, each column the prediction.

In: class names and counts. Out: a table (tested), its description, and its drawing as inline SVG. It does not know
where the counts come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from housetrain.errors import one_line
from housetrain.report.plots.svg import GLYPH, Drawing, shorten, text_width
from housetrain.system.text import format_percent

if TYPE_CHECKING:
    from markupsafe import Markup

LEGEND = (("correct", "correct"), ("wrong", "wrong"))
"""(CSS class, text) of the legend."""
_CELLS = ((3, 104), (5, 76), (8, 60), (12, 46), (20, 33), (35, 20), (60, 13), (10**9, 9))
"""Side of a cell for up to so many classes."""


@dataclass(frozen=True)
class Confusion:
    """Counts of predictions by true class.

    Attributes:
        classes: Names, in the order of rows and columns.
        counts: (C, C), row = true class, column = predicted class.
        shares: The same as shares of each row, in [0, 1].
        pairs: (true, predicted, count, share of the true class) of the mistakes, the most frequent first.
        left_out: Number of classes that are left out because there are too many; those with the fewest mistakes.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[float, ...], ...]
    pairs: tuple[tuple[str, str, int, float], ...]
    left_out: int = 0


def confusion_table(classes: Sequence[str], confusion: Sequence[Sequence[int]], *, limit: int = 100) -> Confusion:
    """Return counts, row shares and the most frequent mistakes of a confusion matrix.

    Args:
        classes: C names.
        confusion: (C, C) counts, row = true class.
        limit: With more classes than this, keep those with the most mistakes.
    """
    totals = [sum(row) for row in confusion]
    pairs = [
        (classes[true], classes[predicted], count, count / totals[true])
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    kept = list(range(len(classes)))
    if len(kept) > limit:
        columns = [sum(column) for column in zip(*confusion, strict=True)]
        mistakes = [totals[index] + columns[index] - 2 * confusion[index][index] for index in kept]
        kept = sorted(sorted(kept, key=lambda index: (-mistakes[index], index))[:limit])
    return Confusion(
        classes=tuple(classes[index] for index in kept),
        counts=tuple(tuple(int(confusion[true][predicted]) for predicted in kept) for true in kept),
        shares=tuple(
            tuple(confusion[true][predicted] / totals[true] if totals[true] else 0.0 for predicted in kept)
            for true in kept
        ),
        pairs=tuple(sorted(pairs, key=lambda pair: (-pair[2], -pair[3], pair[0], pair[1]))),
        left_out=len(classes) - len(kept),
    )


def describe_confusion(table: Confusion) -> str:
    """Return the most frequent mistake as a sentence."""
    if not table.pairs:
        return "Every test image is classified correctly."
    true, predicted, count, share = table.pairs[0]
    if count == 1 and len(table.pairs) > 1:
        return f"{len(table.pairs):,} mistakes, each between a different pair of classes."
    times = "once" if count == 1 else f"{count:,} times"
    pair = f"“{one_line(true)}” predicted as “{one_line(predicted)}”"
    return f"Most frequent mistake: {pair}, {times} ({format_percent(share)} of the class)."


def draw_confusion(table: Confusion) -> Markup:
    """Draw the matrix: correct predictions blue, mistakes orange, the darker the larger the share of the row."""
    count = len(table.classes)
    cell = next(size for most, size in _CELLS if count <= most)
    font = 12.5 if cell >= 20 else max(7.0, cell * 0.85)
    longest = max(text_width(name, size=font) for name in table.classes)
    margin = min(150.0, longest + 14)
    straight = longest < cell - 6
    turn = 0 if straight else -90 if cell <= 20 else -45
    long = min(110.0, longest)
    top = 44 if straight else 34 + long * (1.0 if turn == -90 else 0.75)
    slack = min(90.0, longest * 0.6) if turn == -45 else 10
    left, side = 22 + margin, cell * count
    label = f"Confusion matrix of {count} classes: each row is the true class, each column the prediction."
    drawing = Drawing(left + side + slack, top + side + 8, label=label, fixed=True)
    drawing.text(left + side / 2, 12, "predicted class", "axis-name", anchor="middle")
    drawing.text(12, top + side / 2, "true class", "axis-name", anchor="middle", turn=-90)
    for index, name in enumerate(table.classes):
        middle = (index + 0.5) * cell
        short = shorten(name, margin - 14, size=font)
        drawing.text(left - 8, top + middle + font * 0.35, short, anchor="end", size=font, tip=name)
        if straight:
            drawing.text(left + middle, top - 9, name, anchor="middle", size=font)
        else:
            x = left + middle + (font * 0.35 if turn == -90 else 0)
            drawing.text(x, top - 6, shorten(name, long + 1, size=font), turn=turn, size=font, tip=name)
    drawing.rect(left, top, side, side, "empty")
    for true in range(count):
        for predicted in range(count):
            _draw_cell(drawing, table, true, predicted, place=(left + predicted * cell, top + true * cell), cell=cell)
    return drawing.markup()


def _draw_cell(
    drawing: Drawing, table: Confusion, true: int, predicted: int, *, place: tuple[float, float], cell: float
) -> None:
    (x, y), number, share = place, table.counts[true][predicted], table.shares[true][predicted]
    # The square root makes a few mistakes visible among many correct predictions.
    shade = share if true == predicted else share**0.5
    if number:
        gap = 1.5 if cell >= 30 else 0.5
        names = f"{table.classes[true]}, predicted as {table.classes[predicted]}"
        drawing.rect(
            x + gap,
            y + gap,
            cell - 2 * gap,
            cell - 2 * gap,
            "correct" if true == predicted else "wrong",
            opacity=0.06 + 0.94 * shade,
            radius=min(6, cell / 9),
            tip=f"{names}: {number:,} ({share * 100:.1f} %)",
            key=f"{true},{predicted}",
        )
    if cell < 20 or (not number and cell < 100):
        return
    style = ("on-strong" if shade > 0.66 else "on-light") if number else "faint"
    middle = x + cell / 2
    if cell < 46 or not number:
        short = str(number) if number < 10_000 else f"{number / 1000:.0f}k"
        size = min(11.5, cell * 0.5, cell * 0.85 / (len(short) * GLYPH))
        drawing.text(middle, y + cell / 2 + size * 0.36, short, style, anchor="middle", size=size)
        return
    size = min(19.0, cell * 0.3)
    small = max(9.5, size * 0.62)
    percent = f"{share * 100:.0f} %" if share >= 0.1 or not share else f"{share * 100:.1f} %"
    drawing.text(middle, y + cell / 2 + size * 0.02, f"{number:,}", f"{style} strong", anchor="middle", size=size)
    drawing.text(middle, y + cell / 2 + small * 1.35, percent, style, anchor="middle", size=small)
