"""Whether an image is unlike the training images: at its nominal rate, against a computation by hand, and in models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from housetrain.errors import CorruptError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.engine import LoadedModel, Port
from housetrain.inference.formats import FORMATS
from housetrain.inference.novelty import FILE, NEIGHBOR, Novelty, NoveltyEngine, with_novelty
from housetrain.inference.predictor import Predictor


def features(count: int, seed: int, *, width: int = 16, away: float = 0.0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (random.standard_normal((count, width)) * 0.15 + np.eye(width)[0] + away * np.eye(width)[1]).astype(
        np.float32
    )


def test_false_alarms_are_5_percent_and_other_images_are_found() -> None:
    alarms, found = [], []
    for seed in range(60):
        novelty = Novelty.of(features(300, seed), features(99, 1000 + seed))
        assert novelty is not None
        alarms.append(np.mean(novelty.distances(features(100, 2000 + seed)) > novelty.threshold))
        found.append(np.mean(novelty.distances(features(100, 3000 + seed, away=-3.0)) > novelty.threshold))
    assert 0.035 <= np.mean(alarms) <= 0.065, "5 %, with a standard error of 0.4 %"
    assert np.mean(found) > 0.95


def test_the_distance_is_that_of_the_fifth_nearest() -> None:
    train, new = features(40, 0), features(7, 1)
    novelty = Novelty.of(train, features(30, 2))
    assert novelty is not None and novelty.width == 16

    def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    expected = np.sort(1 - unit(new) @ unit(train).T, axis=1)[:, NEIGHBOR - 1]
    np.testing.assert_allclose(novelty.distances(new), expected, atol=2e-3)
    assert len(novelty.distances(new[:0])) == 0
    many = Novelty.of(features(2500, 3), features(30, 4))
    assert many is not None and len(many.features) == 1000


def test_too_few_images_say_nothing() -> None:
    assert Novelty.of(features(300, 0), features(18, 1)) is None, "19 images are the fewest for 5 %"
    assert Novelty.of(features(300, 0), features(19, 1)) is not None
    assert Novelty.of(features(9, 0), features(50, 1)) is None


def test_it_survives_a_file_and_refuses_others(tmp_path: Path) -> None:
    novelty = Novelty.of(features(50, 0), features(30, 1))
    assert novelty is not None and Novelty.of_run(tmp_path) is None
    novelty.save(tmp_path)
    again = Novelty.of_run(tmp_path)
    assert again is not None and again.threshold == pytest.approx(novelty.threshold)
    np.testing.assert_array_equal(again.features, novelty.features)
    for arrays in (
        {"features": np.zeros((50, 4), np.float32), "threshold": np.array(0.5, np.float32)},
        {"features": np.zeros((2, 4), np.float16), "threshold": np.array(0.5, np.float32)},
        {"features": np.full((50, 4), np.nan, np.float16), "threshold": np.array(0.5, np.float32)},
        {"features": np.zeros((50, 4), np.float16), "threshold": np.array([0.5], np.float32)},
        {"features": np.zeros((50, 4), np.float16)},
        {"features": np.array([object()] * 50), "threshold": np.array(0.5, np.float32)},
    ):
        np.savez(tmp_path / FILE, **arrays)  # type: ignore[arg-type]
        with pytest.raises(CorruptError):
            Novelty.of_run(tmp_path)
    (tmp_path / FILE).write_bytes(b"PK")
    with pytest.raises(CorruptError):
        Novelty.of_run(tmp_path)


# ------------------------------------------------------------------------------------------------- in models
def _model(units: int) -> object:
    import keras

    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(6, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    activation = "sigmoid" if units == 1 else "softmax"
    return keras.Model(inputs, keras.layers.Dense(units, activation=activation, name="probability")(x))


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("name", ["keras", "openvino", "onnx"])
def test_a_model_also_returns_the_input_of_its_last_layer(name: str, units: int, tmp_path: Path) -> None:
    import keras

    if not FORMATS[name].installed:
        pytest.skip(f"{name} is not installed")
    model, images = _model(units), np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    pooled = keras.Model(model.input, model.layers[-1].input)  # type: ignore[attr-defined]
    model.predict(images, verbose=0)  # type: ignore[attr-defined]  # Keras exports a model that was called
    FORMATS[name].write(model, tmp_path)
    path = tmp_path / FORMATS[name].file
    wanted = {"classes": max(2, units), "input_shape": (8, 8, 3)}
    plain = FORMATS[name].open(path, **wanted)  # type: ignore[arg-type]
    both = FORMATS[name].open(path, features=True, **wanted)  # type: ignore[arg-type]
    assert (plain.features, both.features) == (None, 6)
    outputs, found = both.run_with_features(images)
    np.testing.assert_allclose(outputs, plain.run(images), atol=1e-5)
    np.testing.assert_allclose(both.run(images), outputs, atol=1e-6)
    np.testing.assert_allclose(found, pooled.predict(images, verbose=0), atol=1e-4)
    novelty = Novelty.of(np.random.default_rng(0).random((50, 6)), np.random.default_rng(1).random((30, 6)))
    assert novelty is not None
    measured = with_novelty(both, novelty)
    assert isinstance(measured, NoveltyEngine)
    np.testing.assert_allclose(measured.run(images)[:, :-1], outputs, atol=1e-6)
    np.testing.assert_allclose(measured.run(images)[:, -1], novelty.distances(found), atol=1e-4)
    assert with_novelty(plain, novelty) is plain and with_novelty(both, None) is both
    predictor = Predictor(measured, InputSpec(height=8, width=8, color_mode="rgb"), classes="abc"[: max(2, units)])
    given = predictor.predict(images[0])
    assert given.novel == bool(novelty.distances(found[:1])[0] > novelty.threshold)
    assert given.to_json()["novel"] == given.novel
    assert predictor.probabilities(images).shape == (5, max(2, units))
    assert predictor.probabilities(images[:0]).shape == (0, max(2, units))


def test_a_wrong_width_is_not_measured() -> None:
    engine = LoadedModel(
        lambda images: [np.ones((len(images), 2)), np.ones((len(images), 6))],
        "fake",
        precision="fp32",
        model=None,
        outputs=[Port((None, 2), np.float32), Port((None, 6), np.float32)],
    )
    novelty = Novelty.of(features(50, 0), features(30, 1))
    assert with_novelty(engine, novelty) is engine
