"""What is inside a saved Keras model, read without Keras.

In: ``model.keras`` (a zip file; its ``config.json`` is plain text, no code of it is run). Out: the layers in order,
with shapes, parameters and a phrase of what each does. It does not know the weights, and a layer that it does not know
is shown by its name.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.recipe import Recipe

Shape = tuple[int, ...]
_LARGEST_CONFIG = 64 << 20


@dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes:
        name: Unique in the model.
        kind: Its Keras class, for instance ``"Conv2D"``.
        inputs: Names of the layers it takes its input from.
        shape: Of its output for one image; () when the file does not say.
        parameters: Numbers it holds, ``None`` when that cannot be told from the file.
        words: What it does, in a few words.
        step: The same in one or two words for a diagram, ``""`` for a layer not worth one.
        main: Whether it lies on the longest way from the image to the answer (else it is on a short-cut).
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: Shape
    parameters: int | None
    words: str
    step: str
    main: bool = True


def read_layers(path: Path) -> tuple[Layer, ...]:
    """Return the layers of a saved model in the order they are computed; () when the file cannot be understood.

    Args:
        path: A ``.keras`` file of a Sequential or functional model.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _LARGEST_CONFIG:
                return ()
            config = json.loads(archive.read("config.json"))
        return _layers(config)
    except (OSError, KeyError, IndexError, TypeError, ValueError, zipfile.BadZipFile):
        return ()  # a diagram is a nicety: a model of a future Keras must not cost the report


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
        given = _built_for(layer) or next((shapes[source] for source in inputs if shapes.get(source)), ())
        nested = config.get("layers")
        inner = _layers(layer) if nested else ()
        shape = shapes.get(name) or (inner[-1].shape if inner else _shape_after(kind, config, given))
        shapes[name] = shape
        if nested:
            counts = [one.parameters for one in inner]
            parameters = None if None in counts else sum(count or 0 for count in counts)
            words, step = f"a ready-made part of {len(nested)} layers", name
        else:
            parameters = _parameters(kind, config, given)
            words, step = _in_words(kind, config)
        found.append(Layer(name, kind, inputs, shape, parameters, words, step))
    return _mark_main(found)


def _output_shapes(described: Sequence[Mapping[str, Any]]) -> dict[str, Shape]:
    """Return layer -> output shape, as the layers after it remember their inputs."""
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


def _shape_after(kind: str, config: Mapping[str, Any], given: Shape) -> Shape:
    """Return the output shape where the file leaves it to be worked out: the last layer, and Sequential models."""
    if not given:
        return ()
    if kind == "Dense":
        return (*given[:-1], int(config["units"]))
    if kind == "Flatten":
        return (math.prod(given),)
    if kind.startswith("Global"):
        return (given[-1],)
    window = config.get("kernel_size") or config.get("pool_size")
    if window is not None and len(given) == 3:
        strides = config.get("strides") or window
        sides = [
            math.ceil(side / stride) if config.get("padding") == "same" else (side - size) // stride + 1
            for side, size, stride in zip(given, window, strides, strict=False)
        ]
        return (*sides, int(config.get("filters", given[-1])))
    return given


def _parameters(kind: str, config: Mapping[str, Any], given: Shape) -> int | None:
    channels: int = given[-1] if given else 0
    bias = int(bool(config.get("use_bias", True)))
    if kind == "Dense":
        return channels * int(config["units"]) + bias * int(config["units"])
    if kind in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D"):
        area = math.prod(int(side) for side in config["kernel_size"])
        deep = channels * int(config.get("depth_multiplier", 1))
        if kind == "DepthwiseConv2D":
            return area * deep + bias * deep
        filters = int(config["filters"])
        if kind == "SeparableConv2D":
            return area * deep + deep * filters + bias * filters
        return area * channels // int(config.get("groups", 1)) * filters + bias * filters
    if kind == "BatchNormalization":
        return channels * (2 + bool(config.get("center", True)) + bool(config.get("scale", True)))
    if kind == "LayerNormalization":
        return channels * (bool(config.get("center", True)) + bool(config.get("scale", True)))
    return 0 if kind in _WITHOUT_PARAMETERS or kind.startswith("Random") else None


_WITHOUT_PARAMETERS = {
    "InputLayer", "Rescaling", "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D",
    "Flatten", "Dropout", "SpatialDropout2D", "Activation", "ReLU", "LeakyReLU", "Softmax", "Add", "Multiply",
    "Concatenate", "ZeroPadding2D", "Cropping2D", "UpSampling2D", "Reshape", "Resizing", "GELU", "Identity",
}  # fmt: skip
_ACTIVATIONS = {
    "relu": "keeps what is positive (ReLU)",
    "softmax": "as probabilities that sum to 1 (softmax)",
    "sigmoid": "as one probability (sigmoid)",
}
_PHRASES = {
    "InputLayer": ("the image, as bytes", "image"),
    "BatchNormalization": ("each channel brought to a common mean and spread (batch norm)", "norm"),
    "ReLU": ("keeps what is positive (ReLU)", "ReLU"),
    "Flatten": ("all numbers in one row", "flatten"),
    "GlobalAveragePooling2D": ("the mean of each channel over the whole image", "mean"),
    "GlobalMaxPooling2D": ("the largest of each channel over the whole image", "max"),
    "Add": ("the short-cut is added", "add"),
    "Concatenate": ("branches side by side", "join"),
}


