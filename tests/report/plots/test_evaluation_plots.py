"""The tables that are drawn, and that a drawing shows its table, safely and at every size."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from housetrain.evaluation import metrics
from housetrain.evaluation.evaluation import Answer, ClassScores
from housetrain.report.plots import bars, evaluation_plots, svg

HOSTILE = "<script>alert('x')</script>\n&amp;\u202e\udce9"


def parsed(drawing: Any) -> ET.Element:
    """Every drawing must be well-formed, named, and of finite numbers."""
    root = ET.fromstring(str(drawing))
    assert root.get("role") == "img" and root.get("aria-label")
    assert "nan" not in str(drawing) and "inf" not in str(drawing)
    return root


def texts(drawing: Any) -> list[str]:
    return [element.text or (element[0].tail if len(element) else "") or "" for element in parsed(drawing).iter("text")]


def of_class(drawing: Any, name: str) -> list[ET.Element]:
    return [element for element in parsed(drawing).iter() if name in (element.get("class") or "").split()]


def history(val_loss: list[float | None]) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "loss": 1 / epoch, "accuracy": 1 - 0.4 / epoch, "val_loss": loss, "val_accuracy": 0.8}
        for epoch, loss in enumerate(val_loss, 1)
    ]


# ------------------------------------------------------------------------------------------------- svg
@given(some.floats(-1e4, 1e4), some.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low: float, width: float) -> None:
    found = svg.ticks(low, low + width)
    assert 1 <= len(found) <= 11
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)
    steps = np.diff(found)
    if len(steps):
        mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
        assert any(math.isclose(mantissa, nice, rel_tol=1e-3) for nice in (1, 2, 2.5, 5, 10))


def test_ticks_of_nothing() -> None:
    assert svg.ticks(3.0, 3.0) == [3.0]


def test_text_is_escaped_and_control_characters_are_seen() -> None:
    drawing = svg.Drawing(10, 10, label=HOSTILE)
    drawing.text(1, 1, HOSTILE, tip=HOSTILE)
    drawing.rect(1, 1, 2, 2, "bar", tip=HOSTILE)
    root = parsed(drawing.markup())
    assert {element.tag for element in root.iter()} == {"svg", "text", "title", "rect"}
    assert "\n" not in str(drawing.markup()) and "\\n" in str(drawing.markup()) and "\\u202e" in str(drawing.markup())


@pytest.mark.parametrize(("text", "room"), [("short", 100), ("a name that is much too long for this", 80)])
def test_a_long_name_keeps_its_begin_and_its_end(text: str, room: float) -> None:
    cut = svg.shorten(text, room)
    assert svg.text_width(cut) <= room + 12
    assert cut[0] == text[0] and cut[-1] == text[-1] and ("…" in cut) == (cut != text)


# ------------------------------------------------------------------------------------------------- curves
def test_the_best_epoch_is_that_of_the_smallest_validation_loss_unless_said() -> None:
    rows = history([0.5, 0.3, 0.4])
    assert evaluation_plots.curve_table(rows).best == 2
    assert evaluation_plots.curve_table(rows, best=3).best == 3
    assert evaluation_plots.curve_table(rows, best=9).best == 2, "an epoch that is not there is not believed"
    assert evaluation_plots.curve_table(rows).at("val_loss", 3) == 0.4
    assert evaluation_plots.curve_table(history([None, None])).best is None


def test_curves_mark_the_best_epoch_and_shade_overfitting() -> None:
    table = evaluation_plots.curve_table(history([0.5, 0.3, 0.4, 0.5, 0.6]), overfitting=3)
    for name in ("loss", "accuracy"):
        drawing = evaluation_plots.draw_curves(table, name)  # type: ignore[arg-type]
        [shade] = of_class(drawing, "overfit")
        [ring] = of_class(drawing, "ring")
        assert float(shade.get("x", 0)) > float(ring.get("cx", 0)), "it began after the best epoch"
        assert any("at epoch 2" in text for text in texts(drawing))
        assert len(of_class(drawing, "curve")) == 2
    assert (
        of_class(evaluation_plots.draw_curves(evaluation_plots.curve_table(history([0.5, 0.3])), "loss"), "overfit")
        == []
    )


@pytest.mark.parametrize("losses", [[0.5], [None], [0.5, None, 0.4], [0.3] * 4, [0.4 + 0.1 / n for n in range(1, 400)]])
def test_curves_of_any_history_can_be_drawn(losses: list[float | None]) -> None:
    table = evaluation_plots.curve_table(history(losses))
    for name in ("loss", "accuracy"):
        width = evaluation_plots.WIDTH
        for dot in of_class(evaluation_plots.draw_curves(table, name), "dot"):  # type: ignore[arg-type]
            assert 0 <= float(dot.get("cx", -1)) <= width and 0 <= float(dot.get("cy", -1)) <= evaluation_plots.HEIGHT


# ------------------------------------------------------------------------------------------------- confusion
def test_confusion_by_hand() -> None:
    table = evaluation_plots.confusion_table(("a", "b", "c"), ((8, 2, 0), (1, 3, 0), (0, 0, 0)))
    assert table.shares[0] == (0.8, 0.2, 0.0)
    assert table.shares[2] == (0.0, 0.0, 0.0), "a class without images has no shares"
    assert table.pairs == (("a", "b", 2, 0.2), ("b", "a", 1, 0.25))
    assert texts(evaluation_plots.draw_confusion(table)).count("8") == 1


def test_with_too_many_classes_those_with_mistakes_are_kept() -> None:
    confusion = np.eye(30, dtype=int) * 5
    confusion[7, 9] = confusion[20, 3] = 2
    table = evaluation_plots.confusion_table([f"c{index}" for index in range(30)], confusion.tolist(), limit=4)
    assert table.classes == ("c3", "c7", "c9", "c20")
    assert (table.left_out, table.counts[1]) == (26, (0, 5, 2, 0))


@pytest.mark.parametrize("classes", [2, 3, 7, 10, 15, 30, 50, 100])
def test_confusion_is_legible_at_every_size(classes: int) -> None:
    random = np.random.default_rng(classes)
    counts = random.poisson(0.3, (classes, classes)) + np.eye(classes, dtype=int) * (900 if classes <= 12 else 12_000)
    names = [f"class number {index}" for index in range(classes)]
    table = evaluation_plots.confusion_table(names, counts.tolist())
    drawing = evaluation_plots.draw_confusion(table)
    root = parsed(drawing)
    assert float(root.get("width", 0)) < 1150, "fits a desktop"
    sizes = [float(text.get("font-size", 12)) for text in root.iter("text")]
    assert min(sizes) >= 7
    cells = of_class(drawing, "right") + of_class(drawing, "wrong")
    assert len(cells) == int((counts > 0).sum())
    assert len(str(drawing)) < 2_000_000
    if classes <= 12:
        assert sum(text == "900" or text == "901" or text == "902" for text in texts(drawing)) >= 1


# ------------------------------------------------------------------------------------------------- calibration
def test_reliability_points_are_the_bins_that_hold_something() -> None:
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 500)
    right = random.uniform(size=500) < sure
    table = evaluation_plots.reliability_table(metrics.calibration_bins(sure, right), classes=2)
    assert table.low == 0.5 and table.total == 500
    assert table.accuracy == pytest.approx(right.mean())
    assert table.certainty == pytest.approx(sure.mean())
    assert len(of_class(evaluation_plots.draw_reliability(table), "point")) == len(table.points) == 8
    assert evaluation_plots.reliability_table(metrics.calibration_bins(sure, right), classes=3).low == 0.0


def test_certainty_of_right_and_wrong_answers() -> None:
    def answer(probability: float, right: bool) -> Answer:
        return Answer("p", "", "a", "a" if right else "b", probability, (probability, 1 - probability))

    rows = [answer(0.5, False), answer(0.99, True), answer(1.0, True), answer(0.74, False)]
    table = evaluation_plots.certainty_table(rows, classes=2, bins=10)
    assert (table.right[-1], sum(table.right)) == (2, 2)
    assert (table.wrong[0], table.wrong[4], sum(table.wrong)) == (1, 1, 2)
    assert len(of_class(evaluation_plots.draw_certainty(table), "bar")) == 3
    evaluation_plots.draw_certainty(evaluation_plots.certainty_table(rows[1:3], classes=2))  # nothing wrong at all


# ------------------------------------------------------------------------------------------------- classes
def test_counts_keep_the_order_and_fill_what_is_missing() -> None:
    rows = bars.counts_table({"train": {"b": 3, "a": 4}, "test": {"a": 1}})
    assert [(row.name, row.train, row.validation, row.test, row.total) for row in rows] == [
        ("b", 3, 0, 0, 3),
        ("a", 4, 0, 1, 5),
    ]
    assert len(of_class(bars.draw_counts(rows), "bar")) == 3


@pytest.mark.parametrize("classes", [1, 2, 12, 41, 500])
def test_bars_of_many_classes_stay_of_bearable_height(classes: int) -> None:
    counts = {"train": {f"class {index}": index for index in range(classes)}, "validation": {}, "test": {}}
    drawing = bars.draw_counts(bars.counts_table(counts))
    scores = {f"c{index}": ClassScores.of(index, support=classes, predicted=classes) for index in range(classes)}
    for one in (drawing, bars.draw_scores(bars.score_table(scores))):
        assert float((parsed(one).get("viewBox") or "").split()[3]) < 800
    assert any("in between" in text for text in texts(drawing)) == (classes > 40)


def test_the_hardest_class_comes_first_and_one_that_never_occurs_not_at_all() -> None:
    scores = {
        "easy": ClassScores.of(9, support=10, predicted=9),
        "hard": ClassScores.of(2, support=10, predicted=11),
        "absent": ClassScores.of(0, support=0, predicted=0),
    }
    rows = bars.score_table(scores)
    assert [row.name for row in rows] == ["hard", "easy"]
    assert rows[0].interval[0] < rows[0].f1 < rows[0].interval[1]
