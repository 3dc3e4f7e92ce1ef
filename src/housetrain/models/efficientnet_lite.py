"""EfficientNet-Lite: its layers, and where the tensors of the reference implementation belong in them.

In: the layer with the scaled images, a `Graph`; tensors by the names of the reference implementation. Out: the layers,
1,280 pooled features; a model with these weights. Does not know: files, packages, recipes, heads, how layers are built.

EfficientNet-Lite is EfficientNet (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6, and
with a stem and a head that do not grow with the width. Padding is TensorFlow's "same", as in training. All layers are
plain Keras layers with fixed names, so that any backend, exporter and explanation can use them one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from housetrain.errors import ModelError
from housetrain.models.backbones import BACKBONES, Lite
from housetrain.models.layers import Graph, Layer
from housetrain.system.backend import load_keras

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = 1280
TOP = "imagenet"
"""Name of the layer of the 1,000 classes of ImageNet, in models that have it."""
SIDE_BY_SIDE = "stage_features"
"""Name of the layer that puts the pooled features of several stages side by side, in models that have it."""


class _Stage(NamedTuple):
    blocks: int
    kernel: int
    strides: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS = 32
MOST_STAGES = len(_STAGES) + 1


class _Block(NamedTuple):
    """One inverted residual block. ``name`` is ``block<stage>_<number>``, both from 1."""

    name: str
    kernel: int
    strides: int
    expansion: int
    filters: int


def _blocks(name: str) -> Iterator[_Block]:
    variant = BACKBONES[name].source
    assert isinstance(variant, Lite)
    for number, stage in enumerate(_STAGES, 1):
        fixed = number in (1, len(_STAGES))
        count = stage.blocks if fixed else math.ceil(stage.blocks * variant.depth)
        for block in range(1, count + 1):
            strides = stage.strides if block == 1 else 1
            filters = _rounded(stage.filters * variant.width)
            yield _Block(f"block{number}_{block}", stage.kernel, strides, stage.expansion, filters)


def _rounded(filters: float) -> int:
    """Return the nearest multiple of 8 that takes away at most a tenth."""
    found = max(8, int(filters + 4) // 8 * 8)
    return found + 8 if found < 0.9 * filters else found


# ------------------------------------------------------------------------------------------------- layers
# fan_out: the fan_in of a depthwise kernel counts all channels, and its values would be far too small.
_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}


def features_of(graph: Graph, x: Layer, name: str, *, stages: int = 1) -> Layer:
    """Add the layers of a backbone and return its pooled features: (1280,), the mean of the last ReLU6.

    With several stages these are mean and maximum of each, side by side: 4,048 features of the last 6 stages of Lite0.
    Earlier stages see textures and small details, which ImageNet's classes do not need at the end.

    Args:
        graph: The model's layers.
        x: (height, width, 3), pixels after ``scale`` and ``offset`` of the `Backbone`; 32 pixels and more.
        name: In `BACKBONES`, of this family.
        stages: How many of the last stages are pooled, 1 to `MOST_STAGES`; the last one is the convolution after the
            blocks.
    """
    x = _relu6(graph, _conv(graph, x, _STEM_FILTERS, "stem", kernel=3, strides=2), "stem")
    ends: dict[str, Layer] = {}  # the output of each stage: of its last block
    for block in _blocks(name):
        x = _block(graph, x, block)
        ends[block.name.partition("_")[0]] = x
    ends["top"] = x = _relu6(graph, _conv(graph, x, FEATURES, "top"), "top")
    if stages == 1:
        return graph.add("GlobalAveragePooling2D", x, name="top_pool")
    pooled = [
        graph.add(kind, ends[stage], name=f"{stage}_{suffix}")
        for stage in list(ends)[-stages:]
        for kind, suffix in (("GlobalAveragePooling2D", "pool"), ("GlobalMaxPooling2D", "max_pool"))
    ]
    return graph.add("Concatenate", pooled, name=SIDE_BY_SIDE)


def every_stage(model: Any, name: str) -> Any:
    """Return what `features_of` with `MOST_STAGES` returns, from the layers of a Keras model with any number of stages.

    One forward pass so computes the features of every recipe: see `columns_of`.

    Args:
        model: A Keras model with the layers of `features_of`.
        name: Its backbone.
    """
    keras = load_keras("computing features")
    last = {block.name.partition("_")[0]: block.name for block in _blocks(name)}
    known = {layer.name: layer for layer in model.layers}
    ends = [known.get(f"{block}_add") or known[f"{block}_project_bn"] for block in last.values()]
    kinds = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
    return keras.layers.Concatenate()([kind()(layer.output) for layer in (*ends, known["top_relu6"]) for kind in kinds])


def columns_of(name: str, stages: int) -> slice:
    """Return which columns of `every_stage` are the features of so many stages."""
    filters = [*{block.name.partition("_")[0]: block.filters for block in _blocks(name)}.values(), FEATURES]
    start = 2 * sum(filters[:-stages])
    return slice(start, start + FEATURES) if stages == 1 else slice(start, 2 * sum(filters))


def _block(graph: Graph, x: Layer, block: _Block) -> Layer:
    inputs, channels = x, x.shape[-1]
    if block.expansion != 1:
        name = f"{block.name}_expand"
        x = _relu6(graph, _conv(graph, x, channels * block.expansion, name), name)
    name = f"{block.name}_depthwise"
    window = {"kernel_size": (block.kernel,) * 2, "strides": (block.strides,) * 2, "padding": "same"}
    x = graph.add(
        "DepthwiseConv2D", x, name=f"{name}_conv", **window, use_bias=False, depthwise_initializer=_INITIALIZER
    )
    x = _relu6(graph, _norm(graph, x, name), name)
    x = _conv(graph, x, block.filters, f"{block.name}_project")
    if block.strides != 1 or channels != block.filters:
        return x
    return graph.add("Add", (inputs, x), name=f"{block.name}_add")


def _conv(graph: Graph, x: Layer, filters: int, name: str, *, kernel: int = 1, strides: int = 1) -> Layer:
    """Add a convolution without a bias, which its batch normalization would remove again."""
    options: dict[str, Any] = {"kernel": kernel, "strides": strides, "bias": False, "initializer": _INITIALIZER}
    return _norm(graph, graph.conv(x, filters, name=f"{name}_conv", **options), name)


def _norm(graph: Graph, x: Layer, name: str) -> Layer:
    return graph.add("BatchNormalization", x, name=f"{name}_bn", momentum=0.99, epsilon=1e-3)


def _relu6(graph: Graph, x: Layer, name: str) -> Layer:
    return graph.add("ReLU", x, name=f"{name}_relu6", max_value=6.0)


# ------------------------------------------------------------------------------------------------- weights
_BN = ("weight", "bias", "running_mean", "running_var")  # in the order of a Keras layer's weights


def put_tensors(model: Any, name: str, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Set the weights of ``model`` from tensors of the reference implementation.

    Args:
        model: A model with the layers of `features_of`. Its other layers are left alone, except `TOP`.
        name: In `BACKBONES`, of this family.
        tensors: Tensor name -> array, as `pretrained_weights.load_pretrained` returns them. Those of the 1,000 classes
            are used where the model has `TOP`.

    Raises:
        ModelError: Tensors are missing or of another shape. All of them are named, and no layer was changed.
    """
    plan = [(model.get_layer(layer), _values(keys, tensors)) for layer, keys in _layer_tensors(name)]
    top = [layer for layer in model.layers if layer.name == TOP]
    plan += [(layer, _values(("_fc.weight", "_fc.bias"), tensors)) for layer in top]
    problems = []
    for layer, values in plan:
        wanted = [tuple(weight.shape) for weight in layer.weights]
        found = [None if value is None else value.shape for value in values]
        if wanted != found:
            problems.append(f"{layer.name} takes {wanted}, got {found}")
    if problems:
        shown = "; ".join(problems[:3]) + ("; ..." if len(problems) > 3 else "")
        raise ModelError(
            f"The weights do not match the model: {shown}",
            expected=f"the tensors of {name}",
            do="use the weights of the same model",
            layers=len(problems),
            tensors=len(tensors),
        )
    for layer, values in plan:
        layer.set_weights(values)


