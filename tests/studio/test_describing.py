"""Layers of a model that must be built first: read in a child process, so that the page does not hold Keras."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from housetrain.errors import HousetrainError
from housetrain.images.input_spec import InputSpec
from housetrain.models.recipe import Recipe
from housetrain.studio import diagrams

SPEC = InputSpec(96, 96, "rgb")


def test_a_model_is_built_in_a_child_and_its_layers_are_kept(work: Path) -> None:
    recipe = Recipe.of("best")
    loaded = "keras" in sys.modules
    diagrams.build(recipe, SPEC, ("cat", "dog"))
    assert ("keras" in sys.modules) == loaded, "the page holds Keras"
    layers = diagrams._kept(diagrams._file(recipe, SPEC, ("cat", "dog")))
    assert len(layers) > 10 and layers[0].shape == SPEC.shape
    assert sum(layer.parameters or 0 for layer in layers) > 1_000_000


def test_what_cannot_be_built_says_why(work: Path) -> None:
    with pytest.raises(HousetrainError, match="does not fit the images") as caught:
        diagrams.build(Recipe.of("cnn", conv=3), InputSpec(8, 8, "rgb"), ("cat", "dog"))
    assert "\n" not in str(caught.value)
