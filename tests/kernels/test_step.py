"""A step's memory, threads and checks of its arrays."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.kernel_arrays import FEW_SHAPES, arrays, needs_kernels

from housetrain import kernels
from housetrain.kernels import code, shape, step


@pytest.mark.parametrize("of", FEW_SHAPES, ids=str)
def test_the_same_arrays_give_the_same_bits(of: kernels.Shape) -> None:
    x, kernel, bias, gradient = arrays(of)
    results = []
    for made in (kernels.Step(of, threads=2), kernels.Step(of, threads=2)):
        for _ in range(2):
            pooled, places = made.forward(x, kernel, bias)
            results.append([pooled, places, *made.gradients(x, kernel, places, gradient)])
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(one, other)


@needs_kernels
@pytest.mark.parametrize("channels", [1, 32])
def test_narrow_registers_compute_the_same(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of = kernels.Shape(9, 8, channels, 32, 1, "float32")
    x, kernel, bias, gradient = arrays(of)
    results = []
    for lanes in (8, 16):
        monkeypatch.setattr(shape, "cpu_flags", lambda lanes=lanes: shape.WIDE if lanes == 16 else frozenset())
        code.compiled.cache_clear()
        made = kernels.Step(of)
        pooled, places = made.forward(x, kernel, bias)
        results.append((pooled.copy(), places.copy(), *made.gradients(x, kernel, places, gradient)))
    code.compiled.cache_clear()
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@needs_kernels
def test_arrays_that_the_code_would_misread_are_refused() -> None:
    of = kernels.Shape(10, 10, 32, 32, 0, "float32")
    made = kernels.Step(of)
    x, kernel, bias, gradient = arrays(of)
    _, places = made.forward(x, kernel, bias)
    for changed in (
        (x[:, 1:], kernel, places, gradient),
        (x, kernel.astype(np.float64), places, gradient),
        (x, kernel, places[:-1], gradient),
        (x, kernel, places, np.asfortranarray(gradient)),
    ):
        with pytest.raises(ValueError, match=r"must be"):
            made.gradients(*changed)
    with pytest.raises(ValueError, match=r"bias must be"):
        made.forward(x, kernel, bias[:-1])
    with pytest.raises(ValueError, match=r"No kernel"):
        kernels.Step(kernels.Shape(10, 10, 32, 16))


def test_memory_is_given_out_again_only_when_nobody_holds_it() -> None:
    pool = step._Reused()
    first = pool.take((4, 4), np.dtype(np.float32))
    view = first[1:]
    where = first.ctypes.data
    assert where % 64 == 0
    assert pool.take((4, 4), np.dtype(np.float32)).ctypes.data != where
    del first
    assert pool.take((4, 4), np.dtype(np.float32)).ctypes.data != where, "a view is enough"
    del view
    assert pool.take((4, 4), np.dtype(np.float32)).ctypes.data == where
    assert pool.take((4, 4), np.dtype(np.uint8)).ctypes.data != where
