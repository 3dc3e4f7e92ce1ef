"""The layers that a recipe describes are those that are built and saved from it, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from models.test_nets import DESCRIBED

from housetrain.errors import ModelError
from housetrain.images.input_spec import InputSpec
from housetrain.models.layers import Graph, TooSmallError, with_main_path
from housetrain.models.nets import layers_of
from housetrain.models.recipe import Recipe
from housetrain.models.saved_layers import read_layers


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("recipe", "spec"), DESCRIBED, ids=lambda value: getattr(value, "name", ""))
def test_what_is_described_is_what_is_built(recipe: Recipe, spec: InputSpec, classes: int, tmp_path: Path) -> None:
    from housetrain.models.build import build, for_inference

    names = [str(one) for one in range(classes)]
    for_inference(build(recipe, spec=spec, classes=names)).save(tmp_path / "model.keras")
    described = {layer.name: layer for layer in layers_of(recipe, spec, classes)}
    built = {layer.name: layer for layer in read_layers(tmp_path / "model.keras")}
    assert described.keys() == built.keys()
    for name, ours in described.items():
        theirs = built[name]
        assert (ours.kind, ours.shape) == (theirs.kind, theirs.shape)
        assert (ours.parameters, ours.multiply_adds) == (theirs.parameters, theirs.multiply_adds)
        assert (ours.main, ours.description, ours.label) == (theirs.main, theirs.description, theirs.label)
        assert tuple(dict.fromkeys(ours.inputs)) == theirs.inputs


def test_the_kernels_of_separable_convolutions_are_counted() -> None:
    graph = Graph()
    image = graph.add("InputLayer", name="image", shape=(10, 10, 4))
    options = {"kernel_size": (3, 3), "strides": (1, 1), "padding": "same"}
    layer = graph.add("SeparableConv2D", image, filters=8, **options)
    assert layer.name == "separableconv2d_1" and layer.shape == (10, 10, 8)
    assert layer.parameters == 9 * 4 + 4 * 8 + 8 and layer.multiply_adds == (9 * 4 + 4 * 8) * 100
    assert layer.description == "separable 3×3 convolution with 8 filters"


def test_a_window_larger_than_its_input_is_named() -> None:
    graph = Graph()
    image = graph.add("InputLayer", name="image", shape=(4, 9, 1))
    with pytest.raises(TooSmallError, match="conv_1 gets a 4x9 feature map, smaller than its 5x5 kernel"):
        graph.conv(image, 3, kernel=5, padding="valid")


def test_a_layer_of_unknown_shape_is_refused() -> None:
    graph = Graph()
    image = graph.add("InputLayer", name="image", shape=(4, 9, 1))
    with pytest.raises(ModelError, match=r"output shape of this layer is unknown.*Conv2D.*LSTM"):
        graph.add("LSTM", image, units=3)


def test_a_branch_is_not_on_the_main_path() -> None:
    graph = Graph()
    image = graph.add("InputLayer", name="image", shape=(8, 8, 3))
    y = graph.activation(graph.norm(graph.conv(image, 3)))
    x = graph.sum(graph.conv(image, 3, kernel=1), y)
    graph.mean(x)
    assert [layer.name for layer in with_main_path(graph.layers) if not layer.main] == ["conv_2"]
