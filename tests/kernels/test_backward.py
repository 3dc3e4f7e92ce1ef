"""The gradients of a step against TensorFlow's own operations."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf  # noqa: TID253
from kernels.kernel_arrays import FEW_SHAPES, SHAPES, arrays, far, spread

from housetrain import kernels


@pytest.mark.parametrize("of", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_are_those_of_tensorflow(of: kernels.Shape, threads: int) -> None:
    step = kernels.Step(of, threads=threads)
    exact, rounded = 3e-6, 3e-6 if of.precision == "float32" else 2**-7
    for seed in range(2):  # the second time in the memory of the first
        x, kernel, bias, gradient = arrays(of, batch=5 - seed, seed=seed)
        _, places = step.forward(x, kernel, bias)
        *inputs, of_kernel, of_bias = step.gradients(x, kernel, places, gradient)
        whole = spread(places, gradient, of)
        padding = "SAME" if of.padding else "VALID"
        wanted = tf.raw_ops.Conv2DBackpropFilter(
            input=x.astype(np.float32), filter_sizes=kernel.shape, out_backprop=whole, strides=[1] * 4, padding=padding
        )
        assert far(of_kernel, wanted.numpy()) < exact
        assert far(of_bias, whole.sum(axis=(0, 1, 2))) < exact
        assert len(inputs) == (not of.first)
        for found in inputs:
            assert found.dtype == of.dtype
            assert far(found, tf.nn.conv2d_transpose(whole, kernel, x.shape, 1, padding).numpy()) < rounded


@pytest.mark.parametrize("of", FEW_SHAPES, ids=str)
def test_no_gradient_and_no_images(of: kernels.Shape) -> None:
    made = kernels.Step(of, threads=2)
    x, kernel, bias, gradient = arrays(of)
    _, places = made.forward(x, kernel, bias)
    made.gradients(x, kernel, places, gradient)
    assert all(not np.asarray(found, np.float32).any() for found in made.gradients(x, kernel, places, gradient * 0))
    none = made.gradients(x[:0], kernel, places[:0], gradient[:0])
    assert not any(found.any() for found in none[-2:])
