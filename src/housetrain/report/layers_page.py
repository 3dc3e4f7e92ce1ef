"""The page that shows a convolution at work: the window slides over one's own image, and the feature map arises.

In: a `FirstConvolution` and the layers of a saved model. Out: ``layers.html``, self-contained: its numbers and its
script are in it, and it loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.report.page import TEMPLATES, write_page

if TYPE_CHECKING:
    from housetrain.evaluation.first_convolution import FirstConvolution
    from housetrain.models.layers import Layer

NAME = "layers.html"


def write_layers_page(path: Path, found: FirstConvolution, layers: Sequence[Layer], *, title: str) -> Path:
    """Write the page.

    Args:
        path: The HTML file.
        found: The first convolution on one image.
        layers: The layers of the model, in order.
        title: What the image was called, and what it was called by the model.

    Raises:
        DiskFull: It cannot be written; an earlier page is intact.
    """
    from markupsafe import Markup

    script = (TEMPLATES / "layers.js").read_text(encoding="utf-8")
    numbers = json.dumps(_numbers(found), separators=(",", ":")).replace("<", "\\u003c")
    context = {
        "title": title,
        "found": found,
        "layers": layers,
        "words": in_words(found),
        "numbers": Markup(numbers),
        "layers_script": Markup(script),
        "layers_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return write_page(path, "layers.html.j2", context)


def in_words(found: FirstConvolution) -> list[str]:
    """Return how the shape of the feature map and the number of parameters follow."""
    side, _, channels, _ = found.kernels.shape
    height, width = found.pixels.shape[:2]
    h, w = found.maps.shape[:2]
    weights = side * side * channels
    one = f"{side} × {side} × {channels} = {weights} weights and 1 bias"
    total = (weights + 1) * found.filters
    padded = "" if not found.pad else f", with {found.pad} rows of zeros around the image"
    moved = "one pixel" if found.stride == 1 else f"{found.stride} pixels"
    return [
        f"A filter has {one}; {found.filters} filters have ({weights} + 1) × {found.filters} = {total:,} parameters.",
        f"The window moves by {moved} over {height} × {width} pixels{padded}: {h} × {w} places, one number each.",
        f"Max pooling keeps the largest of each 2 × 2 numbers: {h // 2} × {w // 2} are left.",
    ]


def _numbers(found: FirstConvolution) -> dict[str, Any]:
    def plain(values: np.ndarray) -> Any:
        return np.round(values.astype(np.float64), 4).tolist()

    return {
        "pixels": plain(found.pixels),
        "kernels": plain(np.moveaxis(found.kernels, -1, 0)),
        "biases": plain(found.biases),
        "maps": plain(np.moveaxis(found.maps, -1, 0)),
        "numbers": found.numbers,
        "stride": found.stride,
        "pad": found.pad,
    }
