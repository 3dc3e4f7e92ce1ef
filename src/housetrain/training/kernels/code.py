"""How the step is computed: its functions, written for LLVM.

In: a `Shape`. Out: ``forward`` and ``backward`` of it as machine code. Does not know who owns the arrays. Imported only
where the first step is made, for it imports LLVM.

Indices count elements. ``picture``, ``row``, ``column`` and so on are values of the code that is being written; what
Python computes here (sizes, the ``place`` 0 to 3 in a pool, the ``tap`` 0 to 8 of a kernel) becomes a constant of it.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from housetrain.training.kernels import machine as m
from housetrain.training.kernels.shape import BLOCK, INACTIVE, KERNEL, WIDE, Shape
from housetrain.training.precision import cpu_flags

FIRST_ARGUMENTS = {
    "forward": ("x", "kernel", "bias", "pooled", "places", "plane"),
    "backward": ("x", "places", "gradient", "plane", "kernel_gradient", "bias_gradient"),
}
"""Arrays of the functions of a first step, by name: the order in which their addresses are given."""
ARGUMENTS = {
    "forward": ("y", "pooled", "places"),
    "backward": (
        *("x", "places", "gradient", "weights", "inputs", "plane", "sums", "rows", "row_factors", "lists", "counts"),
        *("corners", "corner_factors", "kernel_gradient", "bias_gradient"),
    ),
}
"""The same of any other step."""


@functools.cache
def compiled(shape: Shape) -> m.Compiled:
    """Return the functions ``forward`` and ``backward`` of a shape."""
    module = m.Module()
    arguments = FIRST_ARGUMENTS if shape.first else ARGUMENTS
    writers = (_first_forward, _first_backward) if shape.first else (_pool_forward, _backward)
    for (name, names), write in zip(arguments.items(), writers, strict=True):
        function = m.Function(module, name, names)
        write(function, shape)
        function.end()
    return m.Compiled(module)


def _lanes() -> int:
    """Return how many float32 one register of this processor holds."""
    return 16 if cpu_flags() >= WIDE else 8


def _number(shape: Shape) -> Any:
    """Return LLVM's name of the shape's ``dtype``."""
    return m.BFLOAT16 if shape.precision == "bfloat16" else m.FLOAT


def _bits(shape: Shape) -> tuple[Any, int, int]:
    """Return the integer type that a number of T fits in, its bits without the sign, and those of infinity."""
    return (m.I16, 0x7FFF, 0x7F80) if shape.precision == "bfloat16" else (m.I32, 0x7FFFFFFF, 0x7F800000)


def _as_float(f: m.Function, value: Any) -> Any:
    """Return a number or register of T as float32."""
    wide = m.vector(m.FLOAT, value.type.count) if hasattr(value.type, "count") else m.FLOAT
    return value if value.type == wide else f.b.fpext(value, wide)


def _from_float(f: m.Function, value: Any, shape: Shape) -> Any:
    """Return a register of float32 rounded to T."""
    kind = m.vector(_number(shape), value.type.count)
    return value if value.type == kind else f.b.fptrunc(value, kind)


def _first_forward(f: m.Function, shape: Shape) -> None:
    """Convolution, pool and ReLU of a first step: four places and all their taps in registers."""
    b, lanes = f.b, _lanes()
    floats, ints = m.vector(m.FLOAT, lanes), m.vector(m.I32, lanes)
    (rows, columns), (_, width), filters = shape.pooled, shape.padded, shape.filters
    taps = list(np.ndindex(KERNEL, KERNEL, shape.channels))
    zero = m.constant(floats, 0.0)
    with f.pictures() as picture:
        _write_plane(f, shape, picture)
        with f.loop(rows) as row, f.loop(filters, step=lanes) as filter_:
            weights = [f.load("kernel", filter_ + number * filters, m.FLOAT, lanes) for number in range(len(taps))]
            bias = f.load("bias", filter_, m.FLOAT, lanes)
            with f.loop(columns) as column:
                corner = row * (2 * width) + column * 2
                sums = [bias] * 4
                for (dy, dx, channel), weight in zip(taps, weights, strict=True):
                    for place in range(4):
                        away = (channel * shape.padded[0] + dy + place // 2) * width + dx + place % 2
                        pixel = f.splat(f.load("plane", corner + away, m.FLOAT), lanes)
                        sums[place] = f.fma(weight, pixel, sums[place])
                top, where = sums[0], m.constant(ints, 0)
                for place in (1, 2, 3):
                    larger = b.fcmp_ordered(">", sums[place], top)
                    top = b.select(larger, sums[place], top)
                    where = b.select(larger, m.constant(ints, place), where)
                active = b.fcmp_ordered(">", top, zero)
                where = b.select(active, where, m.constant(ints, INACTIVE))
                top = b.select(active, top, zero)
                total = b.fadd(b.fadd(sums[0], sums[1]), b.fadd(sums[2], sums[3]))
                top = b.select(b.fcmp_unordered("uno", total, total), total, top)  # a NaN must not end as a zero
                target = ((picture * rows + row) * columns + column) * filters + filter_
                f.store(_from_float(f, top, shape), "pooled", target, _number(shape))
                f.store(b.trunc(where, m.vector(m.I8, lanes)), "places", target, m.I8)


def _first_backward(f: m.Function, shape: Shape) -> None:
    """Gradients of the kernel and the bias of a first step: each place's own, times the pixels it saw."""
    b, lanes = f.b, _lanes()
    floats = m.vector(m.FLOAT, lanes)
    (rows, columns), (height, width), filters = shape.pooled, shape.padded, shape.filters
    zero = m.constant(floats, 0.0)
    with f.pictures() as picture:
        _write_plane(f, shape, picture)
        with f.loop(shape.channels) as channel, f.loop(rows) as row, f.loop(filters, step=lanes) as filter_:
            targets = [(channel + tap * shape.channels) * filters + filter_ for tap in range(KERNEL * KERNEL)]
            sums = [f.variable(floats) for _ in targets]
            for total, target in zip(sums, targets, strict=True):
                f.set(total, f.load("kernel_gradient", target, m.FLOAT, lanes))
            with f.loop(columns) as column:
                source = ((picture * rows + row) * columns + column) * filters + filter_
                where = f.load("places", source, m.I8, lanes)
                gradient = _as_float(f, f.load("gradient", source, _number(shape), lanes))
                corner = channel * (height * width) + row * (2 * width) + column * 2
                for place in range(4):
                    here = b.icmp_unsigned("==", where, m.constant(m.vector(m.I8, lanes), place))
                    share = b.select(here, gradient, zero)
                    for tap, total in enumerate(sums):
                        away = (tap // KERNEL + place // 2) * width + tap % KERNEL + place % 2
                        pixel = f.splat(f.load("plane", corner + away, m.FLOAT), lanes)
                        f.set(total, f.fma(pixel, share, f.get(total, floats)))
            for total, target in zip(sums, targets, strict=True):
                f.store(f.get(total, floats), "kernel_gradient", target, m.FLOAT)
        _add_bias(f, shape, picture)


def _write_plane(f: m.Function, shape: Shape, picture: Any) -> None:
    """Write a picture as float32, channel by channel, inside its border."""
    height, width = shape.padded
    for channel in range(shape.channels):
        with f.loop(shape.height) as row, f.loop(shape.width) as column:
            source = ((picture * shape.height + row) * shape.width + column) * shape.channels + channel
            target = (row + shape.padding + channel * height) * width + column + shape.padding
            f.store(_as_float(f, f.load("x", source, _number(shape))), "plane", target, m.FLOAT)


def _pool_forward(f: m.Function, shape: Shape) -> None:
    """Pool and ReLU of a convolution that is there already.

    Positive floating-point numbers are ordered like the integers of their bits; negative ones are negative integers.
    """
    b = f.b
    kind, size_bits, infinity = _bits(shape)
    bits = m.vector(kind, BLOCK)
    (_, width), (rows, columns), filters = shape.convolved, shape.pooled, shape.filters
    zero = m.constant(bits, 0)
    with (
        f.pictures() as picture,
        f.loop(rows) as row,
        f.loop(columns) as column,
        f.loop(filters, step=BLOCK) as filter_,
    ):
        corner = ((picture * shape.convolved[0] + row * 2) * width + column * 2) * filters + filter_
        values = []
        for place in range(4):
            value = f.load("y", corner + (place // 2 * width + place % 2) * filters, kind, BLOCK)
            size = b.and_(value, m.constant(bits, size_bits))
            wrong = b.icmp_unsigned(">", size, m.constant(bits, infinity))
            values.append(b.select(wrong, size, value))  # a NaN must not end as a zero
        top = zero
        for value in values:
            top = b.select(b.icmp_signed(">", value, top), value, top)
        where = m.constant(bits, INACTIVE)
        for place in (3, 2, 1, 0):
            where = b.select(b.icmp_signed("==", values[place], top), m.constant(bits, place), where)
        where = b.select(b.icmp_signed("==", top, zero), m.constant(bits, INACTIVE), where)
        target = ((picture * rows + row) * columns + column) * filters + filter_
        f.store(top, "pooled", target, kind)
        f.store(b.trunc(where, m.vector(m.I8, BLOCK)), "places", target, m.I8)


def _backward(f: m.Function, shape: Shape) -> None:
    """Gradients of the input, the kernel and the bias of a step that is not the first."""
    kind, line, capacity = _number(shape), shape.padded[1] * BLOCK, shape.capacity
    with f.pictures() as picture:
        lists = _write_lists(f, shape, picture)
        _add_bias(f, shape, picture)
        with f.loop(shape.channels // BLOCK) as block:
            with f.loop(math.prod(shape.padded) * BLOCK, step=16) as item:
                f.store(m.constant(m.vector(m.FLOAT, 16), 0.0), "sums", item, m.FLOAT)
            with f.loop(KERNEL) as dy:
                weights = f.at("weights", (block * KERNEL + dy) * (shape.filters * KERNEL * BLOCK), kind)
                with f.loop(lists) as number:
                    corner, start, count = (f.load_index("lists", number * 3 + item) for item in range(3))
                    sums = f.at("sums", corner + dy * line, m.FLOAT)
                    entries = f.at("rows", start, m.I32), f.at("row_factors", start, kind)
                    _add_rows(f, shape, sums, weights, *entries, count)
            _exchange_block(f, shape, picture, block)
            with f.loop(KERNEL) as dy, f.loop(shape.filters) as filter_:
                row = ((block * KERNEL + dy) * shape.filters + filter_) * (KERNEL * BLOCK)
                around = f.at("plane", dy * line, kind)
                first = filter_ * capacity
                entries = f.at("corners", first, m.I32), f.at("corner_factors", first, kind)
                count = f.load_index("counts", filter_)
                _add_rows(f, shape, f.at("kernel_gradient", row, m.FLOAT), around, *entries, count)


def _write_lists(f: m.Function, shape: Shape, picture: Any) -> Any:
    """List the gradients that are not zero: by place (their filters), and by filter (their places).

    A place is named by the corner of its 3x3 window in the padded input, a filter by its row of weights. Two entries
    may be worked on at once, so an odd list gets one more, which adds nothing.

    Returns:
        How many places have a list. ``lists`` holds the corner, the first entry and the number of entries of each.
    """
    b = f.b
    kind, size_bits, _ = _bits(shape)
    bytes_, bits = m.vector(m.I8, BLOCK), m.vector(kind, BLOCK)
    (rows, columns), (_, width), filters = shape.pooled, shape.padded, shape.filters
    capacity = shape.capacity
    lists, entries = f.variable(m.I64), f.variable(m.I64)
    nothing, one = m.constant(kind, 0), m.constant(m.I64, 1)
    f.set(lists, m.constant(m.I64, 0))
    f.set(entries, m.constant(m.I64, 0))
    with f.loop(filters) as filter_:
        f.store_index(f.integer(0), "counts", filter_)
    with f.loop(rows) as row, f.loop(columns) as column:
        cell = ((picture * rows + row) * columns + column) * filters
        for place in range(4):
            corner = ((row * 2 + place // 2) * width + column * 2 + place % 2) * BLOCK
            start = f.get(entries, m.I64)
            with f.loop(filters, step=BLOCK) as group:
                here = b.icmp_unsigned("==", f.load("places", cell + group, m.I8, BLOCK), m.constant(bytes_, place))
                size = b.and_(f.load("gradient", cell + group, kind, BLOCK), m.constant(bits, size_bits))
                wanted = b.and_(here, b.icmp_unsigned("!=", size, m.constant(bits, 0)))
                with f.bits(b.bitcast(wanted, m.I32)) as bit:
                    filter_ = group + bit
                    value = f.load("gradient", cell + filter_, kind)
                    entry = f.integer(f.get(entries, m.I64))
                    f.store_index(filter_ * (KERNEL * BLOCK), "rows", entry)
                    f.store(value, "row_factors", entry, kind)
                    f.set(entries, (entry + 1).value)
                    count = f.load_index("counts", filter_)
                    f.store_index(corner, "corners", filter_ * capacity + count)
                    f.store(value, "corner_factors", filter_ * capacity + count, kind)
                    f.store_index(count + 1, "counts", filter_)
            end = f.get(entries, m.I64)
            f.store_index(f.integer(0), "rows", f.integer(end))
            f.store(nothing, "row_factors", f.integer(end), kind)
            even = b.add(end, b.and_(end, one))
            f.set(entries, even)
            number = f.integer(f.get(lists, m.I64))
            for item, value in enumerate((corner, f.integer(start), f.integer(b.sub(even, start)))):
                f.store_index(value, "lists", number * 3 + item)
            f.set(lists, b.add(number.value, b.zext(b.icmp_signed("!=", start, end), m.I64)))
    with f.loop(filters) as filter_:
        count = f.load_index("counts", filter_)
        f.store_index(f.integer(0), "corners", filter_ * capacity + count)
        f.store(nothing, "corner_factors", filter_ * capacity + count, kind)
        f.store_index(f.integer(b.add(count.value, b.and_(count.value, one))), "counts", filter_)
    return f.integer(f.get(lists, m.I64))


def _add_rows(f: m.Function, shape: Shape, target: Any, base: Any, offsets: Any, factors: Any, count: Any) -> None:
    """Add ``factor * row`` for each of ``count`` entries: rows of 96 numbers of T at ``base``, to 96 float32."""
    b, floats, kind = f.b, m.vector(m.FLOAT, 16), _number(shape)
    sums = [f.variable(floats) for _ in range(2 * KERNEL)]
    for number, total in enumerate(sums):
        f.set(total, f.load(target, number * 16, m.FLOAT, 16))
    if shape.precision == "bfloat16":
        halves = m.vector(m.BFLOAT16, BLOCK)
        orders = [
            [lane * 8 + half + item // 2 + item % 2 * BLOCK for lane in range(4) for item in range(8)]
            for half in (0, 4)
        ]
        with f.loop(count, step=2) as entry:
            rows = [f.at(base, f.load_index(offsets, entry + item), kind) for item in (0, 1)]
            pair = b.load(f.at(factors, entry, kind), typ=m.I32, align=2)
            pairs = b.bitcast(f.splat(pair, 16), halves)
            for number in range(KERNEL):
                one, other = (f.load(row, number * BLOCK, m.I16, BLOCK) for row in rows)
                for order, total in zip(orders, sums[2 * number : 2 * number + 2], strict=True):
                    both = b.bitcast(f.shuffle(one, other, order), halves)
                    name = "llvm.x86.avx512bf16.dpbf16ps.512"
                    f.set(total, f.call(name, floats, f.get(total, floats), both, pairs))
    else:
        with f.loop(count) as entry:
            row = f.at(base, f.load_index(offsets, entry), kind)
            factor = f.splat(f.load(factors, entry, kind), 16)
            for number, total in enumerate(sums):
                f.set(total, f.fma(factor, f.load(row, number * 16, kind, 16), f.get(total, floats)))
    for number, total in enumerate(sums):
        f.store(f.get(total, floats), target, number * 16, m.FLOAT)


def _add_bias(f: m.Function, shape: Shape, picture: Any) -> None:
    """Add the gradients of a picture, where they flow, to those of the bias."""
    b, lanes = f.b, _lanes()
    floats = m.vector(m.FLOAT, lanes)
    cells, filters = math.prod(shape.pooled), shape.filters
    whole = f.variable(floats)
    with f.loop(filters, step=lanes) as filter_:
        f.set(whole, f.load("bias_gradient", filter_, m.FLOAT, lanes))
        with f.loop(cells) as cell:
            source = (picture * cells + cell) * filters + filter_
            gradient = _as_float(f, f.load("gradient", source, _number(shape), lanes))
            where = f.load("places", source, m.I8, lanes)
            active = b.icmp_unsigned("!=", where, m.constant(m.vector(m.I8, lanes), INACTIVE))
            gradient = b.select(active, gradient, m.constant(floats, 0.0))
            f.set(whole, b.fadd(f.get(whole, floats), gradient))
        f.store(f.get(whole, floats), "bias_gradient", filter_, m.FLOAT)


def _exchange_block(f: m.Function, shape: Shape, picture: Any, block: Any) -> None:
    """Write out the gradients of a block of input channels, and copy that block of the input into ``plane``."""
    kind, channels = _number(shape), shape.channels
    with f.loop(shape.height) as row, f.loop(shape.width) as column:
        inside = ((row + shape.padding) * shape.padded[1] + column + shape.padding) * BLOCK
        outside = ((picture * shape.height + row) * shape.width + column) * channels + block * BLOCK
        sums = f.load("sums", inside, m.FLOAT, BLOCK)
        f.store(_from_float(f, sums, shape), "inputs", outside, kind)
        f.store(f.load("x", outside, kind, BLOCK), "plane", inside, kind)
