"""A model in 8-bit integers: the convolutions and dense layers of an `openvino.Model`, by the ranges of real images.

In: an `openvino.Model` in float32, a few images. Out: the same model with quantized layers. Does not know: Keras,
files, labels, whether the result is accurate enough.

Values are quantized as in Jacob et al. 2018 (arXiv:1712.05877): weights symmetrically for each output channel,
activations for each tensor, between the smallest and the largest value on the images, with an exact zero. OpenVINO
computes such layers in integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import ModelError
from housetrain.inference.engine import Images
from housetrain.system.backend import load_openvino

CALIBRATION = 64
"""Images whose ranges are measured."""
_BATCH = 16
_KERNEL_AXES = {"Convolution": (1, 2, 3), "GroupConvolution": (2, 3, 4)}
"""Axes of a kernel that share a scale; of a `MatMul` the one that is summed."""

Range = tuple[float, float]


class _Tensor(NamedTuple):
    """A tensor that quantized layers take: the port that computes it, and the ports that take it."""

    source: Any
    takers: list[Any]


def ranges_of(model: Any, images: Images, *, core: Any) -> list[Range]:
    """Return the smallest and the largest value of each tensor that quantized layers take, in the model's order.

    Args:
        model: An `openvino.Model` in float32.
        images: uint8 (N, height, width, channels), such as the model will see; `CALIBRATION` of them are enough.
        core: The `openvino.Core` of this process.
    """
    openvino = load_openvino("converting a model to int8")
    from openvino import opset13 as operations

    probe = model.clone()
    ends: list[Any] = []
    for tensor in _tensors(probe):
        axes = operations.constant(np.arange(len(tensor.source.get_partial_shape()), dtype=np.int64))
        ends += [operations.reduce_min(tensor.source, axes), operations.reduce_max(tensor.source, axes)]
    if not ends:
        return []
    measuring = openvino.Model(ends, probe.get_parameters(), "ranges")
    compiled = core.compile_model(measuring, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    seen = [list(compiled(images[at : at + _BATCH]).values()) for at in range(0, len(images), _BATCH)]
    values = np.array(seen, dtype=np.float64).reshape(len(seen), -1, 2)
    return [(float(low), float(high)) for low, high in zip(values[..., 0].min(0), values[..., 1].max(0), strict=True)]


def quantized(model: Any, ranges: Sequence[Range], *, core: Any) -> Any:
    """Return a copy of a model whose convolutions and dense layers compute in 8 bits.

    The last dense layer stays as it is: it is small, and its output is the answer.

    Args:
        model: An `openvino.Model` in float32.
        ranges: What `ranges_of` returned for it.
        core: The `openvino.Core` of this process.

    Raises:
        ModelError: The ranges are those of another model.
    """
    load_openvino("converting a model to int8")
    from openvino import opset13 as operations

    model = model.clone()
    tensors, layers = _tensors(model), _layers(model)
    if len(tensors) != len(ranges) or not np.isfinite(np.array(ranges)).all():
        raise ModelError(
            "The value ranges do not belong to this model",
            expected=f"{len(tensors)} ranges of finite numbers",
            ranges=len(ranges),
        )
    for tensor, (low, high) in zip(tensors, ranges, strict=True):
        shape = (1,) * len(tensor.source.get_partial_shape())
        ends = [operations.constant(np.full(shape, end, np.float32)) for end in _with_exact_zero(low, high)]
        narrow = operations.fake_quantize(tensor.source, *ends, *ends, 256)
        for taker in tensor.takers:
            taker.replace_source_output(narrow.output(0))
    for layer in layers:
        kernel, axes = _kernel(layer, core)
        scale = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True), 1e-30) / 127
        whole = operations.constant(np.rint(kernel / scale).astype(np.int8))
        scaled = operations.multiply(
            operations.convert(whole, np.float32), operations.constant(scale.astype(np.float32))
        )
        layer.input(1).replace_source_output(scaled.output(0))
    model.validate_nodes_and_infer_types()
    return model


def _layers(model: Any) -> list[Any]:
    """Return the layers that are quantized."""
    constant = _constants(model)
    kinds = (*_KERNEL_AXES, "MatMul")
    found = [node for node in model.get_ordered_ops() if node.get_type_name() in kinds and _names(node)[1] in constant]
    dense = [node for node in found if node.get_type_name() == "MatMul"]
    return [node for node in found if not dense or node != dense[-1]]


def _tensors(model: Any) -> list[_Tensor]:
    """Return what quantized layers and the sums of feature maps take, each tensor once."""
    constant = _constants(model)
    takers = [layer.input(0) for layer in _layers(model)]
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Add" and len(node.get_output_partial_shape(0)) == 4:
            takers += [] if constant & set(_names(node)) else [node.input(0), node.input(1)]
    found: dict[tuple[str, int], _Tensor] = {}
    for taker in takers:
        source = taker.get_source_output()
        found.setdefault((source.get_node().get_name(), source.get_index()), _Tensor(source, [])).takers.append(taker)
    return list(found.values())


def _constants(model: Any) -> set[str]:
    """Return the names of the nodes that do not depend on the model's input."""
    found: set[str] = set()
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Parameter" and found.issuperset(_names(node)):
            found.add(node.get_name())
    return found


def _names(node: Any) -> list[str]:
    """Return the names of the nodes that a node takes its inputs from."""
    return [node.input_value(place).get_node().get_name() for place in range(node.get_input_size())]


def _kernel(layer: Any, core: Any) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """Return the kernel of a layer, and the axes that share a scale."""
    openvino = load_openvino("converting a model to int8")
    port = layer.input_value(1)
    node = port.get_node()
    if node.get_type_name() == "Constant":
        kernel = np.array(node.data, dtype=np.float32)
    else:  # computed from constants
        kernel = np.array(core.compile_model(openvino.Model([port], [], "kernel"), "CPU")([])[0], dtype=np.float32)
    axes = _KERNEL_AXES.get(layer.get_type_name())
    return kernel, axes or ((-1,) if layer.get_attributes()["transpose_b"] else (-2,))


def _with_exact_zero(low: float, high: float) -> Range:
    """Return ends between which 0 is one of 256 evenly spaced values: padding and ReLU give exact zeros."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / 255, 1e-30)
    below = round(-low / step)
    return -below * step, (255 - below) * step
