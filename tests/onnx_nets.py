"""Image encoders as small ONNX files, made by hand: what exporters of PyTorch models write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

WIDTH, PATCH, HEADS = 8, 8, 2
Graph = Any


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def save(
    path: Path,
    nodes: list[Any],
    weights: dict[str, np.ndarray],
    outputs: list[str],
    shape: tuple[Any, ...] = ("N", 3, "height", "width"),
    change: Callable[[Any], object] | None = None,
) -> Path:
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("pixels", floats, shape)],
        [helper.make_tensor_value_info(name, floats, None) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if change is not None:
        change(model)
    path.write_bytes(model.SerializeToString())
    return path


def pooling_net(path: Path, *, last: bool = False, flat: bool = True, **options: Any) -> Path:
    """Patches, then their mean: (N, WIDTH), or (N, WIDTH, 1, 1) where it is not flat."""
    channels = 1 if options.get("shape", "")[1:2] == (1,) else 3
    kernel = np.random.default_rng(1).normal(size=(WIDTH, channels, PATCH, PATCH)).astype(np.float32)
    nodes = [
        *([node("Transpose", "pixels", "x", perm=[0, 3, 1, 2])] if last else [node("Identity", "pixels", "x")]),
        node("Conv", "x kernel", "patches", strides=[PATCH, PATCH]),
        node("GlobalAveragePool", "patches", "pooled"),
        node("Flatten" if flat else "Identity", "pooled", "features"),
    ]
    return save(path, nodes, {"kernel": kernel}, ["features"], **options)


def transformer(path: Path, outputs: list[str], *, class_token: bool = True, batch: int = 0, **options: Any) -> Path:
    """One block of a ViT as exporters write it: ``tokens`` (N, T, WIDTH), ``pooled`` (N, WIDTH), its last token.

    Args:
        batch: 0: taken from the input; otherwise fixed inside of the graph, whatever its input says.
    """
    random = np.random.default_rng(2)

    def numbers(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    weights = {
        "kernel": numbers(WIDTH, 3, PATCH, PATCH), "class": numbers(1, 1, WIDTH),
        "gain": numbers(WIDTH), "bias": numbers(WIDTH), "qkv": numbers(WIDTH, 3 * WIDTH), "out": numbers(WIDTH, WIDTH),
        "half": np.array(0.5, np.float32), "one": np.array(1.0, np.float32), "root": np.array(2**0.5, np.float32),
        "first": np.array([0]), "last": np.array(-1), "rest": np.array([-1, WIDTH]), "wide": np.array([WIDTH]),
        "tokens_first": np.array([WIDTH, -1]), "class_rest": np.array([1, WIDTH]),
        "heads": np.array([-1, HEADS, WIDTH // HEADS]),
    }  # fmt: skip
    if batch:
        count = [node("Constant", "", "count", value_ints=[batch])]
    else:
        count = [node("Shape", "pixels", "sizes"), node("Gather", "sizes first", "count", axis=0)]
    joined = [
        node("Concat", "count class_rest", "class_shape", axis=0),
        node("Expand", "class class_shape", "classes"),
        node("Concat", "classes patches", "embedded", axis=1),
    ]
    nodes = [
        *count,
        node("Conv", "pixels kernel", "grid", strides=[PATCH, PATCH]),
        node("Concat", "count tokens_first", "flat_shape", axis=0),
        node("Reshape", "grid flat_shape", "flat"),
        node("Transpose", "flat", "patches", perm=[0, 2, 1]),
        *(joined if class_token else [node("Identity", "patches", "embedded")]),
        node("LayerNormalization", "embedded gain bias", "normal", axis=-1),
        node("MatMul", "normal qkv", "three"),
        node("Split", "three", "q k v", axis=-1),
        node("Concat", "count heads", "head_shape", axis=0),
        *(node("Reshape", f"{name} head_shape", f"{name}4") for name in "qkv"),
        node("Transpose", "q4", "q_", perm=[0, 2, 1, 3]),
        node("Transpose", "k4", "k_", perm=[0, 2, 3, 1]),
        node("Transpose", "v4", "v_", perm=[0, 2, 1, 3]),
        node("MatMul", "q_ k_", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights v_", "mixed"),
        node("Transpose", "mixed", "mixed4", perm=[0, 2, 1, 3]),
        node("Concat", "count rest", "token_shape", axis=0),
        node("Reshape", "mixed4 token_shape", "mixed3"),
        node("MatMul", "mixed3 out", "projected"),
        node("Div", "projected root", "scaled"),  # GELU as PyTorch writes it
        node("Erf", "scaled", "erf"),
        node("Add", "erf one", "shifted"),
        node("Mul", "projected shifted", "gated"),
        node("Mul", "gated half", "gelu"),
        node("Add", "embedded gelu", "tokens"),
        node("Gather", "tokens last", "pooled", axis=1),
    ]
    return save(path, nodes, weights, outputs, **options)
