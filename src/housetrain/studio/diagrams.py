"""The model of a recipe as a drawing, before anything is trained.

In: a recipe, the size of the images, the classes. Out: SVG. Nets with a closed
form are drawn at once; others are built once, in a process of their own, and what was found is kept on disk.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

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
    counts = [layer.parameters for layer in layers]
    parameters = None if None in counts else sum(count or 0 for count in counts)
    return Diagram(str(draw_model(slab_table(layers), classes)), parameters)


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
