"""The process that builds a net to say what is in it: ``python -m housetrain.studio.describing``.

In: ``{"recipe", "spec", "classes"}`` as JSON on standard input. Out: its layers as JSON on standard output, or
``{"error": "..."}``. Keras lives here so that the page need not hold it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from housetrain.errors import HousetrainError


def main() -> None:
    """Build the net of a recipe and describe it."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not be taken for the answer
    asked = json.load(sys.stdin)
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.layers import read_layers
    from housetrain.models.recipe import Recipe

    try:
        from housetrain.models.build import build, for_inference

        net = build(
            Recipe.from_json(asked["recipe"]), spec=InputSpec.from_json(asked["spec"]), classes=asked["classes"]
        )
        with tempfile.TemporaryDirectory() as folder:
            for_inference(net).save(Path(folder) / "model.keras")
            layers = read_layers(Path(folder) / "model.keras")
        answers.write(json.dumps({"layers": [asdict(layer) for layer in layers]}))
    except HousetrainError as error:
        answers.write(json.dumps({"error": str(error)}))
    answers.close()


if __name__ == "__main__":
    main()
