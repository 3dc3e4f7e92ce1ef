"""The model of a recipe as a drawing, before anything is trained.

In: a recipe, the size of the pictures, the classes. Out: SVG in the colours of the page's theme. Nets with a closed
form are drawn at once; for others nothing is drawn until they are built.
"""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from housetrain.data.decode import InputSpec
from housetrain.results.diagram import draw_model, slab_table
from housetrain.results.layers import planned_layers
from housetrain.training.recipe import Recipe
from housetrain.training.shapes import infeasible

_LIGHT = {"ink": "#1f2937", "soft": "#94a3b8", "card": "#ffffff", "map": "#93c5fd", "vector": "#fdba74"}
_DARK = {"ink": "#e5e7eb", "soft": "#64748b", "card": "#0e1117", "map": "#2563eb", "vector": "#c2570c"}
_RULES = """
text {{ fill: {ink}; font-family: 'Source Sans', 'Segoe UI', sans-serif; font-size: 12px; }} .step {{ opacity: .7; }}
.strong {{ font-weight: 600; }}
.slab {{ stroke: {card}; stroke-width: .8; stroke-linejoin: round; }}
.slab.given {{ fill: {soft}; }} .slab.map {{ fill: {map}; }}
.slab.vector {{ fill: {vector}; }} .slab.answer, .point.answer {{ fill: #8b5cf6; }}
.slab.top {{ filter: brightness(1.15); }} .slab.side {{ filter: brightness(.82); }}
.arrow {{ stroke: {soft}; stroke-width: 1.2; }} .arrow-head {{ fill: {soft}; }}
.short-cut {{ fill: none; stroke: #10b981; stroke-width: 1.5; }}
.short-cut-end {{ fill: #10b981; }}
"""


class Diagram(NamedTuple):
    """A drawn model."""

    svg: str
    parameters: int | None


def diagram(recipe: Recipe, spec: InputSpec, classes: tuple[str, ...]) -> Diagram | None:
    """Return the drawing of a recipe's net, ``None`` where its form is not known without building it."""
    layers = () if infeasible(recipe, spec) else planned_layers(recipe, spec, len(classes))
    if not layers:
        return None
    dark = st.context.theme.type == "dark"
    rules = _RULES.format(**(_DARK if dark else _LIGHT))
    counts = [layer.parameters for layer in layers]
    parameters = None if None in counts else sum(count or 0 for count in counts)
    svg = str(draw_model(slab_table(layers), classes))
    # A picture of its own: the page's sanitiser takes <svg> out of HTML, and styles must not reach the page.
    start = svg.index(">") + 1
    head = svg[:start].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return Diagram(f"{head}<style>{rules}</style>{svg[start:]}", parameters)
