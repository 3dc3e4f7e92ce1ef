"""What a child process runs to list the layers of a model, so that the page need not hold Keras.

In: ``{"recipe", "spec", "classes"}``. Out: its layers as plain values.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any


def describe(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Build the model of a recipe and return its layers.

    Args:
        request: A recipe and an input spec as JSON, and the class names.

    Raises:
        HousetrainError: It cannot be built.
    """
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.build import build, for_inference
    from housetrain.models.layers import read_layers
    from housetrain.models.recipe import Recipe

    recipe, spec = Recipe.from_json(request["recipe"]), InputSpec.from_json(request["spec"])
    model = build(recipe, spec=spec, classes=request["classes"])
    with tempfile.TemporaryDirectory() as folder:
        for_inference(model).save(Path(folder) / "model.keras")
        return [asdict(layer) for layer in read_layers(Path(folder) / "model.keras")]
