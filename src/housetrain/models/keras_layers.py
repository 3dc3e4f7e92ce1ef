"""Layer records -> Keras layers.

In: the layers of a model (`housetrain.models.layers`), a dtype policy, a seed. Out: an uncompiled
functional Keras model with one Keras layer per record. Does not know: recipes, presets, pretrained weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from housetrain.models.backbones import application_features
from housetrain.models.layers import BACKBONE, FLIP_MEAN, FLIPS, Layer
from housetrain.system.backend import load_keras


def keras_model(
    layers: Sequence[Layer],
    *,
    name: str,
    dtype: str = "float32",
    seed: int = 0,
    first: Any | None = None,
) -> Any:
    """Return an uncompiled Keras model: uint8 images in, the output of the last layer out.

    Args:
        layers: From the `InputLayer` on, each after its inputs.
        name: Of the model.
        dtype: A Keras dtype policy name, ``"float32"`` or ``"mixed_bfloat16"``. The last layer computes in float32.
        seed: Of the initial weights and of dropout; each layer draws from its own `layer_seed`.
        first: A Keras layer that the images pass first.
    """
    keras = load_keras("building a model")
    outputs: dict[str, Any] = {}
    for layer in layers:
        given = [outputs[source] for source in layer.inputs]
        if layer.kind == "InputLayer":
            inputs = x = keras.Input(layer.shape, dtype="uint8", name=layer.name)
            x = x if first is None else first(x)
        elif layer.kind == BACKBONE:
            x = application_features(given[0], layer.config["model"], dtype=dtype)
        elif layer.kind == FLIPS:
            x = _with_flips(given[0], layer, dtype=dtype)
        elif layer.kind == FLIP_MEAN:
            x = _flip_mean(given[0], layer, dtype=dtype)
        else:
            policy = "float32" if layer is layers[-1] else dtype
            x = keras_layer(layer, dtype=policy, seed=layer_seed(seed, layer.name))(
                given if len(given) > 1 else given[0]
            )
        outputs[layer.name] = x
    return keras.Model(inputs, x, name=name)


def _with_flips(x: Any, layer: Layer, *, dtype: str) -> Any:
    """Return a batch of the images, then of their left-right, upside-down and twice mirrored images.

    Slices with a step of -1, which every engine and exporter knows; OpenVINO converts no `keras.ops.flip`.
    """
    keras = load_keras("building a model")
    flipped = [x[:, :, ::-1], x[:, ::-1], x[:, ::-1, ::-1]][: layer.config["views"] - 1]
    for number, one in enumerate(flipped, 1):
        _operation_of(one).name = f"flip_{number}"
    return keras.layers.Concatenate(axis=0, name=layer.name, dtype=dtype)([x, *flipped])


def _flip_mean(x: Any, layer: Layer, *, dtype: str) -> Any:
    """Return the mean of the rows that `_with_flips` made of each image."""
    keras = load_keras("building a model")
    parts = keras.ops.split(x, layer.config["views"], axis=0)
    _operation_of(parts[0]).name = "flip_parts"
    return keras.layers.Average(name=layer.name, dtype=dtype)(parts)


def _operation_of(tensor: Any) -> Any:
    """Return the operation that computes a Keras tensor. Keras numbers bare operations per process."""
    return tensor._keras_history.operation


def layer_seed(seed: int, name: str) -> int:
    """Return the seed of the layer ``name``, 31 bits.

    The same model gets the same initial weights in any process, and a layer keeps its weights when another one is
    added elsewhere.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4], "big") >> 1


def keras_layer(layer: Layer, *, dtype: str, seed: int) -> Any:
    """Return the Keras layer of a record.

    Args:
        layer: Any but an `InputLayer` and a `BACKBONE`.
        dtype: A Keras dtype policy name.
        seed: Of its initial kernel, or of its dropout.
    """
    keras = load_keras("building a model")
    config = dict(layer.config)
    for key in ("kernel_initializer", "depthwise_initializer", "pointwise_initializer"):
        if key in config:
            given = config[key] if isinstance(config[key], dict) else {"class_name": config[key], "config": {}}
            config[key] = getattr(keras.initializers, given["class_name"])(**given["config"], seed=seed)
    if layer.kind == "Dropout":
        config["seed"] = seed
    return getattr(keras.layers, layer.kind)(**config, name=layer.name, dtype=dtype)
