"""The model of a recipe as a drawing, before anything is trained.

In: a recipe, the size of the images, the classes. Out: SVG in the colors of the page's theme. Nets with a closed
form are drawn at once; others are built once, in a process of their own, and what was found is kept on disk.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from housetrain.errors import HousetrainError
from housetrain.images.input_spec import InputSpec
from housetrain.models.layers import Layer, planned_layers
from housetrain.models.nets import infeasible
from housetrain.models.recipe import PRESETS, Recipe
from housetrain.report.plots.diagram import draw_model, slab_table
from housetrain.studio.describing import describe
from housetrain.studio.desk import child_environment
from housetrain.studio.settings import Settings
from housetrain.system import store
from housetrain.system.process_pool import Failed, Limits, ProcessPool

_BUILDS_S = 120.0
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
    """Return the drawing of a recipe's net; ``None`` where it does not fit, or must be built first (see `build`)."""
    if infeasible(recipe, spec):
        return None
    layers = planned_layers(recipe, spec, len(classes)) or _kept(_file(recipe, spec, classes))
    if not layers:
        return None
    rules = _RULES.format(**(_DARK if st.context.theme.type == "dark" else _LIGHT))
    counts = [layer.parameters for layer in layers]
    parameters = None if None in counts else sum(count or 0 for count in counts)
    svg = str(draw_model(slab_table(layers), classes))
    # An image of its own: the page's sanitiser takes <svg> out of HTML, and styles must not reach the page.
    start = svg.index(">") + 1
    head = svg[:start].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return Diagram(f"{head}<style>{rules}</style>{svg[start:]}", parameters)


def build(recipe: Recipe, spec: InputSpec, classes: tuple[str, ...]) -> None:
    """Build the net in a process of its own and keep what is in it. Takes the seconds that Keras takes to load.

    Raises:
        HousetrainError: It cannot be built.
    """
    request = {"recipe": recipe.to_json(), "spec": spec.to_json(), "classes": list(classes)}
    limits = Limits(timeout_s=_BUILDS_S, memory_bytes=None)
    with ProcessPool(describe, [request], workers=1, limits=limits, environment=child_environment()) as pool:
        [(_, layers)] = pool.poll(2 * _BUILDS_S)
    if isinstance(layers, Failed):
        raise HousetrainError(layers.reason)
    store.write_json_atomic(_file(recipe, spec, classes), layers, durable=False)


def _file(recipe: Recipe, spec: InputSpec, classes: tuple[str, ...]) -> Path:
    """Return where the layers of a net are kept: what decides its shape is its name."""
    shape = [recipe.model, *(getattr(recipe, name) for name in PRESETS[recipe.model].uses), recipe.dropout]
    key = hashlib.sha256(json.dumps([shape, spec.shape, len(classes)]).encode()).hexdigest()[:20]
    return Settings.of().scratch / "diagrams" / f"{key}.json"


def _kept(file: Path) -> tuple[Layer, ...]:
    try:
        return tuple(
            Layer(**{**layer, "inputs": tuple(layer["inputs"]), "shape": tuple(layer["shape"])})
            for layer in json.loads(file.read_bytes())
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ()
