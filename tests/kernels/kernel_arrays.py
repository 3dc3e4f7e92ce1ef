"""Shapes and arrays for the tests of the kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf  # noqa: TID253

from housetrain import kernels

PRECISIONS = [precision for precision in ("float32", "bfloat16") if kernels.available(precision)]  # type: ignore[arg-type]
needs_kernels = pytest.mark.skipif(not PRECISIONS, reason="no kernels on this processor, or no llvmlite")
SIZES = [
    *((10, 10, 1, 32, 0), (13, 12, 3, 64, 1)),
    *((12, 13, 32, 64, 0), (11, 11, 64, 32, 1), (5, 4, 96, 96, 0), (4, 60, 32, 32, 0), (40, 38, 32, 32, 1)),
]
SHAPES = [kernels.Shape(*size, precision) for precision in PRECISIONS for size in SIZES]  # type: ignore[arg-type]


FEW_SHAPES = [shape for shape in SHAPES if shape.channels in (1, 32)]


def arrays(of: kernels.Shape, batch: int = 5, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Images, a kernel that is the same in float32 and bfloat16, a bias, a gradient of the result."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(batch, of.height, of.width, of.channels)).astype(of.dtype)
    kernel = draw.normal(size=(3, 3, of.channels, of.filters)) / math.sqrt(9 * of.channels)
    gradient = draw.normal(size=(batch, *of.pooled, of.filters)).astype(of.dtype)
    bias = draw.normal(size=of.filters).astype(np.float32) / 10
    return x, kernel.astype(of.dtype).astype(np.float32), bias, gradient


def convolved(of: kernels.Shape, x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    padding = "SAME" if of.padding else "VALID"
    return (tf.nn.conv2d(x.astype(np.float32), kernel, 1, padding) + bias).numpy()  # type: ignore[no-any-return]


def spread(places: np.ndarray, gradient: np.ndarray, of: kernels.Shape) -> np.ndarray:
    """The gradient of the convolution: that of the result, at the place that was the largest."""
    rows, columns = of.pooled
    whole = np.zeros((len(places), *of.convolved, of.filters), np.float32)
    for place in range(4):
        here = np.where(places == place, gradient.astype(np.float32), 0)
        whole[:, place // 2 : 2 * rows : 2, place % 2 : 2 * columns : 2] = here
    return whole


def far(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, as a share of the largest number."""
    one, other = np.asarray(one, np.float32), np.asarray(other, np.float32)
    return float(np.abs(one - other).max() / np.abs(other).max())


def small_model(precision: str, **settings: object) -> Any:
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.build import build
    from housetrain.models.recipe import Recipe

    recipe = Recipe.of("cnn", **({"conv": 2, "nodes": 32} | settings))
    return build(recipe, spec=InputSpec(24, 26, "grayscale"), classes=("cat", "dog"), precision=precision)  # type: ignore[arg-type]
