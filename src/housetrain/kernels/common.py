"""Code that the functions of all steps share: types, and the end of each.

In: a `Function` that is being written, a `Shape`. Does not know convolutions.
"""

from __future__ import annotations

import math
from typing import Any

from housetrain.kernels import machine as m
from housetrain.kernels.shape import INACTIVE, Shape, lanes_of_register


def number_of(shape: Shape) -> Any:
    """Return LLVM's name of the shape's ``dtype``."""
    return m.BFLOAT16 if shape.precision == "bfloat16" else m.FLOAT


def bits_of(shape: Shape) -> tuple[Any, int, int]:
    """Return the integer type that a number of T fits in, its bits without the sign, and those of infinity."""
    return (m.I16, 0x7FFF, 0x7F80) if shape.precision == "bfloat16" else (m.I32, 0x7FFFFFFF, 0x7F800000)


def as_float(f: m.Function, value: Any) -> Any:
    """Return a number or register of T as float32."""
    wide = m.vector(m.FLOAT, value.type.count) if hasattr(value.type, "count") else m.FLOAT
    return value if value.type == wide else f.b.fpext(value, wide)


def from_float(f: m.Function, value: Any, shape: Shape) -> Any:
    """Return a register of float32 rounded to T."""
    kind = m.vector(number_of(shape), value.type.count)
    return value if value.type == kind else f.b.fptrunc(value, kind)


def pool_and_store(f: m.Function, shape: Shape, places: list[Any], target: m.Int) -> None:
    """Write ReLU and maximum of four registers of float32, and which it was, to element ``target`` of the results."""
    b, lanes = f.b, places[0].type.count
    floats, ints = m.vector(m.FLOAT, lanes), m.vector(m.I32, lanes)
    top, where, zero = places[0], m.constant(ints, 0), m.constant(floats, 0.0)
    for number, place in enumerate(places[1:], start=1):
        larger = b.fcmp_ordered(">", place, top)
        top = b.select(larger, place, top)
        where = b.select(larger, m.constant(ints, number), where)
    active = b.fcmp_ordered(">", top, zero)
    where = b.select(active, where, m.constant(ints, INACTIVE))
    top = b.select(active, top, zero)
    total = b.fadd(b.fadd(places[0], places[1]), b.fadd(places[2], places[3]))
    top = b.select(b.fcmp_unordered("uno", total, total), total, top)  # a NaN must not become 0
    f.store(from_float(f, top, shape), "pooled", target, number_of(shape))
    f.store(b.trunc(where, m.vector(m.I8, lanes)), "places", target, m.I8)


def add_bias(f: m.Function, shape: Shape, image: Any) -> None:
    """Add the active gradients of an image to those of the bias."""
    b, lanes = f.b, lanes_of_register()
    floats = m.vector(m.FLOAT, lanes)
    cells, filters = math.prod(shape.pooled), shape.filters
    whole = f.variable(floats)
    with f.loop(filters, step=lanes) as filter_:
        f.set(whole, f.load("bias_gradient", filter_, m.FLOAT, lanes))
        with f.loop(cells) as cell:
            source = (image * cells + cell) * filters + filter_
            gradient = as_float(f, f.load("gradient", source, number_of(shape), lanes))
            where = f.load("places", source, m.I8, lanes)
            active = b.icmp_unsigned("!=", where, m.constant(m.vector(m.I8, lanes), INACTIVE))
            gradient = b.select(active, gradient, m.constant(floats, 0.0))
            f.set(whole, b.fadd(f.get(whole, floats), gradient))
        f.store(f.get(whole, floats), "bias_gradient", filter_, m.FLOAT)
