"""A new format is one file in `housetrain.inference.formats`; export, benchmark, card and predict then know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import housetrain as ht
from housetrain.errors import ModelError
from housetrain.exports.bundle import benchmark
from housetrain.inference import formats

TOY = '''
"""Toy: the Keras file under another name."""

import dataclasses

from housetrain.errors import ModelError
from housetrain.inference.formats import keras


def convert(model, path, precision, calibration):
    model.save(path.with_suffix(".keras"))
    path.write_bytes(b"TOY" + path.with_suffix(".keras").read_bytes())
    path.with_suffix(".keras").unlink()


def check(path, trusted=False):
    if path.read_bytes()[:3] != b"TOY":
        raise ModelError("The model is refused: not a toy", path=str(path))


def load(path, precision="fp32", features=False):
    plain = path.with_suffix(".keras")
    plain.write_bytes(path.read_bytes()[3:])
    engine = keras.load(plain)
    plain.unlink()
    engine.name = "Toy"
    return engine


FORMAT = dataclasses.replace(
    keras.FORMAT, name="toy", title="Toy", file="model.toy", convert=convert, check=check, load=load,
    contents={"model.toy": "a toy"}, snippet=("import toy", "probabilities = toy.run(pixels)[0]"),
)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more file in the package, as a new format would be."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(folder)])
    found = formats.find_formats()
    assert list(found) == [*formats.FORMATS, "toy"]
    monkeypatch.setitem(formats.FORMATS, "toy", found["toy"])


def test_a_file_is_all_that_a_format_needs(toy: None, digits: Any, tmp_path: Path) -> None:
    made = ht.export(digits.run, tmp_path / "toy", format="toy")
    assert made.parity[-1].format == "toy" and made.parity[-1].good
    card = (made.folder / "README.md").read_text()
    assert "| `model.toy` | a toy |" in card and "toy.run(pixels)" in card
    predictor = ht.Predictor.load(made.folder)
    assert predictor.engine.name == "Toy" and predictor.about["engine"] == "toy"
    images = np.asarray(digits.prepared.test.images)
    expected = ht.Predictor.load(digits.run, engine="keras").probabilities(images)
    np.testing.assert_allclose(predictor.probabilities(images), expected, atol=1e-6)
    found = benchmark(digits.run, formats=["toy"])
    assert [row.format for row in found.rows] == ["keras", "toy"] and found.left_out == {}


def test_its_check_and_its_precisions_are_asked(toy: None, digits: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.toy"
    path.write_bytes(b"no")
    with pytest.raises(ModelError, match="not a toy"):
        formats.format_named("toy").open(path, classes=10, input_shape=(8, 8, 1))
    with pytest.raises(ModelError, match="toy does not support int8"):
        ht.export(digits.run, tmp_path / "toy", format="toy", precision="int8")
    with pytest.raises(ModelError, match=r"Unknown model format.*keras"):
        ht.export(digits.run, tmp_path / "toy", format="tomorrow")
