"""The layers of a model that are replaced by compiled kernels, and the model that results."""

from __future__ import annotations

from pathlib import Path

import keras  # noqa: TID253
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID253
from kernels.kernel_arrays import PRECISIONS, needs_kernels, small_model

from housetrain.images.input_spec import InputSpec
from housetrain.kernels import replace, with_kernels
from housetrain.kernels.conv_pool import ConvPool
from housetrain.models.build import build, for_inference
from housetrain.models.keras_layers import keras_model
from housetrain.models.layers import Graph
from housetrain.models.recipe import Recipe


def gradients_of(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[float, list[np.ndarray]]:
    @tf.function
    def compute() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(y, model(x, training=True)))
        return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    loss, found = compute()
    return float(loss), [np.asarray(gradient, np.float32) for gradient in found]


@needs_kernels
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("settings", [{"conv": 2}, {"conv": 3, "dense": 1}, {"model": "deep"}], ids=str)
def test_a_net_with_kernels_is_the_same_function(precision: str, settings: dict[str, object]) -> None:
    recipe = Recipe.of("deep", dropout=0.0) if "model" in settings else Recipe.of("cnn", nodes=32, **settings)
    spec = InputSpec(24, 24, "rgb") if "model" in settings else InputSpec(24, 26, "grayscale")
    plain = build(recipe, spec=spec, classes=("cat", "dog"), precision=precision)  # type: ignore[arg-type]
    fast = with_kernels(plain)
    steps = [layer for layer in fast.layers if isinstance(layer, ConvPool)]
    assert len(steps) == len([layer for layer in plain.layers if isinstance(layer, keras.layers.Conv2D)])
    assert not any(isinstance(layer, keras.layers.MaxPooling2D) for layer in fast.layers)
    assert [v.path for v in fast.trainable_variables] == [v.path for v in plain.trainable_variables]
    for one, other in zip(fast.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)

    draw = np.random.default_rng(0)
    rough = draw.integers(0, 256, (16, 6, 6, plain.input.shape[-1]))  # things some pixels large, as in images
    x = tf.cast(tf.image.resize(rough, plain.input.shape[1:3]), tf.uint8).numpy()
    y = draw.integers(0, 2, (16, 1)).astype(np.float32)
    # Held against float32, bfloat16 is off by 0.03 to 0.16 of a gradient with TensorFlow's own operations, by 0.04 to
    # 0.19 with the kernels: of four places that hardly differ another one is soon the largest.
    near = 1e-3 if precision == "float32" else 0.25
    exact = build(recipe, spec=spec, classes=("cat", "dog"), precision="float32")
    assert np.abs(fast.predict(x, verbose=0) - exact.predict(x, verbose=0)).max() < near / 25
    (loss, found), (wanted, exactly) = gradients_of(fast, x, y), gradients_of(exact, x, y)
    assert loss == pytest.approx(wanted, abs=near / 100)
    for variable, one, right in zip(fast.trainable_variables, found, exactly, strict=True):
        assert np.linalg.norm(one - right) < near * np.linalg.norm(right), variable.path


@needs_kernels
def test_only_what_fits_is_replaced() -> None:
    assert with_kernels(odd := small_model("float32", nodes=20)) is odd
    graph = Graph()
    shared = graph.pool(graph.conv(graph.add("InputLayer", name="image", shape=(20, 20, 1)), 32))
    graph.sum(graph.activation(shared), shared)
    twice = keras_model(graph.layers, name="twice")
    assert with_kernels(twice) is twice, "the pool has two consumers"
    graph = Graph()
    strided = graph.conv(graph.add("InputLayer", name="image", shape=(20, 20, 1)), 32, strides=2)
    graph.activation(graph.pool(graph.conv(strided, 64)))
    mixed = keras_model(graph.layers, name="mixed")
    assert [type(layer).__name__ for layer in with_kernels(mixed).layers] == ["InputLayer", "Conv2D", "ConvPool"]


def test_without_kernels_the_net_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replace, "available", lambda precision: False)
    assert with_kernels(plain := small_model("float32")) is plain


@needs_kernels
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_net_with_kernels_learns_and_is_saved_as_plain_keras(precision: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    y = draw.integers(0, 2, (512, 1)).astype(np.float32)
    x = draw.integers(0, 120, (512, 24, 26, 1), dtype=np.uint8)
    x[y[:, 0] == 1, 8:14, 6:12] += 100
    shuffled = draw.permutation(y)
    accuracies = []
    for labels in (y, shuffled):
        plain = small_model(precision)
        fast = with_kernels(plain)
        fast.compile(optimizer=keras.optimizers.Adam(2e-3), loss="binary_crossentropy", metrics=["accuracy"])
        fast.fit(x[:400], labels[:400], epochs=6, batch_size=30, verbose=0)
        accuracies.append(fast.evaluate(x[400:], labels[400:], verbose=0)[1])
    assert accuracies[0] > 0.95 and accuracies[1] < 0.7, accuracies

    kept = for_inference(plain)
    kept.set_weights(fast.get_weights())
    kept.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not any(isinstance(layer, ConvPool) for layer in loaded.layers)
    np.testing.assert_allclose(
        loaded.predict(x[:50], verbose=0),
        fast.predict(x[:50], verbose=0),
        atol=1e-5 if precision == "float32" else 0.02,
    )
