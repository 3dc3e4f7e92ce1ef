"""Coverage: how many of the most confident predictions are wrong.

In: test results, and the decision of the model. Out: a table (tested), a description, and a drawing as inline SVG. It
does not know how the threshold was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from housetrain.evaluation.metrics import Interval, wilson
from housetrain.report.plots.frame import Frame, percents
from housetrain.report.plots.svg import ticks
from housetrain.system.text import format_interval, format_percent

if TYPE_CHECKING:
    from markupsafe import Markup

    from housetrain.evaluation.evaluation import ImageResult
    from housetrain.inference.decision import Decision

_POINTS = 120
_FEWEST = 20  # the error rate of fewer predictions is drawn by chance


@dataclass(frozen=True)
class Coverage:
    """The error rate of the most confident predictions, by their share of all.

    Attributes:
        curve: (share of the images, share of wrong ones among them), rising share.
        sure: Number of test predictions at or above the threshold.
        wrong: How many of them are wrong.
        images: Number of test predictions.
    """

    curve: tuple[tuple[float, float], ...]
    sure: int
    wrong: int
    images: int

    @property
    def risk(self) -> float | None:
        """Share of wrong predictions among those at or above the threshold."""
        return self.wrong / self.sure if self.sure else None

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval of `risk`."""
        return wilson(self.wrong, self.sure)


def coverage_table(rows: Sequence[ImageResult], decision: Decision) -> Coverage:
    """Return the curve, and the point of the threshold.

    Args:
        rows: Test predictions, one or more.
        decision: Of the model.
    """
    stated = np.array([row.probability for row in rows])
    correct = np.array([row.correct for row in rows])
    order = np.argsort(-stated, kind="stable")
    ranked, wrong = stated[order], np.cumsum(~correct[order])
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))  # equal confidences belong together
    ends = ends[ends >= min(_FEWEST, len(rows)) - 1]
    chosen = ends[np.unique(np.linspace(0, len(ends) - 1, _POINTS).astype(int))]
    sure = stated >= decision.threshold
    curve = tuple((float(place + 1) / len(rows), float(wrong[place] / (place + 1))) for place in chosen)
    return Coverage(curve, int(sure.sum()), int((sure & ~correct).sum()), len(rows))


def describe_coverage(table: Coverage, decision: Decision) -> str:
    """Return what was promised, and what the test found."""
    text = decision.describe()
    if not decision.images or decision.risk is None or table.risk is None:
        return text
    share, interval = format_percent(table.sure / table.images), format_interval(table.interval)
    return (
        f"{text} On the test images {table.sure:,} of {table.images:,} ({share}) are not unsure; of these "
        f"{format_percent(table.risk)} are wrong (95 % interval {interval})."
    )


def draw_coverage(table: Coverage, decision: Decision) -> Markup:
    """Draw the error rate over the share of images, with the promised rate and the point of the threshold."""
    highest = max([risk for _, risk in table.curve] + [decision.risk or 0.0, table.risk or 0.0, 0.01]) * 1.15
    frame = Frame(
        "Error rate of the most confident predictions.", (0.0, 1.0), (0.0, min(1.0, highest)), y_text=percents
    )
    x, y, drawing = frame.x, frame.y, frame.drawing
    frame.draw_y_axis()
    frame.draw_x_axis("share of the images, most confident first", ticks(0.0, 1.0), percents)
    if decision.risk is not None:
        drawing.line(x(0), y(decision.risk), x(1), y(decision.risk), "diagonal")
        drawing.text(frame.left + 10, y(decision.risk) - 5, f"promised: {format_percent(decision.risk)}", "faint halo")
    for (left, first), (right, second) in zip(table.curve, table.curve[1:], strict=False):
        drawing.line(x(left), y(first), x(right), y(second), "whisker calibration")
    if table.risk is not None:
        share = table.sure / table.images
        tip = f"{table.sure:,} predictions are not unsure: {format_percent(table.risk)} wrong"
        drawing.circle(x(share), y(table.risk), 5, "point calibration", tip=tip)
    return drawing.markup()
