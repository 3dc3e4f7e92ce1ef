"""Saliency: correct on models whose answer is known."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from housetrain.evaluation import saliency


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
