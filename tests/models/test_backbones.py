"""The layers of backbones of `keras.applications` in a flat model, with names that do not depend on the process."""

from __future__ import annotations

import keras  # noqa: TID253
import numpy as np
import pytest

from housetrain.images.input_spec import InputSpec
from housetrain.models.backbones import BACKBONES, Application, base_layers, to_bgr
from housetrain.models.build import build
from housetrain.models.recipe import Recipe

SPEC = InputSpec(height=32, width=32, color_mode="rgb")
MOBILE = Recipe.of("mobilenetv3-large", weights="none")


def test_names_do_not_depend_on_what_was_built_before() -> None:
    one = build(MOBILE, spec=SPEC, classes=("cat", "dog"))
    keras.layers.Dense(3)
    keras.layers.Conv2D(3, 3)
    other = build(MOBILE, spec=SPEC, classes=("cat", "dog"))
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    assert one.layers[0].name == "image" and one.layers[1].name == "augment"
    base = base_layers(one)
    assert one.layers[-1] not in base and base[-1].output.shape == (None, 960)
    assert len(base) == len(one.layers) - len({"image", "augment", "scale", "probability"})


def test_to_bgr_is_the_preprocessing_of_resnet() -> None:
    means = BACKBONES["resnet50"].means
    assert means is not None
    inputs = keras.Input((4, 5, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.float32)
    found = keras.Model(inputs, to_bgr(inputs, means)).predict_on_batch(pixels)
    expected = keras.applications.resnet50.preprocess_input(pixels.copy())
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, one in BACKBONES.items() if isinstance(one.source, Application)])
def test_scale_and_offset_are_those_of_keras(name: str) -> None:
    backbone = BACKBONES[name]
    module = {
        "xception": "xception",
        "efficientnetv2-b0": "efficientnet_v2",
        "mobilenetv3-large": "mobilenet_v3",
        "resnet50": "resnet50",
        "convnext-tiny": "convnext",
    }[name]
    if backbone.means is None:
        pixels = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1).repeat(3, axis=-1)
        expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
        np.testing.assert_allclose(pixels * backbone.scale + backbone.offset, expected, atol=1e-5)
