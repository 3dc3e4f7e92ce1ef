"""A saved model read without Keras says what Keras says."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from housetrain.images.input_spec import InputSpec
from housetrain.models.backbones import BACKBONES, ENCODER
from housetrain.models.nets import PRESETS
from housetrain.models.recipe import Recipe
from housetrain.models.saved_layers import read_layers


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - BACKBONES.keys() - {ENCODER}))
@pytest.mark.parametrize("classes", [("cat", "dog"), ("a", "b", "c")])
def test_shapes_and_parameters_of_every_model_are_those_of_keras(
    name: str, classes: tuple[str, ...], tmp_path: Path
) -> None:
    pytest.importorskip("keras")
    from housetrain.models.build import build, for_inference

    spec = InputSpec(height=32, width=32, color_mode="grayscale")
    model = for_inference(build(Recipe.of(name, image_size=32, color_mode="grayscale"), spec=spec, classes=classes))
    model.save(tmp_path / "model.keras")
    layers = read_layers(tmp_path / "model.keras")
    assert [layer.name for layer in layers] == [layer.name for layer in model.layers]
    for ours, theirs in zip(layers, model.layers, strict=True):
        shape = theirs.output.shape[1:]
        assert (ours.name, ours.shape, ours.parameters) == (theirs.name, tuple(shape), theirs.count_params())
    assert all(layer.description and layer.description != layer.kind for layer in layers), "every layer is described"
    assert layers[0].main and layers[-1].main


def test_sequential_and_nested_models(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    inner = keras.Sequential([keras.Input((10, 10, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()], name="base")
    layers = keras.layers
    outer = keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            layers.SeparableConv2D(5, 3, strides=2, padding="same"),
            layers.DepthwiseConv2D(3, use_bias=False),
            layers.Conv2D(3, 1),
            inner,
            layers.Dense(4),
            layers.LayerNormalization(),
        ]
    )
    outer.save(tmp_path / "model.keras")
    found = read_layers(tmp_path / "model.keras")
    expected = [layer.count_params() for layer in outer.layers]
    assert [layer.parameters for layer in found[1:]] == expected
    assert found[1].shape == (12, 12, 5) and found[2].shape == (10, 10, 5)
    assert "3 layers" in found[4].description


@pytest.mark.parametrize("content", [b"", b"no zip", "{}", "[]", '{"config": {"layers": [{}]}}', '{"config": 3}'])
def test_a_file_that_is_not_understood_costs_the_diagram_and_no_more(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", content)
    assert read_layers(path) == ()
    assert read_layers(tmp_path / "missing.keras") == ()


def test_reading_layers_imports_no_keras() -> None:
    code = "import sys, housetrain.models.saved_layers as d; sys.exit('keras' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
