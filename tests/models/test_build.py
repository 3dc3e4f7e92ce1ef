"""One contract for every net in the registry, and what the tutorials' nets must be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import keras  # noqa: TID253
import numpy as np
import pytest

from housetrain.errors import ModelError, RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.models.augment import Augment
from housetrain.models.backbones import BACKBONES
from housetrain.models.build import MODELS, Layers, build, cost_of, for_inference, register
from housetrain.models.nets import cost
from housetrain.models.recipe import PRESETS, Recipe

THREE = ("ant", "bee", "cow")
OWN_NAMES = sorted(MODELS.keys() - BACKBONES.keys())
CASES = [(model, classes, precision) for model in OWN_NAMES for classes in (("cat", "dog"), THREE) for precision in
         ("float32", "bfloat16")] + [
    pytest.param(model, THREE, "bfloat16", marks=[] if model == "mobilenetv3-large" else pytest.mark.slow)
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
    inner = {layer.compute_dtype for layer in net.layers if layer.name.startswith(("conv", "dense"))}
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


@pytest.mark.parametrize("model", [*OWN_NAMES, "mobilenetv3-large"])
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


@pytest.mark.parametrize(
    ("recipe", "spec"),
    [
        (Recipe.of("mlp"), InputSpec(28, 28)),
        (Recipe.of("deep"), InputSpec(40, 33)),
        (Recipe.of("cnn", conv=3, nodes=16, dense=2), InputSpec(50, 47, "rgb")),
    ],
    ids=["mlp", "deep", "cnn"],
)
@pytest.mark.parametrize("classes", [("cat", "dog"), THREE], ids=["two", "three"])
def test_the_closed_form_cost_is_that_of_the_built_net(
    recipe: Recipe, spec: InputSpec, classes: tuple[str, ...]
) -> None:
    found = cost(recipe, spec, len(classes))
    assert found == cost_of(build(recipe, spec=spec, classes=classes))


def test_flops_of_a_separable_convolution_are_counted_by_its_kernels() -> None:
    inputs = keras.Input((10, 10, 4))
    net = keras.Model(inputs, keras.layers.SeparableConv2D(8, 3, padding="same")(inputs))
    assert cost_of(net).flops == 2 * (9 * 4 + 4 * 8) * 100


def test_a_net_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("housetrain.models.build.MODELS", MODELS.copy())
    monkeypatch.setattr("housetrain.models.build.PRESETS", PRESETS)

    @register("tiny-of-the-test", about="one convolution", image_size=16, color_mode="rgb", uses=("nodes",), epochs=2)
    def tiny(x: object, recipe: Recipe, layers: Layers) -> object:
        return layers.pooled(layers.conv(x, recipe.nodes, activation="relu"))

    try:
        recipe = Recipe.of("tiny-of-the-test", nodes=4)
        assert recipe.epochs == 2 and recipe.prepare_options["image_size"] == 16
        from housetrain.models import build

        net = build.build(recipe, spec=InputSpec(16, 16, "rgb"), classes=THREE)
        assert net.get_layer("conv_1").filters == 4
        with pytest.raises(RecipeError, match="does not use it"):
            Recipe.of("tiny-of-the-test", conv=2)
        with pytest.raises(ModelError, match="already"):
            register("tiny-of-the-test")(tiny)
    finally:
        del PRESETS["tiny-of-the-test"]


def test_what_cannot_be_built_is_said_before() -> None:
    with pytest.raises(RecipeError, match="feature map"):
        build(Recipe.of("cnn", conv=5), spec=InputSpec(50, 50), classes=THREE)
    with pytest.raises(ModelError, match="two classes"):
        build(Recipe.of("mlp"), spec=InputSpec(28, 28), classes=("one",))


def test_specs_are_only_shapes() -> None:
    # Anything with a height, width, color and shape will do: the nets do not depend on how images are decoded.
    spec = SimpleNamespace(height=12, width=12, color_mode="grayscale", channels=1, shape=(12, 12, 1))
    assert build(Recipe.of("mlp"), spec=spec, classes=THREE).count_params() > 0  # type: ignore[arg-type]
