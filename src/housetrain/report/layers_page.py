"""The page that shows a convolution at work: the window slides over one's own image, and the feature map arises.

In: a `FirstConvolution` and the layers of a saved model. Out: ``layers.html``, self-contained: its numbers and its
script are in it, and it loads nothing; ``layers.json``, what it shows, for the studio, which has the same `Widget`.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from housetrain.report.page import TEMPLATES, write_page
from housetrain.system import json_types, store

if TYPE_CHECKING:
    from housetrain.evaluation.first_convolution import FirstConvolution
    from housetrain.models.layers import Layer

NAME, DATA = "layers.html", "layers.json"


class Widget(NamedTuple):
    """The moving part: its elements, their style, and the script that defines ``showLayers(root, numbers)``."""

    html: str
    css: str
    script: str


class LayerRow(TypedDict):
    """One layer in the table: its name, what it does, the shape of its output and its number of parameters."""

    name: str
    operation: str
    shape: list[int]
    parameters: int


class LayersView(TypedDict):
    """What the page and the studio show.

    ``numbers`` is for the script, ``words`` are sentences on shapes and parameters, ``layers`` is the table.
    """

    numbers: dict[str, Any]
    words: list[str]
    layers: list[LayerRow]


def widget() -> Widget:
    """Return the moving part."""
    names = ("layers_widget.html", "layers_widget.css", "layers.js")
    return Widget(*((TEMPLATES / name).read_text(encoding="utf-8") for name in names))


def view_of(found: FirstConvolution, layers: Sequence[Layer]) -> LayersView:
    """Return what is shown of a first convolution on one image, as plain JSON."""
    rows: list[LayerRow] = [
        {
            "name": layer.name,
            "operation": layer.description,
            "shape": [int(side) for side in layer.shape],
            "parameters": int(layer.parameters or 0),
        }
        for layer in layers
    ]
    return {"numbers": _numbers(found), "words": in_words(found, layers), "layers": rows}


def read_view(folder: Path) -> LayersView | None:
    """Return what `write_layers_page` wrote beside its page in a folder; ``None`` where there is none.

    Raises:
        CorruptError: The file is something else.
    """
    path = folder / DATA
    if not path.is_file():
        return None
    view: LayersView = json_types.must_fit(store.read_json(path), LayersView, path)
    return view


def write_layers_page(path: Path, view: LayersView, *, title: str) -> Path:
    """Write the page, and beside it what it shows as JSON.

    Args:
        path: The HTML file.
        view: Of `view_of`.
        title: What the image was called, and what it was called by the model.

    Raises:
        DiskFull: It cannot be written; an earlier page is intact.
    """
    from markupsafe import Markup

    shown = widget()
    script = shown.script + 'showLayers(document, JSON.parse(document.getElementById("numbers").textContent));\n'
    numbers = json.dumps(view["numbers"], separators=(",", ":")).replace("<", "\\u003c")
    context = {
        "title": title,
        "view": view,
        "numbers": Markup(numbers),
        "widget": Markup(shown.html),
        "widget_style": Markup(shown.css),
        "layers_script": Markup(script),
        "layers_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    compact = json.dumps(
        view, separators=(",", ":")
    )  # with a line for each of 150,000 pixels it is four times as large
    store.write_bytes_atomic(path.with_name(DATA), compact.encode(), durable=False)
    return write_page(path, "layers.html.j2", context)


def in_words(found: FirstConvolution, layers: Sequence[Layer] = ()) -> list[str]:
    """Return how the shape of the feature map and the number of parameters follow.

    Args:
        found: The first convolution on one image.
        layers: The layers of the model, where they are known: which of them have a bias, and what follows.
    """
    side, _, channels, _ = found.kernels.shape
    height, width = found.pixels.shape[:2]
    h, w = found.maps.shape[:2]
    weights = side * side * channels
    own, following = _around(found.name, layers)
    sizes = f"{side} × {side} × {channels} = {weights} weights"
    if own is not None and own.parameters == weights * found.filters:
        counted = f"A filter has {sizes} and no bias; {found.filters} filters have {weights} × {found.filters}"
        total = weights * found.filters
    else:
        counted = f"A filter has {sizes} and 1 bias; {found.filters} filters have ({weights} + 1) × {found.filters}"
        total = (weights + 1) * found.filters
    padded = "" if not found.pad else f", with {found.pad} rows of zeros around the image"
    moved = "one pixel" if found.stride == 1 else f"{found.stride} pixels"
    halved = f"{h // 2} × {w // 2}"
    if own is not None and "MaxPooling2D" not in following:
        pooled = f"Max pooling would keep the largest of each 2 × 2 numbers, {halved}; this model has none here."
    else:
        pooled = f"Max pooling keeps the largest of each 2 × 2 numbers: {halved} are left. Where a model pools before "
        pooled += "ReLU, the result is the same, because the largest number stays the largest."
    scaled = ["Batch normalization scales the numbers before ReLU, which the maps leave out."]
    return [
        f"{counted} = {total:,} parameters.",
        f"The window moves by {moved} over {height} × {width} pixels{padded}: {h} × {w} places, one number each.",
        *(scaled if "BatchNormalization" in following else []),
        pooled,
        f"Shown are the {len(found.numbers)} of {found.filters} filters of {found.name} whose maps vary most.",
    ]


def _around(name: str, layers: Sequence[Layer]) -> tuple[Layer | None, list[str]]:
    """Return a layer and the kinds of those that follow, up to the next convolution."""
    place = next((number for number, layer in enumerate(layers) if layer.name == name), None)
    if place is None:
        return None, []
    rest = [layer.kind for layer in layers[place + 1 :]]
    return layers[place], list(itertools.takewhile(lambda kind: not kind.endswith("Conv2D"), rest))


def _numbers(found: FirstConvolution) -> dict[str, Any]:
    def plain(values: np.ndarray) -> Any:
        return np.round(values.astype(np.float64), 4).tolist()

    return {
        "pixels": plain(found.pixels),
        "kernels": plain(np.moveaxis(found.kernels, -1, 0)),
        "biases": plain(found.biases),
        "maps": plain(np.moveaxis(found.maps, -1, 0)),
        "numbers": list(found.numbers),
        "stride": found.stride,
        "pad": found.pad,
    }