def _layer_tensors(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (layer, names of its tensors) for all layers that have weights, without the 1,000 classes."""

    def pair(layer: str, conv: str, norm: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield f"{layer}_conv", (f"{conv}.weight",)
        yield f"{layer}_bn", tuple(f"{norm}.{part}" for part in _BN)

    yield from pair("stem", "_conv_stem", "_bn0")
    for number, block in enumerate(_blocks(name)):
        prefix = f"_blocks.{number}"
        if block.expansion != 1:
            yield from pair(f"{block.name}_expand", f"{prefix}._expand_conv", f"{prefix}._bn0")
        yield from pair(f"{block.name}_depthwise", f"{prefix}._depthwise_conv", f"{prefix}._bn1")
        yield from pair(f"{block.name}_project", f"{prefix}._project_conv", f"{prefix}._bn2")
    yield from pair("top", "_conv_head", "_bn1")


def _values(keys: tuple[str, ...], tensors: Mapping[str, NDArray[Any]]) -> list[NDArray[Any] | None]:
    return [_as_keras(key, tensors[key]) if key in tensors else None for key in keys]


def _as_keras(key: str, value: NDArray[Any]) -> NDArray[Any]:
    """Return a tensor with its axes in Keras' order: (height, width, in, out), for depthwise (height, width, in, 1)."""
    import numpy as np

    if value.ndim == 4:  # torch: (out, in, height, width), for depthwise (in, 1, height, width)
        value = value.transpose(2, 3, 0, 1) if "_depthwise_" in key else value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        value = value.T
    return np.ascontiguousarray(value, dtype=np.float32)
