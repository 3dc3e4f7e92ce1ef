"""One contract for every model, and what the tutorials' models must be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import keras  # noqa: TID253
import numpy as np
import pytest

from housetrain.errors import ModelError, RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.models.augment import Augment
from housetrain.models.backbones import BACKBONES, ENCODER
from housetrain.models.build import build, for_inference
from housetrain.models.nets import PRESETS
from housetrain.models.recipe import Recipe

THREE = ("ant", "bee", "cow")
QUICK = ("mobilenetv3-large", "efficientnet-lite0")
OWN_NAMES = sorted(PRESETS.keys() - BACKBONES.keys() - {ENCODER})
CASES = [(model, classes, precision) for model in OWN_NAMES for classes in (("cat", "dog"), THREE) for precision in
         ("float32", "bfloat16")] + [
    pytest.param(model, THREE, "bfloat16", marks=[] if model in QUICK else pytest.mark.slow)
    for model in BACKBONES
]  # fmt: skip


def small(model: str, **settings: object) -> tuple[Recipe, InputSpec]:
    """A recipe and images as small as tests like them; of a pretrained net, its shape without its weights."""
    smaller = {"conv": 2, "nodes": 16} if model == "cnn" else {"weights": "none"} if model in BACKBONES else {}
    side = BACKBONES[model].smallest + 4 if model in BACKBONES else 24
    return Recipe.of(model, **smaller, **settings), InputSpec(side, max(20, side - 4), PRESETS[model].color_mode)


def images(spec: InputSpec, count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *spec.shape), dtype=np.uint8)


@pytest.mark.parametrize(("model", "classes", "precision"), CASES)
def test_every_net_keeps_the_contract(model: str, classes: tuple[str, ...], precision: str, tmp_path: Path) -> None:
    recipe, spec = small(model)
    net = build(recipe, spec=spec, classes=classes, precision=precision)  # type: ignore[arg-type]
    assert net.input.dtype == "uint8" and net.input.shape == (None, *spec.shape)
    assert net.output.dtype == "float32" and net.output.shape == (None, 1 if len(classes) == 2 else len(classes))
    assert all(weight.dtype == "float32" for weight in net.weights)
    kernels = [layer for layer in net.layers if hasattr(layer, "kernel") and layer.name != "probability"]
    inner = {layer.compute_dtype for layer in kernels}
    assert inner == {precision}
    assert all("_" in layer.name or layer.name in {"image", "augment", "scale", "probability"} for layer in net.layers)
    assert not any(isinstance(layer, keras.Model) for layer in net.layers), "flat, for Grad-CAM"

    batch = images(spec)
    answer = np.asarray(net(batch))
    assert ((answer >= 0) & (answer <= 1)).all() and np.isfinite(answer).all()
    if len(classes) > 2:
        assert answer.sum(axis=1) == pytest.approx(np.ones(len(batch)), abs=1e-5)

    use = for_inference(net)
    use.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(np.asarray(loaded(batch)), np.asarray(use(batch)))
    assert np.asarray(use(batch)) == pytest.approx(answer, abs=1e-5 if precision == "float32" else 0.02)
    assert not any(isinstance(layer, Augment) for layer in loaded.layers)
    assert all(type(layer).__module__.startswith("keras.") for layer in loaded.layers)
    assert {layer.compute_dtype for layer in loaded.layers if layer.name != "image"} == {"float32"}
    assert keras.config.dtype_policy().name == "float32", "the global policy is left alone"


@pytest.mark.parametrize("model", [*OWN_NAMES, *QUICK])
def test_initial_weights_follow_from_the_seed_alone(model: str) -> None:
    recipe, spec = small(model, seed=7)
    first = build(recipe, spec=spec, classes=THREE).get_weights()
    keras.utils.set_random_seed(99)
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    again = build(recipe.but(epochs=recipe.epochs + 1), spec=spec, classes=THREE).get_weights()
    other = build(recipe.but(seed=8), spec=spec, classes=THREE).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    kernels = [index for index, weight in enumerate(first) if weight.ndim > 1]
    assert kernels and not any(np.array_equal(first[i], other[i]) for i in kernels)
    assert np.array_equal(np.random.get_state()[1], before), "no global seed is touched"  # type: ignore[index]


@pytest.mark.parametrize("model", OWN_NAMES)
def test_every_net_learns_digits(model: str) -> None:
    from sklearn.datasets import load_digits

    found = load_digits()
    keep = found.target < 3
    images = np.repeat(np.repeat(found.images[keep], 3, axis=1), 3, axis=2)
    images = (images * 255 / 16).astype(np.uint8)[..., None]
    recipe, _ = small(model, flip="none", dropout=0.0)
    if PRESETS[model].color_mode == "rgb":
        images = np.repeat(images, 3, axis=-1)
    spec = InputSpec(24, 24, PRESETS[model].color_mode)
    net = build(recipe, spec=spec, classes=THREE)
    net.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    labels = found.target[keep]
    before = net.evaluate(images[400:], labels[400:], verbose=0, return_dict=True)
    net.fit(images[:400], labels[:400], epochs=4, batch_size=32, verbose=0)
    after = net.evaluate(images[400:], labels[400:], verbose=0, return_dict=True)
    assert after["accuracy"] > 0.85 and after["accuracy"] > before["accuracy"] + 0.2
    assert after["loss"] < before["loss"] / 2


def test_relu_after_the_pool_is_the_tutorials_net() -> None:
    recipe, spec = Recipe.of("cnn", conv=2, nodes=8, dense=1), InputSpec(24, 24)
    ours = build(recipe, spec=spec, classes=("cat", "dog"))
    tutorial = keras.Sequential([keras.layers.Input(spec.shape)])
    for _ in range(2):
        tutorial.add(keras.layers.Conv2D(8, 3))
        tutorial.add(keras.layers.Activation("relu"))
        tutorial.add(keras.layers.MaxPooling2D(2))
    tutorial.add(keras.layers.Flatten())
    tutorial.add(keras.layers.Dense(8, activation="relu"))
    tutorial.add(keras.layers.Dense(1, activation="sigmoid"))
    tutorial.set_weights(ours.get_weights())
    batch, labels = images(spec, 16), np.arange(16) % 2
    assert np.asarray(ours(batch)) == pytest.approx(np.asarray(tutorial(batch / 255.0)), abs=1e-6)
    for net, inputs in ((ours, batch), (tutorial, batch / 255.0)):
        net.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
        net.train_on_batch(inputs, labels)
    for one, other in zip(ours.get_weights(), tutorial.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6), "the gradient is the same, too"


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "tanh"])
def test_other_activations_and_kernels_are_those_of_keras(activation: str) -> None:
    recipe = Recipe.of("cnn", conv=1, nodes=8, dense=1, kernel_size=5, activation=activation)
    spec = InputSpec(16, 18)
    ours = build(recipe, spec=spec, classes=("cat", "dog"))
    layers = keras.layers
    plain = keras.Sequential([layers.Input(spec.shape), layers.Conv2D(8, 5, activation=activation)])
    plain.add(layers.MaxPooling2D(2))
    plain.add(layers.Flatten())
    plain.add(layers.Dense(8, activation=activation))
    plain.add(layers.Dense(1, activation="sigmoid"))
    plain.set_weights(ours.get_weights())
    batch = images(spec, 4)
    assert np.asarray(ours(batch)) == pytest.approx(np.asarray(plain(batch / 255.0)), abs=1e-6)


def test_the_mnist_course_is_the_default_mlp() -> None:
    model = build(Recipe.of("mlp"), spec=InputSpec(28, 28), classes=[str(digit) for digit in range(10)])
    dense = [(layer.units, layer.get_config()["activation"]) for layer in model.layers if hasattr(layer, "units")]
    assert dense == [(128, "relu"), (128, "relu"), (10, "softmax")]
    wider = build(Recipe.of("mlp", nodes=32, dense=1), spec=InputSpec(28, 28), classes=THREE)
    assert [layer.units for layer in wider.layers if hasattr(layer, "units")] == [32, 3]


def test_what_cannot_be_built_is_said_before() -> None:
    with pytest.raises(RecipeError, match="feature map"):
        build(Recipe.of("cnn", conv=5), spec=InputSpec(50, 50), classes=THREE)
    with pytest.raises(ModelError, match="two classes"):
        build(Recipe.of("mlp"), spec=InputSpec(28, 28), classes=("one",))


def test_specs_are_only_shapes() -> None:
    # Anything with a height, width, color and shape will do: the nets do not depend on how images are decoded.
    spec = SimpleNamespace(height=12, width=12, color_mode="grayscale", channels=1, shape=(12, 12, 1))
    assert build(Recipe.of("mlp"), spec=spec, classes=THREE).count_params() > 0  # type: ignore[arg-type]
