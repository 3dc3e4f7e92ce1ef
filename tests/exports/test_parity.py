"""Parity: what is compared, and when an exported model is not kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import housetrain as ht
from housetrain.errors import ModelError
from housetrain.exports import parity
from housetrain.inference import formats
from housetrain.inference.engine import Precision
from housetrain.inference.formats import FORMATS


def test_a_model_that_differs_from_keras_is_not_kept(
    digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exported model is worse than its precision allows: no bundle; and a run's own bundle goes without it."""
    monkeypatch.setitem(parity.LIMITS, "fp32", (-1.0, 1.0, 0.0))
    with pytest.raises(ModelError, match="differs too much from the Keras model"):
        ht.export(digits.run, tmp_path / "new", format="openvino")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()

    def broken(*_: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setitem(formats.FORMATS, "openvino", dataclasses.replace(FORMATS["openvino"], convert=broken))
    about = json.loads((ht.export(digits.run, tmp_path / "own").folder / "bundle.json").read_bytes())
    assert [entry["format"] for entry in about["models"]] == ["keras"] and "openvino" in about["left_out"]
    assert not list((tmp_path / "own").glob("making*"))


class Constant:
    """An engine that returns the same probabilities for every image."""

    name, precision, parallel = "constant", "fp32", 1

    def __init__(self, *row: float) -> None:
        self.row = row

    def run(self, images: np.ndarray) -> np.ndarray:
        return np.tile(np.array(self.row, np.float32), (len(images), 1))

    def close(self) -> None:
        """Nothing to release."""


def compared(engine: Constant, expected: tuple[float, ...], *, precision: Precision = "fp32") -> parity.Parity:
    reference = parity.Reference(
        np.zeros((40, 2, 2, 1), np.uint8), np.tile(np.array(expected, np.float32), (40, 1)), np.zeros(40, np.int64), "x"
    )
    row, loaded = parity.compare(
        lambda: engine, reference, classes=len(expected), format="toy", precision=precision, size=1_500_000, timed=False
    )
    assert loaded is engine
    return row


def test_a_row_holds_the_largest_difference_and_the_accuracy_of_both() -> None:
    row = compared(Constant(0.9, 0.1), (0.9, 0.1))
    assert (row.difference, row.agreement, row.accuracy, row.keras_accuracy, row.good) == (0.0, 1.0, 1.0, 1.0, True)
    assert row.must_be_good() is row and row.images == 40
    other = compared(Constant(0.25), (0.5, 0.5))
    assert other.difference == pytest.approx(0.25) and other.accuracy == 1.0 and not other.good
    wrong = compared(Constant(0.1, 0.9), (0.9, 0.1), precision="int8")
    assert wrong.agreement == 0.0 and wrong.accuracy == 0.0
    with pytest.raises(ModelError, match=r"toy int8 model differs too much.*agreement='0.0 %'"):
        wrong.must_be_good()
    assert parity.rows([row])[0][:2] == ["toy fp32", "1.50 MB"]


@pytest.mark.parametrize("row", [(np.nan, 0.5), (np.inf, 0.0)])
def test_what_is_no_probability_is_refused(row: tuple[float, float]) -> None:
    with pytest.raises(ModelError, match="does not return probabilities"):
        compared(Constant(*row), (0.5, 0.5))
