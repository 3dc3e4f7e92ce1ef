"""Bars: tables and drawings of counts, scores and probabilities by class."""

from __future__ import annotations

import pytest
from drawings import HOSTILE, of_class, parsed, texts

from housetrain.evaluation.evaluate import ClassScores
from housetrain.report.plots import bars


def test_counts_keep_the_order_and_fill_what_is_missing() -> None:
    rows = bars.counts_table({"train": {"b": 3, "a": 4}, "test": {"a": 1}})
    assert [(row.name, dict(row.parts), row.total) for row in rows] == [
        ("b", {"train": 3, "test": 0}, 3),
        ("a", {"train": 4, "test": 1}, 5),
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


def test_probabilities_are_as_long_as_they_are_probable() -> None:
    drawing = bars.draw_probabilities([("cat", 0.9), (HOSTILE, 0.45), ("cow", 0.0)])
    widths = [float(bar.get("width", 0)) for bar in of_class(drawing, "bar")]
    assert widths[1] == pytest.approx(widths[0] / 2) and widths[2] == 1
    assert {"90.0 %", "45.0 %", "0.0 %"} <= set(texts(drawing))
