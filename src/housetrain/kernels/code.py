"""The functions of each kind of step, compiled.

In: a `Shape`. Out: machine code and the names of its arguments. Does not know who owns the arrays. Imported only where
a step is made, for it imports LLVM.

In the files that write the functions, indices count elements; ``image``, ``row``, ``column`` and so on are values of
the code that is being written, and what Python computes (sizes, the ``place`` 0 to 3 in a pool, the ``tap`` 0 to 8 of a
kernel) becomes a constant of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from housetrain.kernels import backward, first, forward
from housetrain.kernels import machine as m
from housetrain.kernels.shape import Shape

Writer = Callable[[m.Function, Shape], None]
FIRST: dict[str, tuple[Writer, tuple[str, ...]]] = {
    "forward": (first.forward, ("x", "kernel", "bias", "pooled", "places", "plane")),
    "backward": (first.backward, ("x", "places", "gradient", "plane", "kernel_gradient", "bias_gradient")),
}
"""Functions of a first step and their arrays, in the order in which their addresses are given."""
OTHER: dict[str, tuple[Writer, tuple[str, ...]]] = {
    "transform": (forward.transform_kernel, ("kernel", "weights")),
    "forward": (
        forward.forward,
        ("x", "weights", "bias", "pooled", "places", "padded", "tiles", "products"),
    ),
    "backward": (
        backward.backward,
        (
            *("x", "places", "gradient", "weights", "inputs", "plane", "sums", "rows", "row_factors", "lists"),
            *("counts", "corners", "corner_factors", "kernel_gradient", "bias_gradient"),
        ),
    ),
}
"""The same of any other step."""


def functions(shape: Shape) -> dict[str, tuple[Writer, tuple[str, ...]]]:
    """Return which functions a shape has."""
    return FIRST if shape.first else OTHER


@functools.cache
def compiled(shape: Shape) -> m.Compiled:
    """Return the functions of a shape as machine code."""
    module = m.Module()
    for name, (write, arguments) in functions(shape).items():
        function = m.Function(module, name, arguments)
        write(function, shape)
        function.end()
    return m.Compiled(module)
