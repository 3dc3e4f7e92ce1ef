"""The forward step against TensorFlow's own operations."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf  # noqa: TID253
from kernels.kernel_arrays import FEW_SHAPES, SHAPES, arrays, convolved, far, spread

from housetrain import kernels
from housetrain.kernels import shape


@pytest.mark.parametrize("of", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_results_are_those_of_tensorflow(of: kernels.Shape, threads: int) -> None:
    step = kernels.Step(of, threads=threads)
    rounded = 3e-6 if of.precision == "float32" else 2**-7
    for seed in range(2):  # the second time in the memory of the first
        x, kernel, bias, _ = arrays(of, batch=5 - seed, seed=seed)
        y = convolved(of, x, kernel, bias)
        pooled, places = step.forward(x, kernel, bias)
        assert pooled.dtype == of.dtype
        expected = tf.nn.relu(tf.nn.max_pool2d(y, 2, 2, "VALID")).numpy()
        assert far(pooled, expected) <= rounded
        assert ((places == shape.INACTIVE) == (pooled.astype(np.float32) == 0)).all()
        active = places < shape.INACTIVE
        assert 0.2 < active.mean() < 1, "some have a gradient and some have none"
        there = spread(places, np.ones_like(pooled), of) * y  # the convolution at the recorded places
        assert far(np.where(active, tf.nn.avg_pool2d(there, 2, 2, "VALID") * 4, 0), expected) <= rounded


@pytest.mark.parametrize("of", FEW_SHAPES, ids=str)
def test_a_nan_stays_a_nan(of: kernels.Shape) -> None:
    made = kernels.Step(of)
    x, kernel, bias, _ = arrays(of)
    for nan in (np.nan, -np.nan):
        broken = np.full_like(kernel, nan)
        pooled, _ = made.forward(x, broken, bias)
        assert np.isnan(pooled.astype(np.float32)).all()
