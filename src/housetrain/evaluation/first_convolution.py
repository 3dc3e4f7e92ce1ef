"""The first convolution of a model on one image: its window, weights and feature maps, as numbers.

In: a Keras model and the model input of one image. Out: a `FirstConvolution`. It draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from housetrain.images.pixel_ops import Pixels
from housetrain.system.backend import load_keras

SHOWN = 4
"""Filters that are kept: those whose feature maps vary most."""
MOST_PIXELS = 256 * 256
"""Of the input; a larger one would make a page of many megabytes."""


@dataclass(frozen=True)
class FirstConvolution:
    """What the first convolution does with one image.

    Attributes:
        name: The layer's name.
        pixels: Its input, ``(height, width, channels)`` float32: the image after scaling.
        kernels: ``(side, side, channels, filters)`` float32.
        biases: ``(filters,)`` float32.
        maps: ``(h, w, filters)`` float32, before any activation.
        numbers: Which filters these are, from 0.
        filters: How many the layer has.
        stride: Pixels from one window to the next.
        pad: Rows of zeros above and left of the input.
    """

    name: str
    pixels: NDArray[np.float32]
    kernels: NDArray[np.float32]
    biases: NDArray[np.float32]
    maps: NDArray[np.float32]
    numbers: tuple[int, ...]
    filters: int
    stride: int
    pad: int


def first_convolution(model: Any, image: Pixels) -> FirstConvolution | None:
    """Return the first convolution of a model on an image; ``None`` where it has none that can be shown.

    Args:
        model: A Keras model with a flat graph, or ``None``.
        image: uint8 ``(height, width, channels)``, the model input.
    """
    if model is None or image.shape[0] * image.shape[1] > MOST_PIXELS:
        return None
    layer = next((one for one in model.layers if type(one).__name__ == "Conv2D" and min(one.kernel_size) > 1), None)
    if layer is None or len(set(layer.kernel_size)) > 1 or len(set(layer.strides)) > 1 or max(layer.dilation_rate) > 1:
        return None
    keras = load_keras("explaining a model")
    given = keras.Model(model.input, layer.input)(image[None], training=False)
    pixels = keras.ops.convert_to_numpy(given).astype(np.float32)
    kernels = keras.ops.convert_to_numpy(layer.kernel).astype(np.float32)
    biases = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else np.zeros(kernels.shape[-1])
    plain = keras.ops.conv(pixels, kernels, strides=layer.strides, padding=layer.padding)
    maps = keras.ops.convert_to_numpy(plain)[0] + biases
    chosen = np.sort(np.argsort(-np.maximum(maps, 0).var(axis=(0, 1)), kind="stable")[:SHOWN])
    side, stride = int(layer.kernel_size[0]), int(layer.strides[0])
    missing = (maps.shape[0] - 1) * stride + side - pixels.shape[1]
    return FirstConvolution(
        layer.name,
        pixels[0],
        kernels[..., chosen],
        biases[chosen].astype(np.float32),
        maps[..., chosen].astype(np.float32),
        tuple(int(number) for number in chosen),
        int(kernels.shape[-1]),
        stride,
        max(0, missing) // 2 if layer.padding == "same" else 0,
    )
