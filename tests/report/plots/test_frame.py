"""The axes of a plot: every label is inside the drawing."""

from __future__ import annotations

import pytest
from drawings import across, parsed

from housetrain.report import page
from housetrain.report.plots import calibration
from housetrain.report.plots.frame import Frame, Labels, log_numbers, numbers, percents, short
from housetrain.report.plots.svg import LARGEST_TEXT, ticks

AXES: list[tuple[float, float, Labels]] = [
    (0.0, 1.0, percents),
    (0.86, 0.955, percents),
    (0.99, 0.9999, percents),
    (0.98765, 0.98771, percents),
    (0.0, 2.5, numbers),
    (0.4, 1.1, numbers),
    (0.151, 0.158, numbers),
    (0.0, 3e-7, numbers),
    (0.0, 40_000.0, numbers),
    (0.0, 3e9, numbers),
    (0.5, 0.5, numbers),
]


@pytest.mark.parametrize(("low", "high", "text"), AXES)
def test_every_label_of_the_vertical_axis_is_inside_the_drawing(low: float, high: float, text: Labels) -> None:
    frame = Frame("A plot.", (0.0, 1.0), (low, high), y_text=text)
    frame.draw_y_axis()
    labels = list(parsed(frame.drawing.markup()).iter("text"))
    assert labels
    for label in labels:
        left, right = across(label)
        assert left >= 0 and right < frame.left, label.text
        assert 12 <= float(label.get("y", 0)) <= frame.drawing.height
    assert frame.x(0.0) == frame.left <= 100


@pytest.mark.parametrize(("low", "high", "text"), AXES)
@pytest.mark.parametrize("count", [4, 5, 8])
def test_the_labels_of_an_axis_have_one_number_of_decimals_and_are_exact(
    low: float, high: float, text: Labels, count: int
) -> None:
    values = ticks(low, high, count=count)
    labels = [label.removesuffix(" %") for label in text(values)]
    plain = [label for label in labels if "e" not in label]
    assert len({len(label.partition(".")[2]) for label in plain}) <= 1
    scale = 100 if text is percents else 1
    assert [float(label) for label in labels] == pytest.approx([scale * value for value in values], rel=1e-9, abs=1e-12)


def test_labels_as_people_read_them() -> None:
    assert numbers([0.5, 0.75, 1.0]) == ["0.50", "0.75", "1.00"]
    assert numbers([1.0, 2.0]) == ["1", "2"] and numbers([0.0, 40_000.0]) == ["0", "40000"]
    assert percents([0.95, 0.975, 1.0]) == ["95.0 %", "97.5 %", "100.0 %"] and percents([0.2, 0.4]) == ["20 %", "40 %"]
    assert percents([0.07, 0.14, 0.28, 0.29, 0.57, 0.58]) == ["7 %", "14 %", "28 %", "29 %", "57 %", "58 %"]
    assert numbers([0.0, 5e-8, 1e-7]) == ["0", "5e-8", "1e-7"] and numbers([0.0, 1e9, 2e10]) == ["0", "1e9", "2e10"]
    assert numbers([0.1 + 0.2, 1.0]) == ["0.3", "1.0"] and numbers([]) == []


def test_the_last_label_of_the_horizontal_axis_is_inside_the_drawing() -> None:
    for values, text in (([0.0, 0.5, 1.0], percents), ([0.0, 12_345.0], numbers)):
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


def test_the_labels_of_a_logarithmic_axis_have_one_form() -> None:
    assert log_numbers([1e-4, 1e-3, 1.0]) == ["0.0001", "0.001", "1"]
    assert log_numbers([1e-5, 1e-4, 1e-3, 1.0, 10.0]) == ["1e-5", "1e-4", "1e-3", "1e0", "1e1"]
    assert log_numbers([2.5e-7, 0.1]) == ["2.5e-7", "1e-1"] and log_numbers([]) == []
    assert short("1.2e-05") == "1.2e-5" and short("1e+10") == "1e10"
    assert short("1e+00") == "1e0" and short("0.5") == "0.5"
