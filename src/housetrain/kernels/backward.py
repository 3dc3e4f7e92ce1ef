"""The gradients of a step that is not the first: only those that are not zero are multiplied with.

In: a `Shape`, the `Function` to write. Does not know the forward step.
"""

from __future__ import annotations

import math
from typing import Any

from housetrain.kernels import machine as m
from housetrain.kernels.common import add_bias, bits_of, from_float, number_of
from housetrain.kernels.shape import BLOCK, KERNEL, Shape


def backward(f: m.Function, shape: Shape) -> None:
    """Gradients of the input, the kernel and the bias of a step that is not the first."""
    kind, line, capacity = number_of(shape), shape.padded[1] * BLOCK, shape.capacity
    with f.parts() as image:
        lists = _write_lists(f, shape, image)
        add_bias(f, shape, image)
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
            _exchange_block(f, shape, image, block)
            with f.loop(KERNEL) as dy, f.loop(shape.filters) as filter_:
                row = ((block * KERNEL + dy) * shape.filters + filter_) * (KERNEL * BLOCK)
                around = f.at("plane", dy * line, kind)
                first = filter_ * capacity
                entries = f.at("corners", first, m.I32), f.at("corner_factors", first, kind)
                count = f.load_index("counts", filter_)
                _add_rows(f, shape, f.at("kernel_gradient", row, m.FLOAT), around, *entries, count)


def _write_lists(f: m.Function, shape: Shape, image: Any) -> Any:
    """List the gradients that are not zero: by place (their filters), and by filter (their places).

    A place is named by the corner of its 3x3 window in the padded input, a filter by its row of weights. Two entries
    may be worked on at once, so an odd list gets one more, which adds nothing.

    Returns:
        How many places have a list. ``lists`` holds the corner, the first entry and the number of entries of each.
    """
    b = f.b
    kind, size_bits, _ = bits_of(shape)
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
        cell = ((image * rows + row) * columns + column) * filters
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
    b, floats, kind = f.b, m.vector(m.FLOAT, 16), number_of(shape)
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
                    f.set(total, f.call(m.DOT, floats, f.get(total, floats), both, pairs))
    else:
        with f.loop(count) as entry:
            row = f.at(base, f.load_index(offsets, entry), kind)
            factor = f.splat(f.load(factors, entry, kind), 16)
            for number, total in enumerate(sums):
                f.set(total, f.fma(factor, f.load(row, number * 16, kind, 16), f.get(total, floats)))
    for number, total in enumerate(sums):
        f.store(f.get(total, floats), target, number * 16, m.FLOAT)


def _exchange_block(f: m.Function, shape: Shape, image: Any, block: Any) -> None:
    """Write out the gradients of a block of input channels, and copy that block of the input into ``plane``."""
    kind, channels = number_of(shape), shape.channels
    with f.loop(shape.height) as row, f.loop(shape.width) as column:
        inside = ((row + shape.padding) * shape.padded[1] + column + shape.padding) * BLOCK
        outside = ((image * shape.height + row) * shape.width + column) * channels + block * BLOCK
        sums = f.load("sums", inside, m.FLOAT, BLOCK)
        f.store(from_float(f, sums, shape), "inputs", outside, kind)
        f.store(f.load("x", outside, kind, BLOCK), "plane", inside, kind)
