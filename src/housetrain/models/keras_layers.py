"""Layer records -> Keras layers.

In: the layers of a model (`housetrain.models.layers`), a dtype policy, a seed. Out: an uncompiled
functional Keras model with one Keras layer per record. Does not know: recipes, presets, pretrained weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from housetrain.models.backbones import application_features
from housetrain.models.layers import BACKBONE, Layer
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
        else:
            policy = "float32" if layer is layers[-1] else dtype
            x = keras_layer(layer, dtype=policy, seed=layer_seed(seed, layer.name))(
                given if len(given) > 1 else given[0]
            )
        outputs[layer.name] = x
    return keras.Model(inputs, x, name=name)


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
