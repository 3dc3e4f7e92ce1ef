"""Diagram of a model: its feature maps as slabs, from the image to the class probabilities.

In: the layers of a model (`housetrain.models.layers`). Out: a table of slabs, and its drawing as inline SVG. Does not
know whether the layers were planned or read from a file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from housetrain.models.layers import Layer, Shape
from housetrain.report.plots.svg import Drawing, shorten, text_width

if TYPE_CHECKING:
    from markupsafe import Markup

_TALLEST, _GAP, _FOOT = 120, 46, 56
_LABELS = 4  # lines above a slab
_NOT_DRAWN = {"scale", "dropout"}


@dataclass(frozen=True)
class Slab:
    """Consecutive layers whose outputs have the same shape.

    Attributes:
        shape: (height, width, channels), or (units,).
        labels: Of its layers, for instance ``("conv 3×3", "norm", "ReLU")``; a repeated one as ``"2 × conv 3×3"``.
        names: Of its layers.
        shortcuts: Indices of earlier slabs that are added or concatenated here.
    """

    shape: Shape
    labels: tuple[str, ...]
    names: tuple[str, ...]
    shortcuts: tuple[int, ...] = ()


def slab_table(layers: Sequence[Layer]) -> tuple[Slab, ...]:
    """Return the slabs on the longest path through the model, with the shortcuts that end at each."""
    groups: list[list[Layer]] = []
    for layer in layers:
        if not layer.main or not layer.shape:
            continue
        if groups and groups[-1][-1].shape == layer.shape:
            groups[-1].append(layer)
        else:
            groups.append([layer])
    by_name = {layer.name: layer for layer in layers}
    slabs = []
    place = {layer.name: index for index, group in enumerate(groups) for layer in group}
    for index, group in enumerate(groups):
        labels = Counter(layer.label for layer in group if layer.label not in _NOT_DRAWN)
        begins = {
            place[start]
            for layer in group
            if len(set(layer.inputs)) > 1
            for source in layer.inputs
            if (start := _on_main(source, by_name)) in place and place[start] < index
        }
        slabs.append(
            Slab(
                shape=group[0].shape,
                labels=tuple(f"{count} × {label}" if count > 1 else label for label, count in labels.items()),
                names=tuple(layer.name for layer in group),
                shortcuts=tuple(sorted(begins)),
            )
        )
    return tuple(slabs)


def _on_main(name: str, by_name: dict[str, Layer]) -> str:
    """Return the layer of the main path at which the branch that ends in ``name`` starts."""
    while name in by_name and not by_name[name].main and by_name[name].inputs:
        name = by_name[name].inputs[0]
    return name


def draw_model(slabs: Sequence[Slab], classes: Sequence[str]) -> Markup:
    """Draw the slabs from left to right and the class names at the end.

    Args:
        slabs: As `slab_table` returns them.
        classes: Class names, for the last slab.
    """
    largest = max((max(slab.shape[:2]) for slab in slabs if len(slab.shape) == 3), default=1)
    sizes = [_size(slab.shape, largest) for slab in slabs]
    widths = [max(_text_width(slab), thick + deep) for slab, (_, thick, deep) in zip(slabs, sizes, strict=True)]
    names = [*classes[:9], "…"] if len(classes) > 10 else list(classes)
    name_width = min(150.0, max(text_width(name) for name in names) + 20)
    head = 8 + 13 * max(min(_LABELS, len(slab.labels)) for slab in slabs)
    height = head + _TALLEST + 40 + (_FOOT if any(slab.shortcuts for slab in slabs) else 30)
    middle = head + (_TALLEST + 40) / 2
    drawing = Drawing(
        sum(widths) + _GAP * len(slabs) + name_width + 16,
        height,
        label="Diagram of the model: " + ", then ".join(_shape_text(slab.shape) for slab in slabs) + ".",
        fixed=True,
    )
    x, centers = 8.0, []
    for index, (slab, size, width) in enumerate(zip(slabs, sizes, widths, strict=True)):
        _, thick, deep = size
        center = x + width / 2
        centers.append(center)
        left = center - (thick + deep) / 2
        style = "vector" if len(slab.shape) == 1 else "map"
        style = "given" if index == 0 else "answer" if index == len(slabs) - 1 else style
        _draw_slab(drawing, left, middle, size, slab=slab, style=style)
        labels = slab.labels if index else ("image",)
        for line, label in enumerate(reversed(labels[:_LABELS])):
            top = middle - (_TALLEST + 40) / 2 - 4 - 13 * line
            drawing.text(center, top, label, "step", anchor="middle", size=11.5)
        drawing.text(center, height - 12, _short(slab.shape), "strong", anchor="middle", size=12)
        if index:
            _arrow(drawing, x - _GAP + 6, middle, x - 4 if width <= thick + deep + 2 else left - 8)
        for start in slab.shortcuts:
            _draw_shortcut(drawing, centers[start] + 5, center - 5, height - 54)
        x += width + _GAP
    _arrow(drawing, x - _GAP + 6, middle, x - 6)
    line_height = min(20.0, (_TALLEST + 40) / len(names))
    for line, name in enumerate(names):
        y = middle + (line - (len(names) - 1) / 2) * line_height
        drawing.circle(x + 3, y, 3.5, "point answer")
        drawing.text(x + 12, y + 4, shorten(name, name_width - 12), tip=name)
    return drawing.markup()


def _draw_shortcut(drawing: Drawing, start: float, end: float, y: float) -> None:
    curve = f"C{start + 12:.1f} {y + 24:.1f} {end - 12:.1f} {y + 24:.1f} {end:.1f} {y:.1f}"
    drawing.path(f"M{start:.1f} {y:.1f}{curve}", "shortcut", tip="Residual connection: input added to output")
    drawing.circle(end, y, 2.6, "shortcut-end")


def _draw_slab(
    drawing: Drawing, x: float, middle: float, size: tuple[float, float, float], *, slab: Slab, style: str
) -> None:
    tall, thick, deep = size
    tip = f"{_shape_text(slab.shape)}: {', '.join(slab.names)}"
    top = middle - tall / 2 + deep / 2
    front = [(x, top), (x + thick, top), (x + thick, top + tall), (x, top + tall)]
    drawing.polygon(
        [(x, top), (x + deep, top - deep), (x + thick + deep, top - deep), (x + thick, top)], f"slab top {style}"
    )
    side = [
        (x + thick, top),
        (x + thick + deep, top - deep),
        (x + thick + deep, top + tall - deep),
        (x + thick, top + tall),
    ]
    drawing.polygon(side, f"slab side {style}")
    drawing.polygon(front, f"slab front {style}", tip=tip)


def _arrow(drawing: Drawing, start: float, y: float, end: float) -> None:
    drawing.line(start, y, end - 5, y, "arrow")
    drawing.polygon([(end, y), (end - 7, y - 3.5), (end - 7, y + 3.5)], "arrow-head")


def _size(shape: Shape, largest: int) -> tuple[float, float, float]:
    """Return height, thickness and depth of the drawn slab."""
    if len(shape) == 3:
        tall = 14 + (_TALLEST - 14) * max(shape[:2]) / largest
        return tall, 3 + 4.2 * math.log2(1 + shape[2]), tall * 0.32
    return 16 + min(110.0, 11 * math.log2(1 + shape[-1])), 9.0, 5.0


def _text_width(slab: Slab) -> float:
    return max(text_width(text, size=12) for text in (*slab.labels[:_LABELS], _short(slab.shape))) + 2


def _short(shape: Shape) -> str:
    return "×".join(f"{side:,}" for side in shape)


def _shape_text(shape: Shape) -> str:
    if len(shape) == 3:
        return f"{shape[0]}×{shape[1]} pixels of {shape[2]:,} {'channel' if shape[2] == 1 else 'channels'}"
    return f"{_short(shape)} {'number' if shape == (1,) else 'numbers'}"
