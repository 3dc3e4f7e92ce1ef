"""The layers of a saved Keras model, read without Keras.

In: ``model.keras``, a zip file whose ``config.json`` is plain text; no code in it runs. Out: the layers in order, as
`Layer` records. Does not know the weights. A layer of an unknown class is shown by the name of its class.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from housetrain.models.layers import Layer, Shape, counts, output_shape, total, with_main_path

_LARGEST_CONFIG = 64 << 20


def read_layers(path: Path) -> tuple[Layer, ...]:
    """Return the layers of a saved model in the order they are computed; ``()`` where the file is not understood.

    Args:
        path: A ``.keras`` file of a Sequential or functional model.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _LARGEST_CONFIG:
                return ()
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile):
        return ()
    return layers_of(config)


def layers_of(config: Any) -> tuple[Layer, ...]:
    """Return the layers of the description in a saved model; ``()`` where it is not understood."""
    try:
        return _layers(config)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError):
        return ()  # the model of a future Keras must not cost the whole report


def _layers(model: Mapping[str, Any]) -> tuple[Layer, ...]:
    described = model["config"]["layers"]
    shapes = _output_shapes(described)
    found: list[Layer] = []
    for index, layer in enumerate(described):
        kind, config = str(layer["class_name"]), dict(layer["config"])
        name = str(config.get("name", layer.get("name", kind)))
        inputs = tuple(dict.fromkeys(_sources(layer.get("inbound_nodes", []))))
        if not inputs and index and not layer.get("inbound_nodes"):
            inputs = (found[-1].name,)  # Sequential
        given = [shapes[source] for source in inputs if shapes.get(source)]
        if built_for := _built_for(layer):
            given = [built_for, *given[1:]]
        if "layers" in config:
            inner = _layers(layer)
            shape = shapes.get(name) or inner[-1].shape
            parameters = total([one.parameters for one in inner])
            multiply_adds = total([one.multiply_adds for one in inner])
        else:
            shape = shapes.get(name) or output_shape(kind, config, given)
            parameters, multiply_adds = counts(kind, config, given[0] if given else (), shape)
        shapes[name] = shape
        found.append(Layer(name, kind, config, inputs, shape, parameters, multiply_adds))
    return with_main_path(found)


def _output_shapes(described: Sequence[Mapping[str, Any]]) -> dict[str, Shape]:
    """Return layer -> output shape, as the layers after it record their inputs."""
    shapes: dict[str, Shape] = {}

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            if value.get("class_name") == "__keras_tensor__":
                config = value["config"]
                shapes[str(config["keras_history"][0])] = _without_batch(config["shape"])
            else:
                for item in value.values():
                    walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    for layer in described:
        walk(layer.get("inbound_nodes", []))
        if layer["class_name"] == "InputLayer":
            shapes[str(layer["config"]["name"])] = _without_batch(layer["config"]["batch_shape"])
    return shapes


def _sources(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            return [str(value["config"]["keras_history"][0])]
        return [name for item in value.values() for name in _sources(item)]
    if isinstance(value, list):
        return [name for item in value for name in _sources(item)]
    return []


def _without_batch(shape: Sequence[int | None]) -> Shape:
    return tuple(int(side) if side is not None else 0 for side in shape[1:])


def _built_for(layer: Mapping[str, Any]) -> Shape:
    shape = (layer.get("build_config") or {}).get("input_shape")
    return _without_batch(shape) if isinstance(shape, list) and shape and not isinstance(shape[0], list) else ()
