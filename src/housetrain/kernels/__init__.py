"""Convolution, 2x2 max-pool and ReLU as one step, forward and backward, in machine code made for this processor.

shape.py     what there is a kernel for, and on which machines
step.py      the step on numpy arrays
code.py      its functions, compiled: those of first.py, forward.py and backward.py
common.py    what these share
machine.py   LLVM

Does not know Keras, TensorFlow, models; ``convpool.py`` puts it into a net. Compiling takes a fraction of a second.

Why it is several times as fast as the general way, which computes convolution, pool and ReLU one after the other:

Backward, only one of four results of a convolution has a gradient behind a 2x2 max-pool, and behind a ReLU only those
that are positive. On PetImages 7 of 100 are not zero. The general way multiplies with all of the zeros. Here the others
are listed, and one list entry is worth a row of multiplications:

    gradient of the images   at each place,  sum over its entries (filter, g) of g * weights of that filter
    gradient of the weights    of each filter, sum over its entries (place, g)  of g * images around that place

Both are the same loop, a weighted sum of rows, in blocks of 32 input channels, so that the rows stay in the nearest
cache. Forward, Winograd's transforms leave 16 of 36 multiplications, and what they compute at once is what one cell of
the pool takes: the convolved image, the largest array of the whole net, is never written.

With AVX512-BF16 products of bfloat16 are summed in float32, two an instruction; else all is float32. The results differ
from the general way's by rounding only.
"""

from __future__ import annotations

from housetrain.kernels.shape import KERNEL, Shape, available, suits
from housetrain.kernels.step import Step

__all__ = ["KERNEL", "Shape", "Step", "available", "suits"]
