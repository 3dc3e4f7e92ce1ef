"""The diagram draws every layer of the main path once, and every residual connection."""

from __future__ import annotations

import subprocess
import sys

import pytest

from housetrain.images.input_spec import InputSpec
from housetrain.models.nets import PRESETS, layers_of
from housetrain.models.recipe import Recipe
from housetrain.report.plots.diagram import draw_model, slab_table


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("classes", [("cat", "dog"), tuple(f"class {number}" for number in range(12))])
@pytest.mark.parametrize("color_mode", ["grayscale", "rgb"])
def test_every_model_is_drawn(name: str, classes: tuple[str, ...], color_mode: str) -> None:
    spec = InputSpec(height=80, width=72, color_mode=color_mode)  # type: ignore[arg-type]
    layers = layers_of(Recipe.of(name), spec, len(classes))
    slabs = slab_table(layers)
    assert (slabs[0].shape, slabs[-1].shape) == (spec.shape, layers[-1].shape)
    assert [name for slab in slabs for name in slab.names] == [layer.name for layer in layers if layer.main]
    joined = [layer for layer in layers if layer.kind == "Add"]
    drawn = str(draw_model(slabs, classes))
    assert sum(len(slab.shortcuts) for slab in slabs) == drawn.count('class="shortcut"') == len(joined)
    assert drawn.count("slab front") == len(slabs) and all(name in drawn for name in classes[:9])
    assert ("…" in drawn) == (len(classes) > 10)


def test_repeated_layers_are_counted() -> None:
    slabs = slab_table(layers_of(Recipe.of("best"), InputSpec(96, 96, "rgb"), 2))
    assert slabs[1].labels == ("conv 3×3", "norm", "ReLU")
    assert slabs[2].labels == ("2 × conv 3×3", "2 × norm", "2 × ReLU", "add")


def test_without_layers_there_are_no_slabs() -> None:
    assert slab_table(()) == ()


def test_drawing_imports_no_keras() -> None:
    code = "import sys, housetrain.report.plots.diagram; sys.exit('keras' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
