"""Images of an explanation: heat over an image, feature maps and kernels as tiles.

In: arrays. Out: uint8 RGB images. It does not know how the heat is computed, nor where the images go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from housetrain.images.pixel_ops import Pixels
from housetrain.images.thumbnail import fit

CHANNELS = 16
"""Channels shown of a feature map: those with the highest variance."""


def overlay(image: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """Return an image with heat over it: red where it is highest, the image itself where it is zero.

    Args:
        image: uint8 (height, width, 1 or 3).
        heat: (h, w) of any size, 0 to 1.
    """
    height, width = image.shape[:2]
    large = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    scale: Any = (large * 255).astype(np.uint8)
    colors = cv2.applyColorMap(scale, cv2.COLORMAP_JET)[:, :, ::-1].astype(np.float32)
    share = 0.6 * np.sqrt(large)[:, :, None]
    base = np.broadcast_to(image, (height, width, 3)).astype(np.float32)
    return np.asarray((base * (1 - share) + colors * share).round(), np.uint8)


def draw_strip(values: NDArray[np.float32], *, channels: int = CHANNELS, side: int = 72) -> tuple[Pixels, int]:
    """Return the channels of a feature map with the highest variance, in their order, as tiles; and their number.

    Args:
        values: (height, width, channels).
        channels: At most so many.
        side: Longest side of a tile in pixels.
    """
    chosen = np.sort(np.argsort(-values.std(axis=(0, 1)), kind="stable")[:channels])
    tiles = []
    for channel in chosen:
        one = _stretched(values[:, :, channel])
        tiles.append(cv2.applyColorMap(fit(one[:, :, None], side), cv2.COLORMAP_VIRIDIS)[:, :, ::-1])
    return _tiled(tiles, columns=8), len(chosen)


def draw_filters(kernels: NDArray[np.float32], *, side: int = 48) -> Pixels:
    """Return convolution kernels as tiles: in color where their input is RGB, otherwise in gray.

    Args:
        kernels: (height, width, channels in, filters).
        side: Longest side of a tile in pixels.
    """
    tiles = []
    for number in range(min(kernels.shape[3], 64)):
        kernel = kernels[:, :, :, number]
        if kernel.shape[2] != 3:
            kernel = kernel.mean(axis=2, keepdims=True)
        tile = fit(_stretched(kernel), side)
        tiles.append(np.broadcast_to(tile.reshape(*tile.shape[:2], -1), (*tile.shape[:2], 3)))
    return _tiled(tiles, columns=16)


def _stretched(values: NDArray[np.float32]) -> Pixels:
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / (high - low if high > low else 1.0) * 255, np.uint8)


def _tiled(tiles: Sequence[NDArray[Any]], *, columns: int) -> Pixels:
    gap = 2
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    across = min(columns, len(tiles))
    sheet = np.full((rows * (height + gap) - gap, across * (width + gap) - gap, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * (height + gap), column * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet
