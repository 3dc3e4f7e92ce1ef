"""Convolution, 2x2 max-pool and ReLU as one step, forward and backward, in machine code compiled for this processor.

replace.py    puts the step into a model: `with_kernels`
conv_pool.py  the step as a Keras layer
shape.py      the shapes and processors that have a kernel
step.py       the step on numpy arrays
code.py       its functions, compiled: those of first.py, forward.py and backward.py
common.py     what these share
machine.py    LLVM

Importing this package imports neither Keras nor LLVM. Compiling takes a fraction of a second.

It is several times as fast as computing convolution, pool and ReLU one after the other, because the convolution has a
gradient at only one of four places behind a 2x2 max-pool, and behind a ReLU only where it is positive. On PetImages 7
of 100 gradients are not zero. The general implementation multiplies with all of the zeros. Here the others are listed,
and each list entry costs one row of multiplications:

    gradient of the images    at each place,   sum over its entries (filter, g) of g * weights of that filter
    gradient of the weights   of each filter,  sum over its entries (place, g)  of g * images around that place

Both are the same loop, a weighted sum of rows, in blocks of 32 input channels, so that the rows stay in the first-level
cache. Forward, Winograd's transforms leave 16 of 36 multiplications, and each tile of results is one cell of the pool:
the convolved image, the largest array of the whole model, is never written.

With AVX512-BF16, products of bfloat16 are summed in float32, two per instruction; otherwise all is float32. The results
differ from the general implementation by rounding only.
"""

from __future__ import annotations

from housetrain.kernels.replace import with_kernels
from housetrain.kernels.shape import Shape, available, suits
from housetrain.kernels.step import Step

__all__ = ["Shape", "Step", "available", "suits", "with_kernels"]
