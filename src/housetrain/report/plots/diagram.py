"""The model as an image: feature maps as slabs that shrink and deepen on the way from the image to the answer.

In: the layers of a model (`housetrain.models.layers`). Out: a table of slabs, and its drawing as inline SVG. It does
not know how the layers were read.
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
_NOT_DRAWN = {"scale", "dropout"}


@dataclass(frozen=True)
class Slab:
    """What flows between two steps: layers in a row with outputs of one shape.

    Attributes:
        shape: (height, width, channels), or (units,).
        steps: What led to it, for instance ``("conv 3×3", "norm", "ReLU")``; a repeated step as ``"2 × conv 3×3"``.
        names: The layers.
        short_cuts: Indices of earlier slabs that are added or joined here.
    """

    shape: Shape
    steps: tuple[str, ...]
    names: tuple[str, ...]
    short_cuts: tuple[int, ...] = ()


def slab_table(layers: Sequence[Layer]) -> tuple[Slab, ...]:
    """Return the slabs of the longest way through the model, with the short-cuts that end on it."""
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
        steps = Counter(layer.step for layer in group if layer.step and layer.step not in _NOT_DRAWN)
        begins = {
            place[start]
            for layer in group
            if len(layer.inputs) > 1
            for source in layer.inputs
            if (start := _on_main(source, by_name)) in place and place[start] < index
        }
        slabs.append(
            Slab(
                shape=group[0].shape,
                steps=tuple(f"{count} × {step}" if count > 1 else step for step, count in steps.items()),
                names=tuple(layer.name for layer in group),
                short_cuts=tuple(sorted(begins)),
            )
        )
    return tuple(slabs)


def _on_main(name: str, by_name: dict[str, Layer]) -> str:
    """Return the layer of the main way at which the branch that ``name`` ends began."""
    while name in by_name and not by_name[name].main and by_name[name].inputs:
        name = by_name[name].inputs[0]
    return name


def draw_model(slabs: Sequence[Slab], classes: Sequence[str]) -> Markup:
    """Draw the slabs from left to right and the class names at the end.

    Args:
        slabs: As `slab_table` makes them.
        classes: The names the last slab stands for.
    """
    largest = max((max(slab.shape[:2]) for slab in slabs if len(slab.shape) == 3), default=1)
    sizes = [_size(slab.shape, largest) for slab in slabs]
    widths = [max(_wide(slab), thick + deep) for slab, (_, thick, deep) in zip(slabs, sizes, strict=True)]
    names = [*classes[:9], "…"] if len(classes) > 10 else list(classes)
    room = min(150.0, max(text_width(name) for name in names) + 20)
    head = 8 + 13 * max(min(4, len(slab.steps)) for slab in slabs)
    branches = any(slab.short_cuts for slab in slabs)
    height = head + _TALLEST + 40 + (_FOOT if branches else 30)
    middle = head + (_TALLEST + 40) / 2
    drawing = Drawing(
        sum(widths) + _GAP * len(slabs) + room + 16,
        height,
        label="The model: " + ", then ".join(_shape_in_words(slab.shape) for slab in slabs) + ".",
        fixed=True,
    )
    x, centers = 8.0, []
    for index, (slab, (tall, thick, deep), width) in enumerate(zip(slabs, sizes, widths, strict=True)):
        center = x + width / 2
        centers.append(center)
        left = center - (thick + deep) / 2
        style = (
            "given"
            if not index
            else "answer"
            if index == len(slabs) - 1
            else "map"
            if len(slab.shape) == 3
            else "vector"
        )
        _draw_slab(drawing, left, middle, tall, thick=thick, deep=deep, slab=slab, style=style)
        steps = slab.steps if index else ("image",)
        for line, step in enumerate(reversed(steps[:4])):
            drawing.text(center, middle - (_TALLEST + 40) / 2 - 4 - 13 * line, step, "step", anchor="middle", size=11.5)
        drawing.text(center, height - 12, _shape_short(slab.shape), "strong", anchor="middle", size=12)
        if index:
            _arrow(drawing, x - _GAP + 6, middle, x - 4 if width <= thick + deep + 2 else left - 8)
        for start in slab.short_cuts:
            low, begin, end = height - 54, centers[start] + 5, center - 5
            curve = f"C{begin + 12:.1f} {low + 24:.1f} {end - 12:.1f} {low + 24:.1f} {end:.1f} {low:.1f}"
            tip = "a short-cut: what comes in is added to what comes out"
            drawing.path(f"M{begin:.1f} {low:.1f}{curve}", "short-cut", tip=tip)
            drawing.circle(end, low, 2.6, "short-cut-end")
        x += width + _GAP
    _arrow(drawing, x - _GAP + 6, middle, x - 6)
    line_height = min(20.0, (_TALLEST + 40) / len(names))
    for line, name in enumerate(names):
        y = middle + (line - (len(names) - 1) / 2) * line_height
        drawing.circle(x + 3, y, 3.5, "point answer")
        drawing.text(x + 12, y + 4, shorten(name, room - 12), tip=name)
    return drawing.markup()


def _draw_slab(
    drawing: Drawing, x: float, middle: float, tall: float, *, thick: float, deep: float, slab: Slab, style: str
) -> None:
    tip = f"{_shape_in_words(slab.shape)}: {', '.join(slab.names)}"
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


def _wide(slab: Slab) -> float:
    return max(text_width(text, size=12) for text in (*slab.steps[:4], _shape_short(slab.shape))) + 2


def _shape_short(shape: Shape) -> str:
    return "×".join(f"{side:,}" for side in shape)


def _shape_in_words(shape: Shape) -> str:
    if len(shape) == 3:
        return f"{shape[0]}×{shape[1]} pixels of {shape[2]:,} {'channel' if shape[2] == 1 else 'channels'}"
    return f"{_shape_short(shape)} {'number' if shape == (1,) else 'numbers'}"
