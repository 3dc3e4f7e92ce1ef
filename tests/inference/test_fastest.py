"""The fastest engine of a Keras model, and the one that serves a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from housetrain.inference import fastest
from housetrain.inference.fastest import batch_of, fastest_engine, keras_engine, serving_engine, serving_precision


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
