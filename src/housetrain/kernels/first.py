"""The first step of a model: a convolution of one or three channels, whose pool follows in registers.

In: a `Shape`, the `Function` to write. Does not know the other steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from housetrain.kernels import machine as m
from housetrain.kernels.common import add_bias, as_float, number_of, pool_and_store
from housetrain.kernels.shape import KERNEL, Shape, lanes_of_register


def forward(f: m.Function, shape: Shape) -> None:
    """Convolution, pool and ReLU of a first step: four places and all their taps in registers."""
    lanes = lanes_of_register()
    (rows, columns), (_, width), filters = shape.pooled, shape.padded, shape.filters
    taps = list(np.ndindex(KERNEL, KERNEL, shape.channels))
    with f.parts() as image:
        _write_plane(f, shape, image)
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
                target = ((image * rows + row) * columns + column) * filters + filter_
                pool_and_store(f, shape, sums, target)


def backward(f: m.Function, shape: Shape) -> None:
    """Gradients of the kernel and the bias of a first step: each place's own, times the pixels of its window."""
    b, lanes = f.b, lanes_of_register()
    floats = m.vector(m.FLOAT, lanes)
    (rows, columns), (height, width), filters = shape.pooled, shape.padded, shape.filters
    zero = m.constant(floats, 0.0)
    with f.parts() as image:
        _write_plane(f, shape, image)
        with f.loop(shape.channels) as channel, f.loop(rows) as row, f.loop(filters, step=lanes) as filter_:
            targets = [(channel + tap * shape.channels) * filters + filter_ for tap in range(KERNEL * KERNEL)]
            sums = [f.variable(floats) for _ in targets]
            for total, target in zip(sums, targets, strict=True):
                f.set(total, f.load("kernel_gradient", target, m.FLOAT, lanes))
            with f.loop(columns) as column:
                source = ((image * rows + row) * columns + column) * filters + filter_
                where = f.load("places", source, m.I8, lanes)
                gradient = as_float(f, f.load("gradient", source, number_of(shape), lanes))
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
        add_bias(f, shape, image)


def _write_plane(f: m.Function, shape: Shape, image: Any) -> None:
    """Write an image as float32, channel by channel, inside its border."""
    height, width = shape.padded
    for channel in range(shape.channels):
        with f.loop(shape.height) as row, f.loop(shape.width) as column:
            source = ((image * shape.height + row) * shape.width + column) * shape.channels + channel
            target = (row + shape.padding + channel * height) * width + column + shape.padding
            f.store(as_float(f, f.load("x", source, number_of(shape))), "plane", target, m.FLOAT)
