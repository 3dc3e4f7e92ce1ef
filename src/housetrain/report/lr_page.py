"""The page of the learning-rate finder: loss against learning rate, and the suggestion.

In: an `LrCurve`. Out: one self-contained HTML file with an inline SVG.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from housetrain.report.page import write_page
from housetrain.report.plots.frame import Frame, log_numbers, padded, short

if TYPE_CHECKING:
    from markupsafe import Markup

    from housetrain.training.lr_find import LrCurve

LEGEND = (("training line", "loss of each step"), ("validation line", "smoothed"), ("best", "suggested"))


def write_lr_page(path: Path, curve: LrCurve, *, title: str, command: str) -> Path:
    """Write the page.

    Args:
        path: The HTML file.
        curve: What was measured.
        title: The recipe's name.
        command: The command that trains with the suggestion.

    Raises:
        DiskFull: It cannot be written; an earlier page is intact.
    """
    context = {
        "title": title,
        "drawing": draw_lr_curve(curve),
        "key": LEGEND,
        "suggested": short(f"{curve.suggested:.2g}"),
        "lowest": short(f"{curve.lowest:.2g}"),
        "steps": len(curve.rates),
        "command": command,
    }
    return write_page(path, "lr_find.html.j2", context)


def draw_lr_curve(curve: LrCurve) -> Markup:
    """Draw loss against learning rate on a logarithmic axis, the suggestion marked.

    The vertical axis follows the smoothed loss; single batches may leave it.
    """
    places = [math.log10(rate) for rate in curve.rates]
    low, high = padded(curve.smoothed, pad=0.15)
    suggested = short(f"{curve.suggested:.2g}")
    label = f"Loss of {len(places)} steps against the learning rate; {suggested} is suggested."
    frame = Frame(label, (places[0], max(places[-1], places[0] + 1)), (low, high))
    frame.draw_y_axis()
    decades = range(math.ceil(places[0]), math.floor(places[-1]) + 1)
    frame.draw_x_axis("learning rate", decades, lambda powers: log_numbers([10.0**power for power in powers]))
    for style, losses in (("training", curve.losses), ("validation", curve.smoothed)):
        points = [
            (frame.x(place), frame.y(min(max(loss, low), high))) for place, loss in zip(places, losses, strict=True)
        ]
        frame.drawing.polyline(points, f"curve {style}")
    at = curve.rates.index(curve.suggested)
    x = frame.x(places[at])
    frame.drawing.line(x, frame.top, x, frame.bottom, "best-line")
    frame.drawing.circle(x, frame.y(curve.smoothed[at]), 5.5, "ring validation")
    frame.drawing.text(x + 8, frame.top + 12, suggested, "strong halo")
    return frame.drawing.markup()
