"""The lines of a training: one form of numbers, short enough for a narrow terminal."""

from __future__ import annotations

import re

import pytest

from housetrain.cli.event_texts import EventTexts, _strength


def test_a_regularization_strength_is_one_line_of_60_columns() -> None:
    row = {"l2": 3e-5, "loss": 0.0, "accuracy": 1.0, "val_loss": 0.00051, "val_accuracy": 1.0, "seconds": 0.0}
    [line] = EventTexts().progress(15, 18, {"row": {**row, "images_per_s": 5e4}, "best": True})
    assert line == "strength 15/18  l2 3e-5  val_loss 0.0005  best so far" and len(line) <= 60


@pytest.mark.parametrize("value", [1e2, 3e1, 1.0, 0.3, 1e-3, 3e-4, 1e-5, 1e-10])
def test_all_strengths_have_one_form(value: float) -> None:
    assert re.fullmatch(r"\d(\.\d)?e-?\d+", _strength(value)) and float(_strength(value)) == value
