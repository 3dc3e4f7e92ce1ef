"""Cost, feasibility and the smallest image follow from the description of a model, without Keras."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from housetrain.errors import ModelError, RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.models.backbones import BACKBONES
from housetrain.models.cost import cost
from housetrain.models.nets import PRESETS, check_feasible, infeasible, layers_of, preset, smallest_side
from housetrain.models.recipe import Recipe
from housetrain.sweeps.grid import Grid

DESCRIBED = [
    (Recipe.of("mlp"), InputSpec(28, 28)),
    (Recipe.of("mlp", nodes=20, dense=3, activation="tanh"), InputSpec(28, 28)),
    (Recipe.of("deep"), InputSpec(40, 33)),
    (Recipe.of("cnn", conv=3, nodes=16, dense=2), InputSpec(50, 47, "rgb")),
    (Recipe.of("cnn", conv=2, nodes=8, kernel_size=5, activation="elu"), InputSpec(32, 40)),
    (Recipe.of("best"), InputSpec(96, 64, "rgb")),
    (Recipe.of("efficientnet-lite0", weights="none"), InputSpec(48, 40, "rgb")),
    (Recipe.of("efficientnet-lite2", weights="none"), InputSpec(40, 40)),
]


def spec(height: int, width: int, color_mode: Any = "grayscale") -> InputSpec:
    return InputSpec(height=height, width=width, color_mode=color_mode)


def counted(model: Any) -> tuple[int, int]:
    """Parameters and multiply-adds of a built model, by the sizes of its weights and outputs."""
    multiply_adds = 0
    for layer in model.layers:
        kernels = [math.prod(weight.shape) for weight in layer.weights if len(weight.shape) in (2, 4)]
        if kernels:
            multiply_adds += sum(kernels) * math.prod(size for size in layer.output.shape[1:-1])
    return int(model.count_params()), multiply_adds


@pytest.mark.parametrize(("recipe", "images"), DESCRIBED, ids=lambda value: getattr(value, "name", ""))
@pytest.mark.parametrize("classes", [("cat", "dog"), ("ant", "bee", "cow")], ids=["two", "three"])
def test_the_cost_is_that_of_the_built_model(recipe: Recipe, images: InputSpec, classes: tuple[str, ...]) -> None:
    from housetrain.models.build import build

    model = build(recipe, spec=images, classes=classes)
    found = cost(recipe, images, len(classes))
    assert found.flops is not None
    assert (found.parameters, found.flops // 2) == counted(model)
    outputs = [layer.output.shape[1:] for layer in model.layers if layer.name != "augment"]
    assert found.activations == sum(math.prod(shape) for shape in outputs)


def test_a_model_that_averages_over_mirror_images_costs_as_much_more() -> None:
    recipe, images = Recipe.of("efficientnet-lite0", image_size=48), InputSpec(48, 48, "rgb")
    plain, both = (cost(recipe.but(test_time_flips=flips), images, 3) for flips in ("none", "both"))
    assert plain.flops is not None and both.flops is not None and plain.parameters == both.parameters
    head = 2 * 1280 * 3
    assert both.flops - head == 4 * (plain.flops - head)
    named = [layer.name for layer in layers_of(recipe.but(test_time_flips="both"), images, 3)]
    assert (named[2], named[-2]) == ("flips", "flip_mean")


def test_cost_of_a_model_counted_by_hand() -> None:
    # 50x50x1 -> conv 32 (48x48) -> 24x24x32 -> 1 unit
    found = cost(Recipe.of("cnn", conv=1, nodes=32), spec(50, 50), 2)
    assert found.parameters == 9 * 32 + 32 + 24 * 24 * 32 + 1
    assert found.flops == 2 * (9 * 32 * 48 * 48 + 24 * 24 * 32)
    row = 24 * 24 * 32
    assert found.activations == 2 * 50 * 50 + 48 * 48 * 32 + 3 * row + 1  # image, scale; conv; pool, ReLU, flatten


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "mobilenetv3-large" else pytest.mark.slow)
        for name in BACKBONES
        if not name.startswith("efficientnet-lite")
    ],
)
def test_the_table_of_backbones_agrees_with_keras(name: str) -> None:
    from housetrain.models.build import build

    recipe, side = Recipe.of(name, weights="none"), BACKBONES[name].smallest
    model = build(recipe, spec=spec(side, side, "rgb"), classes=("a", "b"))
    found = cost(recipe, spec(side, side, "rgb"), 2)
    assert found.parameters == model.count_params() and found.flops is None
    assert layers_of(recipe, spec(side, side, "rgb"), 2)[-2].shape == model.layers[-2].output.shape[1:]


def test_infeasible_recipes_are_listed_before_anything_is_built() -> None:
    small = spec(20, 20)
    reasons = {name: infeasible(recipe, small) for name, recipe in Grid().recipes().items()}
    listed = {name: reason for name, reason in reasons.items() if reason}
    assert len(listed) == 9 and all(name.startswith("3-conv") for name in listed)
    reason = listed["3-conv-32-nodes-0-dense"]
    assert "pool_3 gets a 1x1 feature map, smaller than its 2x2 window" in reason
    assert "needs images of at least 22x22 pixels, not 20x20" in reason
    assert not any(infeasible(recipe, spec(50, 50)) for recipe in Grid().recipes().values())


@pytest.mark.parametrize(("side", "most"), [(50, 4), (22, 3), (21, 2), (10, 2), (9, 1), (4, 1), (3, 0)])
def test_the_deepest_cnn_that_fits(side: int, most: int) -> None:
    fits = [conv for conv in range(1, 8) if not infeasible(Recipe.of("cnn", conv=conv), spec(side, 60))]
    assert fits == list(range(1, most + 1))


@pytest.mark.parametrize(
    ("recipe", "side"),
    [
        (Recipe.of("mlp"), 1),
        (Recipe.of("cnn", conv=3), 22),
        (Recipe.of("cnn", conv=3, kernel_size=5), 36),
        (Recipe.of("deep"), 8),
        (Recipe.of("best"), 8),
        (Recipe.of("xception"), 71),
        (Recipe.of("efficientnet-lite1"), 32),
        (Recipe.of("cnn", conv=12), 12286),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_smallest_image(recipe: Recipe, side: int) -> None:
    assert smallest_side(recipe, spec(50, 50)) == side
    if side <= 4096:
        assert infeasible(recipe, spec(side, side)) == ""
    if 1 < side <= 4096:
        assert f"needs images of at least {side}x{side} pixels" in infeasible(recipe, spec(side - 1, side))


def test_a_recipe_for_other_images_is_refused_in_one_line() -> None:
    with pytest.raises(RecipeError) as caught:
        check_feasible(Recipe.of("cnn", conv=5, image_size=96, color_mode="rgb"), spec(50, 50))
    message = str(caught.value)
    assert "conv_5 gets a 1x1 feature map" in message and "at least 94x94" in message
    assert "size 96" in message and "rgb" in message and "\n" not in message


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ModelError, match="exists already"):
        preset("cnn", "another", image_size=8, color_mode="rgb")(PRESETS["cnn"].layers)


def test_descriptions_need_neither_keras_nor_numpy() -> None:
    code = (
        "import sys; from housetrain.models.recipe import Recipe; from housetrain.images.input_spec import InputSpec;"
        "from housetrain.models.cost import cost; cost(Recipe.of('best'), InputSpec(96, 96, 'rgb'), 2);"
        "cost(Recipe.of('efficientnet-lite0'), InputSpec(96, 96, 'rgb'), 2);"
        "sys.exit(', '.join({'keras', 'tensorflow', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