def _in_words(kind: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a layer does, long and short."""
    activation = str(config.get("activation"))
    after = f"; {_ACTIVATIONS[activation]}" if activation in _ACTIVATIONS else ""
    if kind.endswith("Conv2D"):
        size = "×".join(str(side) for side in config["kernel_size"])
        sort = {"SeparableConv2D": "separable ", "DepthwiseConv2D": "depth-wise "}.get(kind, "")
        filters = f"{config['filters']:,} {sort}filters" if "filters" in config else f"{sort}filters"
        steps = "" if set(config["strides"]) == {1} else f" in steps of {config['strides'][0]} pixels"
        return f"{filters} of {size} pixels look for patterns{steps}{after}", f"conv {size}"
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        size = "×".join(str(side) for side in config["pool_size"])
        return f"the {'largest' if kind.startswith('Max') else 'mean'} of each {size} pixels", "pool"
    if kind == "Dense":
        sums = "1 weighted sum" if config["units"] == 1 else f"{config['units']:,} weighted sums"
        return f"{sums} of all that comes in{after}", "dense"
    if kind == "Activation":
        name = "ReLU" if activation == "relu" else activation
        return _ACTIVATIONS.get(activation, f"the function {name} of each number"), name
    if kind == "Rescaling":
        to_one = abs(float(config["scale"]) * 255 - 1) < 1e-6 and not config.get("offset")
        return "pixels from 0–255 to 0–1" if to_one else "pixels to another range", "scale"
    if kind == "Dropout":
        return f"silences {float(config['rate']) * 100:g} % of the numbers at random, while training only", "dropout"
    return _PHRASES.get(kind, (kind, kind))


def _mark_main(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Mark the longest way from the image to the last layer."""
    depth: dict[str, int] = {}
    before: dict[str, str] = {}
    for layer in layers:
        known = [source for source in layer.inputs if source in depth]
        if known:
            before[layer.name] = max(known, key=lambda source: depth[source])
        depth[layer.name] = 1 + max((depth[source] for source in known), default=0)
    main, name = set(), layers[-1].name if layers else None
    while name is not None:
        main.add(name)
        name = before.get(name)
    return tuple(replace(layer, main=layer.name in main) for layer in layers)


# ------------------------------------------------------------------------------------------------- before it is built
def planned_layers(recipe: Recipe, spec: InputSpec, classes: int) -> tuple[Layer, ...]:
    """Return the layers of a net that is not built yet, as `read_layers` would give them once it is saved.

    Args:
        recipe: A feasible recipe.
        spec: What the net eats.
        classes: Two or more.

    Returns:
        The layers of the nets that have a closed form (mlp, cnn, deep); () for others.
    """
    if recipe.model == "cnn":
        maps, padding, units = [recipe.nodes] * recipe.conv, "valid", [recipe.nodes] * recipe.dense
    elif recipe.model == "deep":
        maps, padding, units = [64, 128, 256], "same", [128, 64]
    elif recipe.model == "mlp":
        maps, padding, units = [], "valid", [128, 128]
    else:
        return ()
    planned = _Planned(spec.shape)
    planned.add("scale", "Rescaling", scale=1 / 255)
    for number, filters in enumerate(maps, 1):
        planned.add(f"conv_{number}", "Conv2D", filters=filters, kernel_size=[3, 3], strides=[1, 1], padding=padding)
        planned.add(f"pool_{number}", "MaxPooling2D", pool_size=[2, 2], strides=[2, 2], padding="valid")
        planned.add(f"relu_{number}", "Activation", activation="relu")
    planned.add("flatten_1", "Flatten")
    for number, count in enumerate(units, 1):
        if recipe.model == "deep" and recipe.dropout and number == 2:
            planned.add("dropout_1", "Dropout", rate=recipe.dropout)
        planned.add(f"dense_{number}", "Dense", units=count, activation="relu")
    if recipe.model != "deep" and recipe.dropout:
        planned.add("dropout_1", "Dropout", rate=recipe.dropout)
    final = {"units": 1, "activation": "sigmoid"} if classes == 2 else {"units": classes, "activation": "softmax"}
    planned.add("probability", "Dense", **final)
    return tuple(planned.layers)


class _Planned:
    """Layers in a row, each described as its saved config would be."""

    def __init__(self, shape: Shape) -> None:
        self.layers = [Layer("image", "InputLayer", (), shape, 0, *_in_words("InputLayer", {}))]

    def add(self, name: str, kind: str, **config: Any) -> None:
        before = self.layers[-1]
        shape = _shape_after(kind, config, before.shape)
        parameters = _parameters(kind, config, before.shape)
        self.layers.append(Layer(name, kind, (before.name,), shape, parameters, *_in_words(kind, config)))
