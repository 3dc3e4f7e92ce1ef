"""The forward step that is not the first: convolution by Winograd's F(2x2, 3x3), the pool of each tile after it.

In: a `Shape`, the `Function` to write. Does not know the gradients.

A tile of 2x2 results of a 3x3 convolution needs 36 multiplications a channel; Winograd's transforms of the 4x4 inputs
and of the weights leave 16 (Lavin & Gray 2015, arXiv:1509.09308). The 2x2 results are just what one cell of the pool
takes, so that they never leave the registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from housetrain.kernels import machine as m
from housetrain.kernels.common import as_float, from_float, number_of, pool_and_store
from housetrain.kernels.shape import BLOCK, KERNEL, PRODUCTS, TILE, Shape, lanes_of_register

_INTERLEAVED = [lane // 2 + lane % 2 * 16 for lane in range(BLOCK)]


def transform_kernel(f: m.Function, shape: Shape) -> None:
    """Write the transformed weights, for each part of 32 filters."""
    b, floats = f.b, m.vector(m.FLOAT, 16)
    paired = shape.precision == "bfloat16"
    half = m.constant(floats, 0.5)

    def transformed(g: Sequence[Any]) -> list[Any]:
        outer = b.fadd(g[0], g[2])
        return [g[0], b.fmul(b.fadd(outer, g[1]), half), b.fmul(b.fsub(outer, g[1]), half), g[2]]

    def of_channel(channel: m.Int, filter_: m.Int) -> list[Any]:
        taps = [
            f.load("kernel", (channel + tap * shape.channels) * shape.filters + filter_, m.FLOAT, 16)
            for tap in range(KERNEL * KERNEL)
        ]
        columns = [transformed(taps[column::KERNEL]) for column in range(KERNEL)]
        rows = [transformed([column[row] for column in columns]) for row in range(TILE)]
        return [product for row in rows for product in row]

    with f.parts() as block, f.loop(shape.channels, step=1 + paired) as channel:
        for side in (0, 16):
            ones = of_channel(channel, block * BLOCK + side)
            others = of_channel(channel + 1, block * BLOCK + side) if paired else ones
            for number, (one, other) in enumerate(zip(ones, others, strict=True)):
                row = ((block * PRODUCTS + number) * shape.channels + channel) * BLOCK
                if paired:
                    pair = f.shuffle(from_float(f, one, shape), from_float(f, other, shape), _INTERLEAVED)
                    f.store(pair, "weights", row + 2 * side, m.BFLOAT16)
                else:
                    f.store(one, "weights", row + side, m.FLOAT)


def forward(f: m.Function, shape: Shape) -> None:
    """Write convolution, pool and ReLU."""
    (height, width), (rows, columns), channels = shape.padded, shape.pooled, shape.channels
    strip, together, places = shape.tiling
    with f.parts() as image:
        if shape.padding:
            _write_padded(f, shape, image)
            source = f.at("padded", 0, number_of(shape))
        else:
            source = f.at("x", image * (height * width * channels), number_of(shape))
        with f.loop(-(-rows // strip)) as number:
            first = number * strip
            count = f.smaller(f.integer(strip), f.difference(f.integer(rows), first))
            with f.loop(count) as row, f.loop(columns) as column, f.loop(channels, step=16) as channel:
                corner = ((first + row) * (2 * width) + column * 2) * channels + channel
                _transform_tile(f, shape, source, corner, (row * columns + column) * channels + channel, places)
            with f.loop(shape.filters // BLOCK) as block:
                with f.loop(PRODUCTS) as product, f.loop(count * columns, step=together) as tile:
                    _multiply(f, shape, block, product, tile, places=places, together=together)
                with f.loop(count) as row, f.loop(columns) as column:
                    target = ((image * rows + first + row) * columns + column) * shape.filters + block * BLOCK
                    _finish_tile(f, shape, block, row * columns + column, target, places)


def _write_padded(f: m.Function, shape: Shape, image: m.Int) -> None:
    kind, channels = number_of(shape), shape.channels
    with f.loop(shape.height) as row, f.loop(shape.width * channels, step=BLOCK) as item:
        value = f.load("x", (image * shape.height + row) * (shape.width * channels) + item, kind, BLOCK)
        target = ((row + shape.padding) * shape.padded[1] + shape.padding) * channels + item
        f.store(value, "padded", target, kind)


def _transform_tile(f: m.Function, shape: Shape, source: Any, corner: m.Int, target: m.Int, places: int) -> None:
    """Write the 16 transformed inputs of a tile for 16 channels."""
    b, kind, channels = f.b, number_of(shape), shape.channels

    def transformed(d: Sequence[Any]) -> list[Any]:
        return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[1], d[3])]

    inputs = [
        [
            as_float(f, f.load(source, corner + (row * shape.padded[1] + column) * channels, kind, 16))
            for row in range(TILE)
        ]
        for column in range(TILE)
    ]
    columns = [transformed(column) for column in inputs]
    for row in range(TILE):
        for column, value in enumerate(transformed([given[row] for given in columns])):
            item = (row * TILE + column) * (places * channels)
            f.store(from_float(f, value, shape), "tiles", target + item, kind)


def _multiply(
    f: m.Function, shape: Shape, block: m.Int, product: m.Int, tile: m.Int, *, places: int, together: int
) -> None:
    """Write one of the 16 products of some tiles with 32 filters: a small matrix multiplication."""
    b, kind, channels = f.b, number_of(shape), shape.channels
    floats, paired = m.vector(m.FLOAT, 16), shape.precision == "bfloat16"
    sums = [[f.variable(floats) for _ in (0, 16)] for _ in range(together)]
    for total in [total for pair in sums for total in pair]:
        f.set(total, m.constant(floats, 0.0))
    weights = f.at("weights", (block * PRODUCTS + product) * (channels * BLOCK), kind)
    inputs = f.at("tiles", (product * places + tile) * channels, kind)
    with f.loop(channels, step=1 + paired) as channel:
        if paired:
            rows = [f.load(weights, channel * BLOCK + 2 * side, kind, BLOCK) for side in (0, 16)]
        else:
            rows = [f.load(weights, channel * BLOCK + side, kind, 16) for side in (0, 16)]
        for number, pair in enumerate(sums):
            place = channel + number * channels
            for row, total in zip(rows, pair, strict=True):
                if paired:
                    both = f.b.load(f.at(inputs, place, kind), typ=m.I32, align=4)
                    value = b.bitcast(f.splat(both, 16), row.type)
                    f.set(total, f.call(m.DOT, floats, f.get(total, floats), row, value))
                else:
                    value = f.splat(f.load(inputs, place, kind), 16)
                    f.set(total, f.fma(row, value, f.get(total, floats)))
    for number, pair in enumerate(sums):
        for side, total in zip((0, 16), pair, strict=True):
            f.store(f.get(total, floats), "products", (product * places + tile + number) * BLOCK + side, m.FLOAT)


def _finish_tile(f: m.Function, shape: Shape, block: m.Int, tile: m.Int, target: m.Int, places: int) -> None:
    """Write the results of a tile: the transform back, the bias, the pool."""
    b, lanes = f.b, lanes_of_register()

    def transformed(v: Sequence[Any]) -> list[Any]:
        return [b.fadd(b.fadd(v[0], v[1]), v[2]), b.fsub(b.fsub(v[1], v[2]), v[3])]

    for side in range(0, BLOCK, lanes):
        bias = f.load("bias", block * BLOCK + side, m.FLOAT, lanes)
        products = [f.load("products", (tile + n * places) * BLOCK + side, m.FLOAT, lanes) for n in range(PRODUCTS)]
        columns = [transformed(products[column::TILE]) for column in range(TILE)]
        results = [value for row in (0, 1) for value in transformed([column[row] for column in columns])]
        pool_and_store(f, shape, [b.fadd(value, bias) for value in results], target + side)
