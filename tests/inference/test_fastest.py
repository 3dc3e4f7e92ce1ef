"""The fastest engine of a Keras model, and the one that serves a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from housetrain.inference import fastest
from housetrain.inference.fastest import (
    Calibration,
    batch_of,
    fastest_engine,
    keras_engine,
    serving_engine,
    serving_precision,
)
from housetrain.system import store


def test_large_models_are_served_in_bfloat16_unless_the_recipe_says_float32() -> None:
    assert serving_precision(fastest.LARGE) == "fp32" and serving_precision(fastest.LARGE + 1) == "bf16"
    assert serving_precision(fastest.LARGE + 1, precision="float32") == "fp32"


def test_a_run_is_loaded_once_and_a_closed_engine_does_not_close_the_next(digits: Any) -> None:
    facts = {"classes": 10, "input_shape": digits.run.spec.shape}
    first = keras_engine(digits.run.model_path, **facts)
    model = first.model
    first.close()
    second = keras_engine(digits.run.model_path, **facts)
    assert second.model is model
    images = np.asarray(digits.prepared.validation.images)
    assert second.run(images[:2]).shape == (2, 10)
    assert serving_engine(digits.run.model_path, **facts).model is model, "a small model is served by Keras"


def test_many_images_use_openvino_where_it_agrees_with_keras(digits: Any) -> None:
    pytest.importorskip("openvino")
    model = digits.run.load_model()
    images = np.asarray(digits.prepared.validation.images)[:8]
    engine = fastest_engine(model, precision="float32", sample=images)
    assert engine.name.startswith("OpenVINO") and batch_of(engine) == 16
    np.testing.assert_allclose(engine.run(images), model.predict(images, verbose=0), atol=1e-4)
    engine.close()


def test_8_bits_are_used_where_they_are_accurate_and_their_ranges_are_kept(digits: Any, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model, file = digits.run.load_model(), tmp_path / "features" / "ranges.json"
    images = np.asarray(digits.prepared.validation.images)
    calibration = Calibration(file, images[:64])
    engine = fastest_engine(model, precision="int8", sample=images[:8], calibration=calibration)
    assert (engine.name, engine.precision) == ("OpenVINO int8", "int8")
    expected = model.predict(images, verbose=0)
    assert 0 < np.abs(engine.run(images) - expected).max() < 0.2
    assert np.mean(engine.run(images).argmax(axis=1) == expected.argmax(axis=1)) > 0.97
    before = file.read_bytes()
    other = fastest_engine(model, precision="int8", calibration=Calibration(file, images[:1]))
    assert file.read_bytes() == before and np.array_equal(other.run(images[:4]), engine.run(images[:4]))
    count = len(store.read_object(file)["ranges"])
    for wrong in ([[0, 1]], 5, [1] * count, [[0, "a"]] * count, [[0, 1, 2]] * count, [[0, 1e400]] * count):
        file.write_text(json.dumps({"ranges": wrong}))  # of another model, or damaged: measured again
        fastest_engine(model, precision="int8", calibration=calibration)
        assert store.read_json(file) == json.loads(before), wrong
    assert fastest_engine(model, precision="int8").precision != "int8", "without images there are no ranges"


def test_8_bits_that_are_not_accurate_are_not_used(digits: Any, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model, images = digits.run.load_model(), np.asarray(digits.prepared.validation.images)
    black = Calibration(tmp_path / "ranges.json", np.zeros_like(images[:8]))  # every value of an image is out of range
    engine = fastest_engine(model, precision="int8", sample=images[:8], calibration=black)
    assert engine.precision != "int8"
    np.testing.assert_allclose(engine.run(images), model.predict(images, verbose=0), atol=0.05)
