"""Curves of a training: the table, its description, its drawing."""

from __future__ import annotations

from typing import Any

import pytest
from drawings import across, of_class, texts

from housetrain.report.plots import curves, frame


def history(val_loss: list[float | None]) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "loss": 1 / epoch, "accuracy": 1 - 0.4 / epoch, "val_loss": loss, "val_accuracy": 0.8}
        for epoch, loss in enumerate(val_loss, 1)
    ]


def test_the_best_epoch_is_that_of_the_smallest_validation_loss_unless_said() -> None:
    rows = history([0.5, 0.3, 0.4])
    assert curves.curve_table(rows).best == 2
    assert curves.curve_table(rows, best=3).best == 3
    assert curves.curve_table(rows, best=9).best == 2, "an epoch that is not there is not believed"
    assert curves.curve_table(rows).at("val_loss", 3) == 0.4
    assert curves.curve_table(history([None, None])).best is None


def test_curves_mark_the_best_epoch_and_shade_overfitting() -> None:
    table = curves.curve_table(history([0.5, 0.3, 0.4, 0.5, 0.6]), overfitting=3)
    for name in ("loss", "accuracy"):
        drawing = curves.draw_curves(table, name)  # type: ignore[arg-type]
        [shade] = of_class(drawing, "overfit")
        [ring] = of_class(drawing, "ring")
        assert float(shade.get("x", 0)) > float(ring.get("cx", 0)), "it began after the best epoch"
        assert any("at epoch 2" in text for text in texts(drawing))
        assert len(of_class(drawing, "curve")) == 2
    assert of_class(curves.draw_curves(curves.curve_table(history([0.5, 0.3])), "loss"), "overfit") == []


@pytest.mark.parametrize("losses", [[0.5], [None], [0.5, None, 0.4], [0.3] * 4, [0.4 + 0.1 / n for n in range(1, 400)]])
def test_curves_of_any_history_can_be_drawn(losses: list[float | None]) -> None:
    table = curves.curve_table(history(losses))
    for name in ("loss", "accuracy"):
        width = frame.WIDTH
        for dot in of_class(curves.draw_curves(table, name), "dot"):  # type: ignore[arg-type]
            assert 0 <= float(dot.get("cx", -1)) <= width and 0 <= float(dot.get("cy", -1)) <= frame.HEIGHT


def test_the_axis_of_a_training_that_runs_reaches_its_planned_epochs() -> None:
    table = curves.curve_table(history([0.5, 0.3]))
    dots = of_class(curves.draw_curves(table, "loss", epochs=50), "dot")
    assert max(float(dot.get("cx", 0)) for dot in dots) < 60, "two of fifty epochs"
    assert curves.draw_curves(curves.curve_table([]), "loss", epochs=5), "before the first epoch"


def test_the_description_names_the_best_epoch_and_suggests_longer_training() -> None:
    rows = [{"epoch": n, "loss": 1 / n, "val_loss": 1 / n, "accuracy": 0.5, "val_accuracy": 0.6} for n in (1, 2, 3)]
    text = curves.describe_training(curves.curve_table(rows), rows)
    assert "best epoch 3" in text and "training longer" in text and "60.0 %" in text
    assert curves.describe_training(curves.curve_table([]), []) == "No epoch is finished yet."


@pytest.mark.parametrize("best", [1, 2, 20, 39, 40])
@pytest.mark.parametrize("accuracy", [0.948, 1.0])
def test_the_best_value_is_inside_the_drawing_at_every_epoch(best: int, accuracy: float) -> None:
    rows = [row | {"val_accuracy": accuracy} for row in history([0.5 - 0.01 * n for n in range(40)])]
    table = curves.curve_table(rows, best=best)
    for name in ("loss", "accuracy"):
        [label] = of_class(curves.draw_curves(table, name), "halo")  # type: ignore[arg-type]
        left, right = across(label)
        assert left >= 0 and right <= frame.WIDTH, label.text
