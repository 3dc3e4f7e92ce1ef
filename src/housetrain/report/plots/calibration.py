"""Calibration: the reliability diagram, and histograms of the confidence of correct and wrong predictions.

In: calibration bins, predictions. Out: tables (tested), a description, and drawings as inline SVG. It does not know
where the predictions come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from housetrain.report.plots.frame import HEIGHT, WIDTH, Frame, left_margin, percents
from housetrain.report.plots.svg import ticks
from housetrain.system.text import format_interval, format_percent

if TYPE_CHECKING:
    from markupsafe import Markup

    from housetrain.evaluation.calibration import Calibration
    from housetrain.evaluation.evaluation import ImageResult
    from housetrain.evaluation.metrics import CalibrationBin, Interval

FEW_PREDICTIONS = 10
"""Points of a reliability diagram with fewer predictions than this are drawn pale."""


# ------------------------------------------------------------------------------------------------- reliability
@dataclass(frozen=True)
class Reliability:
    """Accuracy by confidence. In a calibrated model, 80 of 100 predictions with confidence 80 % are correct.

    Attributes:
        points: (confidence, accuracy, interval of the accuracy, images) of each bin that is not empty.
        low: Where the axis begins: the confidence is at least 1 / classes.
        confidence: Mean probability of the predicted classes.
        accuracy: Share of correct predictions.
    """

    points: tuple[tuple[float, float, Interval, int], ...]
    low: float
    confidence: float
    accuracy: float

    @property
    def total(self) -> int:
        """Number of predictions."""
        return sum(count for *_, count in self.points)


def reliability_table(bins: Sequence[CalibrationBin], *, classes: int) -> Reliability:
    """Return the points of a reliability diagram.

    Args:
        bins: As `housetrain.evaluation.metrics.calibration_bins` returns them.
        classes: Number of classes.
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
        confidence=sum(confidence * count for confidence, *_, count in points) / total,
        accuracy=sum(accuracy * count for _, accuracy, _, count in points) / total,
    )


def describe_calibration(
    table: Reliability, found: Calibration, *, before: Calibration | None = None, temperature: float = 1.0
) -> str:
    """Return whether the probabilities are shown to be miscalibrated, with the numbers.

    Args:
        table: The reliability diagram.
        found: The calibration error.
        before: That of the same predictions without the temperature.
        temperature: Of the probabilities.
    """
    text = (
        f"Expected calibration error {format_percent(found.ece)}; corrected for chance "
        f"{format_percent(found.corrected)} (95 % interval {format_interval(found.interval)}); mean confidence "
        f"{format_percent(table.confidence)}, accuracy {format_percent(table.accuracy)}."
    )
    if before is not None:
        text += (
            f" The probabilities are scaled with the temperature {temperature:.3g}, found on validation images. "
            f"Without it the error is {format_percent(before.ece)}; corrected for chance "
            f"{format_percent(before.corrected)} (95 % interval {format_interval(before.interval)})."
        )
    gap = table.confidence - table.accuracy
    if not found.deviates:
        return f"{text} A perfectly calibrated model could have this error by chance."
    if abs(gap) < 0.01:
        return f"{text} The model is overconfident in some ranges and underconfident in others."
    return f"{text} The model is {'over' if gap > 0 else 'under'}confident."


def draw_reliability(table: Reliability) -> Markup:
    """Draw accuracy over confidence: a calibrated model has its points on the diagonal."""
    bottom = min([table.low, *(max(0.0, interval[0] - 0.03) for *_, interval, _ in table.points)])
    label = (
        f"Reliability diagram: mean confidence {format_percent(table.confidence)}, "
        f"accuracy {format_percent(table.accuracy)}."
    )
    frame = Frame(label, (table.low, 1.0), (bottom, 1.0), y_text=percents)
    x, y, drawing = frame.x, frame.y, frame.drawing
    drawing.polygon([(x(table.low), y(table.low)), (x(1), y(1)), (x(1), y(bottom)), (x(table.low), y(bottom))], "below")
    frame.draw_y_axis()
    frame.draw_x_axis("confidence", ticks(table.low, 1.0), percents)
    drawing.line(x(table.low), y(table.low), x(1), y(1), "diagonal")
    drawing.text(frame.left + 10, y(bottom + (1 - bottom) * 0.84), "underconfident", "faint halo")
    drawing.text(frame.right - 10, y(bottom + (1 - bottom) * 0.12), "overconfident", "faint", anchor="end")
    most = max(count for *_, count in table.points)
    for confidence, accuracy, interval, count in table.points:
        few = " few" if count < FEW_PREDICTIONS else ""
        drawing.line(x(confidence), y(interval[0]), x(confidence), y(interval[1]), f"whisker calibration{few}")
        tip = f"confidence {confidence * 100:.0f} %: accuracy {accuracy * 100:.1f} % of {count:,} predictions"
        drawing.circle(x(confidence), y(accuracy), 3 + 6 * (count / most) ** 0.5, f"point calibration{few}", tip=tip)
    return drawing.markup()


# ------------------------------------------------------------------------------------------------- confidence
@dataclass(frozen=True)
class Confidence:
    """Histograms of the confidence of correct and of wrong predictions.

    Attributes:
        edges: B + 1 edges of the bins.
        correct: B counts of correct predictions.
        wrong: B counts of wrong predictions.
    """

    edges: tuple[float, ...]
    correct: tuple[int, ...]
    wrong: tuple[int, ...]


def confidence_table(rows: Sequence[ImageResult], *, classes: int, bins: int = 20) -> Confidence:
    """Return the histograms of the probability of the predicted class."""
    low = 0.5 if classes == 2 else 0.0
    edges = tuple(low + (1 - low) * index / bins for index in range(bins + 1))
    counts = {True: [0] * bins, False: [0] * bins}
    for row in rows:
        place = int((row.probability - low) / (1 - low) * bins)
        counts[row.correct][min(bins - 1, max(0, place))] += 1
    return Confidence(edges, tuple(counts[True]), tuple(counts[False]))


def draw_confidence(table: Confidence) -> Markup:
    """Draw the two histograms one above the other, each on its own scale."""
    groups = (("correct", table.correct), ("wrong", table.wrong))
    label = f"Confidence of {sum(table.correct):,} correct and {sum(table.wrong):,} wrong predictions."
    frame = Frame(label, (table.edges[0], 1.0), (0.0, 1.0), size=(WIDTH, HEIGHT))
    frame.left = left_margin(f"{max(counts):,}" for _, counts in groups)
    drawing = frame.drawing
    room = (frame.bottom - frame.top - 24) / 2
    step = (frame.right - frame.left) / (len(table.edges) - 1)
    for number, (style, counts) in enumerate(groups):
        base = frame.top + room + number * (room + 24)
        most = max(counts) or 1
        for index, count in enumerate(counts):
            if count:
                height = max(1, count / most * (room - 16))
                tip = f"{table.edges[index] * 100:.0f}–{table.edges[index + 1] * 100:.0f} %: {count:,} {style}"
                x = frame.left + index * step + 1
                drawing.rect(x, base - height, step - 2, height, f"bar {style}", radius=1.5, tip=tip)
        drawing.line(frame.left, base, frame.right, base, "axis")
        drawing.text(frame.left + 4, base - room + 12, f"{style}: {sum(counts):,}", f"strong {style}-name")
        drawing.text(frame.left - 7, base - room + 20, f"{most:,}", anchor="end")
        drawing.text(frame.left - 7, base + 1, "0", anchor="end")
    frame.draw_x_axis("confidence", ticks(table.edges[0], 1.0), percents)
    return drawing.markup()
