"""Machine code written with Python's loops computes what numpy computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from housetrain.kernels import machine as m


def call(write: Any, arrays: dict[str, np.ndarray], first: int = 0, end: int = 1) -> None:
    """Compile one function and call it on arrays, which it changes."""
    module = m.Module()
    function = m.Function(module, "work", tuple(arrays))
    write(function)
    function.end()
    m.Compiled(module)("work", [array.ctypes.data for array in arrays.values()], first, end)


def test_only_the_parts_that_are_asked_for_are_worked_on() -> None:
    x, y = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)

    def write(f: m.Function) -> None:
        with f.parts() as part, f.loop(8, step=4) as column:
            at = part * 8 + column
            x = f.load("x", at, m.FLOAT, 4)
            f.store(f.fma(x, f.splat(m.constant(m.FLOAT, 2.0), 4), x), "y", at, m.FLOAT)

    call(write, {"x": x, "y": y}, 2, 5)
    expected = np.where((x >= 16) & (x < 40), 3 * x, 0)
    assert np.array_equal(y, expected)


def test_the_set_bits_of_a_mask_are_visited_in_order() -> None:
    found, count = np.full(32, -1, np.int32), np.zeros(1, np.int32)

    def write(f: m.Function) -> None:
        number = f.variable(m.I64)
        f.set(number, f.integer(0).value)
        with f.bits(m.constant(m.I32, 0b1010_0000_0000_0000_0000_0000_0000_0101)) as bit:
            place = f.integer(f.get(number, m.I64))
            f.store_index(bit, "found", place)
            f.set(number, (place + 1).value)
        f.store_index(f.integer(f.get(number, m.I64)), "count", 0)

    call(write, {"found": found, "count": count})
    assert count[0] == 4 and found[:5].tolist() == [0, 2, 29, 31, -1]


@pytest.mark.parametrize(("one", "other"), [(3, 5), (5, 3), (4, 4)])
def test_integers_add_multiply_and_compare(one: int, other: int) -> None:
    numbers, results = np.array([one, other], np.int32), np.zeros(4, np.int32)

    def write(f: m.Function) -> None:
        a, b = f.load_index("numbers", 0), f.load_index("numbers", 1)
        for place, value in enumerate((a + b, a * b, f.difference(a, b), f.smaller(a, b))):
            f.store_index(value, "results", place)

    call(write, {"numbers": numbers, "results": results})
    assert results.tolist() == [one + other, one * other, one - other, min(one, other)]


def test_lanes_of_two_registers_are_put_in_another_order() -> None:
    x, y = np.arange(8, dtype=np.float32), np.zeros(4, np.float32)

    def write(f: m.Function) -> None:
        one, other = f.load("x", 0, m.FLOAT, 4), f.load("x", 4, m.FLOAT, 4)
        f.store(f.shuffle(one, other, [7, 0, 4, 3]), "y", 0, m.FLOAT)

    call(write, {"x": x, "y": y})
    assert y.tolist() == [7, 0, 4, 3]
