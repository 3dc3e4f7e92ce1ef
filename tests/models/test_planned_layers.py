"""A net that is planned and the net that is built from it are the same, layer by layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from housetrain.images.input_spec import InputSpec
from housetrain.models.layers import planned_layers, read_layers
from housetrain.models.nets import cost
from housetrain.models.recipe import Recipe


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe.of("cnn", conv=2, nodes=8, dense=2, dropout=0.2),
        Recipe.of("cnn", conv=3, nodes=4, dense=0),
        Recipe.of("deep"),
        Recipe.of("mlp"),
    ],
    ids=lambda recipe: recipe.name,
)
def test_what_is_drawn_before_training_is_what_is_trained(recipe: Recipe, classes: int, tmp_path: Path) -> None:
    from housetrain.models.build import build, for_inference

    spec = InputSpec(height=32, width=32, color_mode="grayscale")
    for_inference(build(recipe, spec=spec, classes=[str(one) for one in range(classes)])).save(tmp_path / "model.keras")
    built, planned = read_layers(tmp_path / "model.keras"), planned_layers(recipe, spec, classes)
    assert [(one.kind, one.shape, one.parameters, one.step) for one in planned] == [
        (one.kind, one.shape, one.parameters, one.step) for one in built
    ]
    known = cost(recipe, spec, classes)
    assert known is not None and sum(one.parameters or 0 for one in planned) == known.parameters


def test_a_net_without_a_closed_form_is_not_drawn() -> None:
    assert planned_layers(Recipe.of("best"), InputSpec(), 2) == ()
