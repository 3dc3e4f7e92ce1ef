"""The step on numpy arrays: its memory, its threads, the order of its weights.

In: a `Shape`. Out: a `Step`, which computes it forward and backward. Does not know the machine code.
"""

from __future__ import annotations

import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from housetrain.kernels.shape import BLOCK, KERNEL, PRODUCTS, Shape

_ALIGNMENT = 64  # bytes
_UNPACK = np.array([channel % 4 + channel // 8 * 4 + channel // 4 % 2 * 16 for channel in range(BLOCK)])
"""Where ``vpunpck`` puts each of 32 numbers of 16 bits: the low halves of four lanes first, then the high halves."""


class Step:
    """The step of one shape. Arrays are C-contiguous; ``T`` is the shape's ``dtype``, ``B`` the images of a batch.

    Args:
        shape: What is computed.
        threads: Parts that a batch is cut into, each on a thread of its own. Sums are taken in the order of the parts.

    Raises:
        ValueError: There is no kernel for the shape.
    """

    def __init__(self, shape: Shape, *, threads: int = 1) -> None:
        if not shape.fits:
            raise ValueError(f"No kernel for {shape}")
        from housetrain.kernels import code

        self.shape = shape
        self._arguments = {name: arguments for name, (_, arguments) in code.functions(shape).items()}
        self._code = code.compiled(shape)
        self._outputs = _Reused()
        self._scratch: list[dict[str, np.ndarray]] = [_scratch(shape) for _ in range(threads)]
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None
        self._lock = threading.Lock()  # the scratch memory serves one call at a time

    def forward(self, x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``relu(max_pool(conv(x, kernel) + bias))``, and which place of each pool was the largest.

        Args:
            x: T ``(B, height, width, channels)``.
            kernel: float32 ``(3, 3, channels, filters)``.
            bias: float32 ``(filters,)``.

        Returns:
            T ``(B, *pooled, filters)`` and uint8 of the same shape: 0 to 3, or `shape.INACTIVE`.

        Raises:
            ValueError: An array has another type or shape.
        """
        shape, count = self.shape, len(x)
        arrays = {"x": x, "kernel": kernel, "bias": bias}
        self._check(count, **arrays)
        size = (count, *shape.pooled, shape.filters)
        pooled, places = self._outputs.take(size, shape.dtype), self._outputs.take(size, np.dtype(np.uint8))
        arrays |= {"pooled": pooled, "places": places}
        with self._lock:
            if not shape.first:
                arrays["weights"] = self._outputs.take((shape.filters, PRODUCTS, shape.channels), shape.dtype)
                self._each("transform", shape.filters // BLOCK, arrays)
            self._each("forward", count, arrays)
        return pooled, places

    def gradients(
        self, x: np.ndarray, kernel: np.ndarray, places: np.ndarray, gradient: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Return the gradients of the input (except for a first step, which needs none), the kernel and the bias.

        Args:
            x: T ``(B, height, width, channels)``.
            kernel: float32 ``(3, 3, channels, filters)``; it is rounded to T.
            places: uint8 ``(B, *pooled, filters)``, of the forward step.
            gradient: T ``(B, *pooled, filters)``, of the step's result.

        Returns:
            T as ``x``; float32 as ``kernel``; float32 ``(filters,)``.

        Raises:
            ValueError: An array has another type or shape.
        """
        shape, count = self.shape, len(x)
        self._check(count, x=x, kernel=kernel, places=places, gradient=gradient)
        arrays = {"x": x, "places": places, "gradient": gradient}
        if not shape.first:
            arrays["weights"] = _rows(kernel, shape)
            arrays["inputs"] = self._outputs.take((count, shape.height, shape.width, shape.channels), shape.dtype)
        with self._lock:
            for scratch in self._scratch:
                scratch["kernel_gradient"].fill(0)
                scratch["bias_gradient"].fill(0)
            self._each("backward", count, arrays)
            kernels = np.sum([scratch["kernel_gradient"] for scratch in self._scratch], axis=0)
            biases = np.sum([scratch["bias_gradient"] for scratch in self._scratch], axis=0)
        return (kernels, biases) if shape.first else (arrays["inputs"], _unrows(kernels, shape), biases)

    def _each(self, name: str, count: int, arrays: dict[str, np.ndarray]) -> None:
        """Call a compiled function on ``count`` images, or blocks of filters, one part per thread."""
        parts = len(self._scratch)

        def work(part: int) -> None:
            held = arrays | self._scratch[part]
            addresses = [held[argument].ctypes.data for argument in self._arguments[name]]
            self._code(name, addresses, count * part // parts, count * (part + 1) // parts)

        if self._executor is None:
            work(0)
        else:
            list(self._executor.map(work, range(parts)))

    def _check(self, count: int, **arrays: np.ndarray) -> None:
        """Raise unless the arrays have the types and shapes that the code assumes: it checks no bounds."""
        shape = self.shape
        pooled = (count, *shape.pooled, shape.filters)
        wanted = {
            "x": ((count, shape.height, shape.width, shape.channels), shape.dtype),
            "kernel": ((KERNEL, KERNEL, shape.channels, shape.filters), np.dtype(np.float32)),
            "bias": ((shape.filters,), np.dtype(np.float32)),
            "places": (pooled, np.dtype(np.uint8)),
            "gradient": (pooled, shape.dtype),
        }
        for name, array in arrays.items():
            size, dtype = wanted[name]
            if array.shape != size or array.dtype != dtype or not array.flags.c_contiguous:
                raise ValueError(f"{name} must be {dtype} {size} in one piece, not {array.dtype} {array.shape}")


class _Reused:
    """Arrays whose memory is reused once nothing refers to it: fresh memory costs a page fault every 4 kB."""

    def __init__(self) -> None:
        self._memory: list[np.ndarray] = []
        self._lock = threading.Lock()

    def take(self, size: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return an array of any content that belongs to the caller as long as it, or a view of it, exists."""
        with self._lock:
            for memory in self._memory:
                # numpy's views refer to the memory itself. The list, the loop and the argument are three references.
                if len(memory) == _bytes(size, dtype) and sys.getrefcount(memory) <= 3:
                    return _array(memory, size, dtype)
            self._memory.append(np.empty(_bytes(size, dtype), dtype=np.uint8))
            return _array(self._memory[-1], size, dtype)


def _array(memory: np.ndarray, size: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array in ``memory`` at a multiple of 64 bytes: TensorFlow takes it as it is, registers load at once."""
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + math.prod(size) * dtype.itemsize].view(dtype).reshape(size)


def _bytes(size: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(size) * dtype.itemsize + _ALIGNMENT


def _scratch(shape: Shape) -> dict[str, np.ndarray]:
    """Return the working arrays of one thread. ``plane`` has a border of zeros that is never written."""
    (height, width), cells = shape.padded, math.prod(shape.pooled)
    float32, int32 = np.dtype(np.float32), np.dtype(np.int32)
    sizes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {"bias_gradient": ((shape.filters,), float32)}
    if shape.first:
        sizes |= {
            "plane": ((shape.channels, height, width), float32),
            "kernel_gradient": ((KERNEL, KERNEL, shape.channels, shape.filters), float32),
        }
    else:
        _, _, places = shape.tiling
        entries = cells * (shape.filters + 4) + 2
        sizes |= {
            "padded": ((height, width, shape.channels) if shape.padding else (0,), shape.dtype),
            "tiles": ((PRODUCTS, places, shape.channels), shape.dtype),
            "products": ((PRODUCTS, places, BLOCK), float32),
            "plane": ((height, width, BLOCK), shape.dtype),
            "sums": ((height, width, BLOCK), float32),
            "rows": ((entries,), int32),
            "row_factors": ((entries,), shape.dtype),
            "lists": ((4 * cells + 1, 3), int32),
            "counts": ((shape.filters,), int32),
            "corners": ((shape.filters, shape.capacity), int32),
            "corner_factors": ((shape.filters, shape.capacity), shape.dtype),
            "kernel_gradient": ((shape.channels // BLOCK, KERNEL, shape.filters, KERNEL, BLOCK), float32),
        }
    return {
        name: _array(np.zeros(_bytes(size, dtype), dtype=np.uint8), size, dtype)
        for name, (size, dtype) in sizes.items()
    }


def _rows(kernel: np.ndarray, shape: Shape) -> np.ndarray:
    """Return the weights as rows: T ``(blocks, 3, filters, 3, 32)``."""
    blocks = kernel.astype(shape.dtype).reshape(KERNEL, KERNEL, -1, BLOCK, shape.filters)
    if shape.precision == "bfloat16":
        blocks = blocks[:, :, :, _UNPACK]
    return np.ascontiguousarray(blocks.transpose(2, 0, 4, 1, 3))


def _unrows(rows: np.ndarray, shape: Shape) -> np.ndarray:
    """Return sums in rows as a kernel: float32 ``(3, 3, channels, filters)``."""
    if shape.precision == "bfloat16":
        rows = rows[..., _UNPACK]
    return rows.transpose(1, 3, 0, 4, 2).reshape(KERNEL, KERNEL, shape.channels, shape.filters)
