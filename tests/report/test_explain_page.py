"""Where a model looked: the numbers are right on models whose answer is known, and the images are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import housetrain as ht
from housetrain.errors import DecodeError, ModelError
from housetrain.evaluation import saliency
from housetrain.report import explain_page


def spotter(*, classes: int = 2, side: int = 24) -> Any:
    """A net that says "second class" where there is something bright: one convolution that copies brightness."""
    import keras

    layers = keras.layers
    inputs = keras.Input((side, side, 1), dtype="uint8")
    x = layers.Rescaling(1 / 255, name="scale")(inputs)
    ones = keras.initializers.Constant(1 / 9)
    x = layers.Conv2D(1, 3, padding="same", activation="relu", kernel_initializer=ones, name="conv")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    units, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    x = layers.Dense(units, activation=activation, kernel_initializer=keras.initializers.Constant(40.0), name="out")(x)
    model = keras.Model(inputs, x)
    kernel = np.linspace(-40, 40, units)[None] if units > 1 else np.array([[40.0]])
    model.get_layer("out").set_weights([kernel, np.full(units, -1.0 if units == 1 else 0.0)])
    return model


@pytest.fixture
def spot() -> np.ndarray:
    """Dark but for a bright place at rows 4 to 9, columns 14 to 19."""
    image = np.zeros((24, 24, 1), np.uint8)
    image[4:10, 14:20] = 250
    return image


@pytest.mark.parametrize("classes", [2, 3])
def test_grad_cam_is_hot_where_the_answer_comes_from(spot: np.ndarray, classes: int) -> None:
    heat = saliency.grad_cam(spotter(classes=classes), spot, classes - 1)
    assert heat is not None and heat.shape == (12, 12) and heat.max() == 1
    assert heat[2:5, 7:10].min() > 0.5 and heat[6:].max() == 0 and heat[:, :5].max() == 0
    against = saliency.grad_cam(spotter(classes=classes), spot, 0)
    assert against is not None and against.max() == 0, "nothing there speaks for the other class"


def test_grad_cam_is_the_gradient_of_the_score(spot: np.ndarray) -> None:
    """Against differences: the score moves by what the formula says when a channel is scaled."""
    import keras

    rng = np.random.default_rng(0)
    layers = keras.layers
    inputs = keras.Input((24, 24, 1), dtype="uint8")
    x = layers.Conv2D(5, 3, strides=2, activation="tanh")(layers.Rescaling(1 / 255)(inputs))
    outputs = layers.Dense(3, activation="softmax")(layers.Dense(7, activation="tanh")(layers.Flatten()(x)))
    model = keras.Model(inputs, outputs)
    model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    found = saliency.grad_cam(model, spot, 1)
    conv, hidden, out = (layer for layer in model.layers if layer.weights)
    maps = keras.ops.convert_to_numpy(keras.Model(inputs, conv.output)(spot[None]))[0].astype(np.float64)

    def score(values: np.ndarray) -> float:
        (kernel, bias), (last, last_bias) = hidden.get_weights(), out.get_weights()
        return float((np.tanh(values.reshape(-1) @ kernel + bias) @ last + last_bias)[1])

    weights = []
    for channel in range(maps.shape[2]):  # the mean gradient of a channel: move it as a whole
        moved = maps.copy()
        moved[:, :, channel] += 1e-4
        weights.append((score(moved) - score(maps)) / 1e-4)
    heat = np.maximum(maps @ np.array(weights), 0)
    assert found is not None
    np.testing.assert_allclose(found, heat / heat.max(), atol=2e-3)


def test_occlusion_is_hot_where_covering_hurts(spot: np.ndarray) -> None:
    model = spotter()

    def probabilities(batch: Any) -> Any:
        second = np.asarray(model(batch))
        return np.concatenate([1 - second, second], axis=1)

    heat, left = saliency.occlusion(probabilities, spot, 1)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 4 <= row < 10 and 14 <= column < 20
    assert heat[:, :8].max() < 0.2 and left < probabilities(spot[None])[0, 1]


def test_feature_maps_are_those_of_every_convolution_and_pool(spot: np.ndarray) -> None:
    model = spotter()
    conv, pool = saliency.feature_maps(model, spot)
    assert (conv.name, conv.kind, conv.values.shape) == ("conv", "convolution", (24, 24, 1))
    assert (pool.name, pool.kind, pool.values.shape) == ("pool", "pool", (12, 12, 1))
    expected = cv2.blur(spot[:, :, 0].astype(np.float32) / 255, (3, 3), borderType=cv2.BORDER_CONSTANT)
    np.testing.assert_allclose(conv.values[:, :, 0], expected, atol=1e-5)
    filters = saliency.first_filters(model)
    assert filters is not None and filters.shape == (3, 3, 1, 1)


def test_a_net_without_convolutions_has_no_map_of_places() -> None:
    import keras

    inputs = keras.Input((8, 8, 1), dtype="uint8")
    x = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    model, image = keras.Model(inputs, x), np.zeros((8, 8, 1), np.uint8)
    assert saliency.grad_cam(model, image, 0) is None
    assert saliency.feature_maps(model, image) == [] and saliency.first_filters(model) is None


def test_a_net_of_keras_applications_is_explained() -> None:
    """A flat transfer model: preprocessing, a net without its top, mean, Dense. No weights are needed for shapes."""
    import keras

    inputs = keras.Input((72, 72, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    base = keras.applications.Xception(weights=None, include_top=False, input_tensor=x)
    base.trainable = False
    out = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(base.output))
    model = keras.Model(inputs, out)
    image = np.random.default_rng(0).integers(0, 256, (72, 72, 3), dtype=np.uint8)
    heat = saliency.grad_cam(model, image, 0)
    assert heat is not None and heat.shape == (3, 3)
    assert len(saliency.feature_maps(model, image)) > 40


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_a_run_is_explained_and_its_report_shows_it(model: str, tmp_path: Path) -> None:
    images = ht.sample("digits", tmp_path / "digits")
    prepared = ht.prepare(images, tmp_path / "prepared", image_size=16, color_mode="grayscale")
    options = {"conv": 2, "nodes": 8} if model == "cnn" else {}
    run = ht.train(prepared, ht.Recipe.of(model, epochs=1, **options), tmp_path / "run")
    photo = sorted(images.rglob("*.png"))[0]
    ht.write_report(run)
    assert 'id="explain"' not in (run.folder / "report.html").read_text()
    made = explain_page.explain(run, [photo])
    (one,) = made.photos
    folder = made.folder / one.folder
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    if model == "cnn":
        layers = ["layers/01-conv_1.png", "layers/02-pool_1.png", "layers/03-conv_2.png", "layers/04-pool_2.png"]
        assert names == {"photo.png", "grad-cam.png", "occlusion.png", *layers}
        assert (made.folder / "filters.png").is_file()
    else:
        assert names == {"photo.png", "occlusion.png"} and "no convolution" in made.in_words()[-1]
    for path in folder.rglob("*.png"):
        assert cv2.imread(str(path)).size > 0
    report = (run.folder / "report.html").read_text()
    assert 'id="explain"' in report and report.count("data:image/png") >= len(names)
    page = made.page.read_text()
    assert "http" not in page.replace("http-equiv", "") and photo.name in page
    assert json.loads(json.dumps(made.to_json()))["photos"][0]["label"] == one.label
    elsewhere = explain_page.explain(run, [photo], tmp_path / "elsewhere", name="7")
    assert elsewhere.photos[0].name == "7" and elsewhere.page.is_file()
    with pytest.raises(ModelError, match="no such class"):
        explain_page.explain(run, [photo], name="cow")
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(DecodeError):
        explain_page.explain(run, [tmp_path / "bad.png"])


def test_heat_is_red_and_cold_is_the_photo() -> None:
    photo = np.full((40, 40, 3), 100, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    drawn = explain_page.overlay(photo, heat)
    assert tuple(drawn[39, 39]) == (100, 100, 100)
    assert drawn[0, 0, 0] > 110 > 60 > drawn[0, 0, 2]
