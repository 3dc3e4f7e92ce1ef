"""The axes of a plot: every label is inside the drawing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drawings import across, parsed

from housetrain.report import page
from housetrain.report.plots import calibration
from housetrain.report.plots.frame import Frame, percent
from housetrain.report.plots.svg import LARGEST_TEXT


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.0, 1.0, percent),
        (0.86, 0.955, percent),
        (0.99, 0.9999, percent),
        (0.98765, 0.98771, percent),
        (0.0, 2.5, "{:g}".format),
        (0.151, 0.158, "{:g}".format),
        (0.0, 3e-7, "{:g}".format),
        (0.0, 40_000.0, "{:g}".format),
        (0.5, 0.5, "{:g}".format),
    ],
)
def test_every_label_of_the_vertical_axis_is_inside_the_drawing(
    low: float, high: float, text: Callable[[float], str]
) -> None:
    frame = Frame("A plot.", (0.0, 1.0), (low, high), y_text=text)
    frame.draw_y_axis()
    labels = list(parsed(frame.drawing.markup()).iter("text"))
    assert labels
    for label in labels:
        left, right = across(label)
        assert left >= 0 and right < frame.left, label.text
        assert 12 <= float(label.get("y", 0)) <= frame.drawing.height
    assert frame.x(0.0) == frame.left <= 100


def test_the_last_label_of_the_horizontal_axis_is_inside_the_drawing() -> None:
    for values, text in (([0.0, 0.5, 1.0], percent), ([0.0, 12_345.0], "{:g}".format)):
        frame = Frame("A plot.", (values[0], values[-1]), (0.0, 1.0))
        frame.draw_x_axis("", values, text)
        for label in parsed(frame.drawing.markup()).iter("text"):
            left, right = across(label)
            assert left >= 0 and right <= frame.drawing.width, label.text


def test_the_counts_of_a_histogram_are_inside_the_drawing() -> None:
    table = calibration.Confidence((0.0, 0.5, 1.0), (3, 1_234_567), (1, 2))
    [count] = [label for label in parsed(calibration.draw_confidence(table)).iter("text") if label.text == "1,234,567"]
    assert across(count)[0] >= 0


def test_no_text_of_a_page_is_larger_than_the_margins_are_made_for() -> None:
    style = (page.TEMPLATES / "report.css").read_text(encoding="utf-8")
    assert f"svg:not(.fixed) {{ font-size: {LARGEST_TEXT}px; }}" in style
