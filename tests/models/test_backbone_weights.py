"""Where the weights of a backbone are from, and which of its layers are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras  # noqa: TID253
import numpy as np
import pytest

from housetrain.errors import DownloadError, ModelError
from housetrain.images.input_spec import InputSpec
from housetrain.models import backbone_weights
from housetrain.models.backbones import base_layers
from housetrain.models.build import build
from housetrain.models.keras_layers import keras_model
from housetrain.models.nets import layers_of
from housetrain.models.recipe import Recipe

LITE0, CLASSES = "efficientnet-lite0", ("cat", "dog")
SPEC = InputSpec(height=32, width=32, color_mode="rgb")


@pytest.fixture(scope="module")
def random_model() -> Any:
    recipe = Recipe.of(LITE0, weights="none", flip="none", zoom=0.0, rotate=0.0, contrast=0.0)
    return build(recipe, spec=SPEC, classes=CLASSES)


def finished(weights: str, unfreeze: int, seed: int = 0) -> Any:
    model = keras_model(layers_of(Recipe.of(LITE0, weights="none"), SPEC, 2), name="model")
    return backbone_weights.finish(model, LITE0, weights=weights, unfreeze=unfreeze, seed=seed)


def test_a_run_gives_its_weights_and_only_the_last_layers_are_trained(random_model: Any, tmp_path: Path) -> None:
    random_model.save(tmp_path / "model.keras")
    tuned = finished(str(tmp_path / "model.keras"), unfreeze=4, seed=5)
    for one, other in zip(random_model.get_weights(), tuned.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    trained = [layer.name for layer in base_layers(tuned) if layer.trainable]
    assert trained == ["top_conv", "top_relu6", "top_pool"], "batch norm stays frozen"
    assert tuned.get_layer("probability").trainable
    assert backbone_weights.fingerprint(tuned) == backbone_weights.fingerprint(random_model)


def test_random_weights_follow_from_the_seed(random_model: Any) -> None:
    same, other = finished("none", 0), finished("none", 0, seed=1)
    prints = [backbone_weights.fingerprint(model) for model in (random_model, same, other)]
    assert prints[0] == prints[1] != prints[2]
    assert all(layer.trainable for layer in base_layers(same))


@pytest.mark.parametrize(
    ("name", "match"),
    [("missing.weights.h5", "does not exist"), ("notes.txt", "Unknown kind"), ("damaged.weights.h5", "do not match")],
)
def test_files_that_are_not_weights_are_refused(name: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if "missing" not in name:
        path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match=match) as caught:
        finished(str(path), 0)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_a_failed_download_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with (
        pytest.raises(DownloadError, match="Cannot download the weights: no route") as caught,
        backbone_weights.fetching("the weights", "net.h5"),
    ):
        raise OSError("no route to https://example.org/net.h5: timed out")
    message = str(caught.value)
    assert "https://example.org/net.h5 another way" in message and str(tmp_path / "models" / "net.h5") in message


def test_nested_sequential_parts_become_layers_of_the_model() -> None:
    inner = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(2)], name="inner")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inner(inputs)))
    flat = backbone_weights.flattened(model)
    assert not any(isinstance(layer, keras.Sequential) for layer in flat.layers) and len(flat.layers) == 4
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(flat.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-6)
    assert backbone_weights.flattened(flat) is flat
