"""The shapes and the processors that have a kernel.

In: sizes, the processor. Out: a `Shape`; whether it has a kernel here. Does not know how anything is computed.
"""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from housetrain.system.machine import cpu_flags

Precision = Literal["float32", "bfloat16"]
KERNEL = 3
BLOCK = 32
"""Channels that are computed together: a row of three positions is 96 numbers."""
TILE = 4
"""Side of the input of a tile, whose 2x2 results of the convolution are one cell of the pool."""
PRODUCTS = TILE * TILE
INACTIVE = 4
"""Recorded by the forward step instead of a place 0 to 3 where nothing is positive: no gradient flows."""
STRIP = 24
"""Approximate number of tiles transformed at once: they and their products fit the second-level cache."""
WIDE = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})


def suits(precision: Precision) -> bool:
    """Return whether these kernels run on this machine's processor: x86 with the needed instructions, on Linux.

    A processor with AMX multiplies dense bfloat16 matrices so much faster that skipping zeros does not pay off.

    Args:
        precision: Compute type of the model. bfloat16 needs AVX512-BF16, float32 AVX2.
    """
    flags = cpu_flags()
    fitting = {"float32": flags >= {"avx2", "fma"}, "bfloat16": flags >= WIDE | {"avx512_bf16"}}[precision]
    dense = precision == "bfloat16" and "amx_bf16" in flags
    known = platform.machine() in ("x86_64", "AMD64")
    return known and fitting and not dense


def available(precision: Precision) -> bool:
    """Return whether the kernels can be used here: the processor `suits`, and llvmlite is installed."""
    return suits(precision) and importlib.util.find_spec("llvmlite") is not None


def lanes_of_register() -> int:
    """Return how many float32 one register of this processor holds."""
    return 16 if cpu_flags() >= WIDE else 8


@dataclass(frozen=True)
class Shape:
    """One step: a 3x3 convolution with stride 1, a 2x2 max-pool with stride 2, a ReLU.

    Args:
        height: Of the input, in places.
        width: Of the input.
        channels: Of the input: 1, 3 or a multiple of 32.
        filters: Of the convolution: a multiple of 32.
        padding: Zeros around the input: 0 ("valid") or 1 ("same").
        precision: Type of the images and of the results. The weights and all sums are float32.
    """

    height: int
    width: int
    channels: int
    filters: int
    padding: int = 0
    precision: Precision = "float32"

    @property
    def dtype(self) -> Any:
        """The type of images and results."""
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16 if self.precision == "bfloat16" else np.float32)

    @property
    def fits(self) -> bool:
        """Whether there is a kernel for this shape."""
        return (
            self.filters % BLOCK == 0
            and (self.channels in (1, 3) or self.channels % BLOCK == 0)
            and min(self.pooled) >= 1
        )

    @property
    def first(self) -> bool:
        """Whether this is the first step of a model, on the images themselves."""
        return self.channels < BLOCK

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the input with its border."""
        return self.height + 2 * self.padding, self.width + 2 * self.padding

    @property
    def convolved(self) -> tuple[int, int]:
        """Height and width of the convolution."""
        return self.padded[0] - KERNEL + 1, self.padded[1] - KERNEL + 1

    @property
    def pooled(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.convolved[0] // 2, self.convolved[1] // 2

    @property
    def capacity(self) -> int:
        """Most gradients that a filter can have in an image: one per cell of the pool, and one to make them even."""
        return (self.pooled[0] * self.pooled[1] + 2) // 2 * 2

    @property
    def tiling(self) -> tuple[int, int, int]:
        """Rows of tiles computed together, tiles whose sums are in registers at once, slots for tiles."""
        rows, columns = self.pooled
        strip = max(1, min(rows, STRIP // columns))
        count, most = strip * columns, 12 if lanes_of_register() == 16 else 3
        # Each group of tiles costs one multiplication per tile, and loads the weights once: the 1.
        together = min(range(min(most, count), 0, -1), key=lambda size: (-(-count // size)) * (size + 1))
        return strip, together, -(-count // together) * together
