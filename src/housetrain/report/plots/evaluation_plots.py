"""What the report draws. Each plot is two functions: a table (tested, plain values) and a drawing of that table.

In: history, confusion counts, calibration bins, class counts, scores. Out: tables as frozen values, drawings as inline
SVG. Colors are classes of the report's stylesheet (blue and orange first: told apart by everybody, and by their lines
and places besides). It does not know where the numbers came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from housetrain.report.plots.svg import GLYPH, Drawing, shorten, text_width, ticks

if TYPE_CHECKING:
    from markupsafe import Markup

    from housetrain.evaluation.evaluation import Answer
    from housetrain.evaluation.metrics import CalibrationBin, Interval

WIDTH, HEIGHT = 440, 290
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 16, 40
FEW_ANSWERS = 10
"""Points of a reliability diagram with fewer answers than this are drawn pale."""


# ------------------------------------------------------------------------------------------------- curves
@dataclass(frozen=True)
class Curves:
    """A training, epoch by epoch. A value that was not a number is ``None``.

    Attributes:
        epochs: From 1.
        loss, val_loss, accuracy, val_accuracy: One value an epoch; accuracies in [0, 1].
        best: Epoch whose weights are kept, ``None`` before the first is done.
        overfitting: Epoch at which overfitting began, ``None`` when it did not.
    """

    epochs: tuple[int, ...]
    loss: tuple[float | None, ...]
    val_loss: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    val_accuracy: tuple[float | None, ...]
    best: int | None
    overfitting: int | None

    def at(self, name: str, epoch: int) -> float | None:
        """Return the value of the series ``name`` at ``epoch``."""
        values: tuple[float | None, ...] = getattr(self, name)
        return values[self.epochs.index(epoch)]


def curve_table(
    history: Sequence[Mapping[str, Any]], *, best: int | None = None, overfitting: int | None = None
) -> Curves:
    """Return the curves of a history.

    Args:
        history: One mapping an epoch, as `housetrain.training.run.Run.history`.
        best: Epoch whose weights are kept; by default that of the smallest validation loss.
        overfitting: Epoch at which overfitting began, as `housetrain.training.overfitting.overfitting` finds it.
    """
    epochs = tuple(int(row.get("epoch", number)) for number, row in enumerate(history, 1))
    series = {
        name: tuple(None if row.get(name) is None else float(row[name]) for row in history)
        for name in ("loss", "val_loss", "accuracy", "val_accuracy")
    }
    if best not in epochs:
        losses = [(value, epoch) for value, epoch in zip(series["val_loss"], epochs, strict=True) if value is not None]
        best = min(losses)[1] if losses else None
    return Curves(epochs, best=best, overfitting=overfitting if overfitting in epochs else None, **series)


def draw_curves(curves: Curves, name: Literal["loss", "accuracy"]) -> Markup:
    """Draw training and validation ``name`` over the epochs, the best epoch marked, overfitting shaded."""
    training: tuple[float | None, ...] = getattr(curves, name)
    validation: tuple[float | None, ...] = getattr(curves, f"val_{name}")
    known = [value for value in (*training, *validation) if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    pad = (high - low) * 0.08 or 0.05
    low, high = max(0.0, low - pad), min(1.0, high + pad) if name == "accuracy" else high + pad
    first, last = curves.epochs[0], max(curves.epochs[-1], curves.epochs[0] + 1)
    drawing = Drawing(WIDTH, HEIGHT, label=_curves_in_words(curves, name))

    def x(epoch: float) -> float:
        return LEFT + (epoch - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    if curves.overfitting is not None:
        start = x(max(first, curves.overfitting - 0.5))
        drawing.rect(start, TOP, x(last) - start, HEIGHT - TOP - BOTTOM, "overfit")
        if x(last) - start > 68:
            drawing.text(x(last) - 6, TOP + 15, "overfitting", "overfit-name", anchor="end")
    for tick in ticks(low, high):
        drawing.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid")
        drawing.text(LEFT - 7, y(tick) + 4, f"{tick * 100:g} %" if name == "accuracy" else f"{tick:g}", anchor="end")
    for tick in ticks(first, last, count=8):
        if tick in curves.epochs:
            drawing.text(x(tick), HEIGHT - BOTTOM + 17, f"{tick:.0f}", anchor="middle")
    drawing.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "epoch", "axis-name", anchor="middle")
    if curves.best is not None:
        drawing.line(x(curves.best), TOP, x(curves.best), HEIGHT - BOTTOM, "best-line")
    for style, values in (("training", training), ("validation", validation)):
        points = [
            None if value is None else (x(epoch), y(value)) for epoch, value in zip(curves.epochs, values, strict=True)
        ]
        drawing.polyline(points, f"curve {style}")
        for epoch, value in zip(curves.epochs, values, strict=True):
            if value is not None:
                tip = f"{style}, epoch {epoch}: {_value(name, value)}"
                drawing.circle(x(epoch), y(value), 2.2 if len(points) <= 40 else 1.2, f"dot {style}", tip=tip)
    if curves.best is not None and (value := curves.at(f"val_{name}", curves.best)) is not None:
        drawing.circle(x(curves.best), y(value), 5.5, "ring validation")
        words = f"{_value(name, value)} at epoch {curves.best}"
        wide = text_width(words)
        left = x(curves.best) + wide > WIDTH - RIGHT
        begin = x(curves.best) - (wide - 6 if left else 6)
        # Above the falling loss and below the rising accuracy there is room: as far from the lines as they reach here.
        near = [
            y(one)
            for values in (training, validation)
            for epoch, one in zip(curves.epochs, values, strict=True)
            if one is not None and begin - 8 < x(epoch) < begin + wide + 8
        ]
        levels = [min(near) - 12, max(near) + 22]
        fitting = [level for level in levels if TOP + 30 < level < HEIGHT - BOTTOM - 6] or [TOP + 30]
        drawing.text(begin, fitting[0 if name == "loss" else -1], words, "strong halo")
    return drawing.markup()


def _value(name: str, value: float) -> str:
    return f"{value * 100:.1f} %" if name == "accuracy" else f"{value:.3f}"


def _curves_in_words(curves: Curves, name: str) -> str:
    words = f"{name.capitalize()} over {len(curves.epochs)} epochs."
    if curves.best is not None and (value := curves.at(f"val_{name}", curves.best)) is not None:
        words += f" Validation {name} {_value(name, value)} at the best epoch, {curves.best}."
    if curves.overfitting is not None:
        words += f" Overfitting began at epoch {curves.overfitting}."
    return words


# ------------------------------------------------------------------------------------------------- confusion
@dataclass(frozen=True)
class Confusion:
    """Who is taken for whom.

    Attributes:
        classes: Names, the order of rows and columns.
        counts: (C, C), row = true class, column = predicted class.
        shares: The same as shares of each row, in [0, 1].
        pairs: (true, predicted, count, share of the true class), the most frequent first; no diagonal, no zeros.
        left_out: Classes that were left out because there are too many; those with the fewest mistakes.
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
        limit: With more classes than this, keep those that take part in the most mistakes.
    """
    totals = [sum(row) for row in confusion]
    pairs = [
        (classes[true], classes[called], count, count / totals[true])
        for true, row in enumerate(confusion)
        for called, count in enumerate(row)
        if count and true != called
    ]
    kept = list(range(len(classes)))
    if len(kept) > limit:
        columns = [sum(column) for column in zip(*confusion, strict=True)]
        mistakes = [totals[index] + columns[index] - 2 * confusion[index][index] for index in kept]
        kept = sorted(sorted(kept, key=lambda index: (-mistakes[index], index))[:limit])
    return Confusion(
        classes=tuple(classes[index] for index in kept),
        counts=tuple(tuple(int(confusion[true][called]) for called in kept) for true in kept),
        shares=tuple(
            tuple(confusion[true][called] / totals[true] if totals[true] else 0.0 for called in kept) for true in kept
        ),
        pairs=tuple(sorted(pairs, key=lambda pair: (-pair[2], -pair[3], pair[0], pair[1]))),
        left_out=len(classes) - len(kept),
    )


def draw_confusion(table: Confusion) -> Markup:
    """Draw the matrix: rows are the truth, columns the answers; right answers blue, mistakes orange."""
    count = len(table.classes)
    cell = next(
        size
        for most, size in ((3, 104), (5, 76), (8, 60), (12, 46), (20, 33), (35, 20), (60, 13), (10**9, 9))
        if count <= most
    )
    font = 12.5 if cell >= 20 else max(7.0, cell * 0.85)
    longest = max(text_width(name, size=font) for name in table.classes)
    margin = min(150.0, longest + 14)
    straight = longest < cell - 6
    turn = 0 if straight else -90 if cell <= 20 else -45
    long = min(110.0, longest)
    head = 44 if straight else 34 + long * (1.0 if turn == -90 else 0.75)
    slack = min(90.0, longest * 0.6) if turn == -45 else 10
    side = cell * count
    drawing = Drawing(
        22 + margin + side + slack,
        head + side + 8,
        label=f"Confusion matrix of {count} classes, rows are the truth, columns the answers.",
        fixed=True,
    )
    left, top = 22 + margin, head
    drawing.text(left + side / 2, 12, "the model said", "axis-name", anchor="middle")
    drawing.text(12, top + side / 2, "it was", "axis-name", anchor="middle", turn=-90)
    for index, name in enumerate(table.classes):
        middle = (index + 0.5) * cell
        drawing.text(
            left - 8,
            top + middle + font * 0.35,
            shorten(name, margin - 14, size=font),
            anchor="end",
            size=font,
            tip=name,
        )
        if straight:
            drawing.text(left + middle, top - 9, name, anchor="middle", size=font)
        else:
            x = left + middle + (font * 0.35 if turn == -90 else 0)
            drawing.text(x, top - 6, shorten(name, long + 1, size=font), turn=turn, size=font, tip=name)
    drawing.rect(left, top, side, side, "empty")
    for true, (counts, shares) in enumerate(zip(table.counts, table.shares, strict=True)):
        for called, (number, share) in enumerate(zip(counts, shares, strict=True)):
            place = left + called * cell, top + true * cell
            tip = f"{table.classes[true]}, called {table.classes[called]}: {number:,} ({share * 100:.1f} %)"
            _draw_cell(drawing, place, cell, number=number, share=share, right=true == called, tip=tip)
    return drawing.markup()


def _draw_cell(
    drawing: Drawing, place: tuple[float, float], cell: float, *, number: int, share: float, right: bool, tip: str
) -> None:
    x, y = place
    # The square root lets a few mistakes among many right answers be seen at all.
    shade = share if right else share**0.5
    if number:
        gap = 1.5 if cell >= 30 else 0.5
        style = "right" if right else "wrong"
        side, radius = cell - 2 * gap, min(6, cell / 9)
        drawing.rect(x + gap, y + gap, side, side, style, opacity=0.06 + 0.94 * shade, radius=radius, tip=tip)
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


# ------------------------------------------------------------------------------------------------- calibration
@dataclass(frozen=True)
class Reliability:
    """Does 80 % sure mean right in 80 of 100?

    Attributes:
        points: (certainty, accuracy, interval of the accuracy, images) of each bin that is not empty.
        low: Where the axis begins: no answer can be less sure than 1 / classes.
        certainty: Mean probability of the given answers.
        accuracy: Share of them that is right.
    """

    points: tuple[tuple[float, float, Interval, int], ...]
    low: float
    certainty: float
    accuracy: float

    @property
    def total(self) -> int:
        """All answers."""
        return sum(count for *_, count in self.points)


def reliability_table(bins: Sequence[CalibrationBin], *, classes: int) -> Reliability:
    """Return the points of a reliability diagram.

    Args:
        bins: As `housetrain.evaluation.metrics.calibration_bins` makes them.
        classes: How many there are.
    """
    points = tuple(
        (one.confidence, one.accuracy, one.interval, one.count)
        for one in bins
        if one.confidence is not None and one.accuracy is not None and one.interval is not None
    )
    total = sum(count for *_, count in points)
    return Reliability(
        points,
        low=0.5 if classes == 2 else 0.0,
        certainty=sum(sure * count for sure, *_, count in points) / total,
        accuracy=sum(right * count for _, right, _, count in points) / total,
    )


def draw_reliability(table: Reliability) -> Markup:
    """Draw accuracy over certainty: points on the diagonal mean that the probabilities can be taken at their word."""
    sure, right = (f"{share * 100:.1f} %" for share in (table.certainty, table.accuracy))
    drawing = Drawing(WIDTH, HEIGHT, label=f"Reliability diagram: {sure} sure on average, right on {right}.")
    bottom = min([table.low, *(max(0.0, interval[0] - 0.03) for *_, interval, _ in table.points)])

    def x(value: float) -> float:
        return LEFT + (value - table.low) / (1 - table.low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (1 - bottom) * (HEIGHT - TOP - BOTTOM)

    drawing.polygon([(x(table.low), y(table.low)), (x(1), y(1)), (x(1), y(bottom)), (x(table.low), y(bottom))], "below")
    for value in ticks(bottom, 1.0):
        drawing.line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid")
        drawing.text(LEFT - 7, y(value) + 4, f"{value * 100:g} %", anchor="end")
    for value in ticks(table.low, 1.0):
        drawing.text(x(value), HEIGHT - BOTTOM + 17, f"{value * 100:g} %", anchor="middle")
    drawing.line(x(table.low), y(table.low), x(1), y(1), "diagonal")
    drawing.text(LEFT + 10, y(bottom + (1 - bottom) * 0.84), "too modest", "faint halo")
    drawing.text(WIDTH - RIGHT - 10, y(bottom + (1 - bottom) * 0.12), "too sure of itself", "faint", anchor="end")
    drawing.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "how sure the model says it is", "axis-name", anchor="middle")
    most = max(count for *_, count in table.points)
    for certainty, accuracy, interval, count in table.points:
        few = " few" if count < FEW_ANSWERS else ""
        drawing.line(x(certainty), y(interval[0]), x(certainty), y(interval[1]), f"whisker calibration{few}")
        tip = f"{count:,} answers about {certainty * 100:.0f} % sure: {accuracy * 100:.1f} % right"
        drawing.circle(x(certainty), y(accuracy), 3 + 6 * (count / most) ** 0.5, f"point calibration{few}", tip=tip)
    return drawing.markup()


# ------------------------------------------------------------------------------------------------- certainty
@dataclass(frozen=True)
class Certainty:
    """How sure the model was, when it was right and when it was wrong.

    Attributes:
        edges: B + 1 edges of the bins.
        right: B counts of right answers.
        wrong: B counts of wrong answers.
    """

    edges: tuple[float, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]


def certainty_table(rows: Sequence[Answer], *, classes: int, bins: int = 20) -> Certainty:
    """Return a histogram of the probability of the given answers, right and wrong apart."""
    low = 0.5 if classes == 2 else 0.0
    edges = tuple(low + (1 - low) * index / bins for index in range(bins + 1))
    counts = {True: [0] * bins, False: [0] * bins}
    for row in rows:
        place = int((row.probability - low) / (1 - low) * bins)
        counts[row.right][min(bins - 1, max(0, place))] += 1
    return Certainty(edges, tuple(counts[True]), tuple(counts[False]))


def draw_certainty(table: Certainty) -> Markup:
    """Draw the two histograms one above the other, each on its own scale."""
    groups = (("right", table.right), ("wrong", table.wrong))
    drawing = Drawing(
        WIDTH,
        HEIGHT,
        label=f"How sure the model was on {sum(table.right):,} right and {sum(table.wrong):,} wrong answers.",
    )
    room = (HEIGHT - TOP - BOTTOM - 24) / 2
    step = (WIDTH - LEFT - RIGHT) / (len(table.edges) - 1)
    for number, (style, counts) in enumerate(groups):
        base = TOP + room + number * (room + 24)
        most, total = max(counts) or 1, sum(counts)
        for index, count in enumerate(counts):
            tall = count / most * (room - 16)
            tip = f"{table.edges[index] * 100:.0f}–{table.edges[index + 1] * 100:.0f} % sure: {count:,} {style}"
            if count:
                drawing.rect(
                    LEFT + index * step + 1,
                    base - max(1, tall),
                    step - 2,
                    max(1, tall),
                    f"bar {style}",
                    radius=1.5,
                    tip=tip,
                )
        drawing.line(LEFT, base, WIDTH - RIGHT, base, "axis")
        drawing.text(LEFT + 4, base - room + 12, f"when it was {style}: {total:,}", f"strong {style}-name")
        drawing.text(LEFT - 7, base - room + 20, f"{most:,}", anchor="end")
        drawing.text(LEFT - 7, base + 1, "0", anchor="end")
    for value in ticks(table.edges[0], 1.0):
        place = LEFT + (value - table.edges[0]) / (1 - table.edges[0]) * (WIDTH - LEFT - RIGHT)
        drawing.text(place, HEIGHT - BOTTOM + 17, f"{value * 100:g} %", anchor="middle")
    drawing.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "how sure the model was", "axis-name", anchor="middle")
    return drawing.markup()
