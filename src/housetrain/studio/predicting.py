"""The process that names images for the page: ``python -m housetrain.studio.predicting RUN``.

In: one JSON request a line on standard input: ``{"paths": [...], "top": 5, "thumbnail": 240}``. Out: one JSON answer a
line: ``{"predictions": [...]}``, each with a thumbnail, or ``{"error": "..."}``. It holds the model, so that the page
need not, and leaves when the page does or when nobody has asked for a while.
"""

from __future__ import annotations

import base64
import json
import os
import select
import sys
from pathlib import Path
from typing import Any

from housetrain.errors import DecodeError, HousetrainError

IDLE_S = 900.0


def main() -> None:
    """Load the model, say so, and answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    from housetrain.inference.predictor import Predictor

    try:
        predictor = Predictor.load(Path(sys.argv[1]))
    except HousetrainError as error:
        say({"error": str(error)})
        return
    say({"ready": True, "classes": list(predictor.classes), "spec": predictor.spec.to_json()})
    while select.select([sys.stdin], [], [], IDLE_S)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        try:
            say({"predictions": [_answer(predictor, Path(path), request) for path in request["paths"]]})
        except HousetrainError as error:
            say({"error": str(error)})


def _answer(predictor: Any, path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Name one image. Small images of it come along, so that the page never decodes what somebody sent."""
    from housetrain.data import contact_sheet
    from housetrain.inference.prediction import Prediction

    try:
        found = predictor.predict(path, top=request.get("top"))
        small = contact_sheet.thumbnail_jpeg(path, int(request.get("thumbnail", 240)))
    except DecodeError as error:
        return dict(Prediction.failed(str(path), error.reason).to_json())
    return {**found.to_json(), "thumbnail": base64.b64encode(small).decode("ascii")}


if __name__ == "__main__":
    main()
