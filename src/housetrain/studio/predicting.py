"""What the page's child process runs: one prediction per request, with a thumbnail.

In: a run, and requests ``{"path": ..., "top": 5, "thumbnail": 240}``. Out: predictions as plain values. The model stays
in the child process, so that the page does not hold it and never decodes an image that a visitor sent.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import DecodeError

if TYPE_CHECKING:
    from housetrain.inference.predictor import Predictor


@dataclass
class Predictions:
    """Loads a model, then predicts images with it.

    Args:
        run: A run or bundle folder.
        work: The working folder.
    """

    run: Path
    work: Path
    _predictor: Predictor | None = field(default=None, init=False)

    def start(self) -> None:
        """Load the model.

        Raises:
            ModelError: It is refused.
        """
        from housetrain.inference.predictor import Predictor

        os.chdir(self.work)
        self._predictor = Predictor.load(self.run)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the prediction for one image."""
        from housetrain.images.encode import encode
        from housetrain.images.thumbnail import thumbnail
        from housetrain.inference.prediction import Prediction

        assert self._predictor is not None, "start() comes first"
        path = Path(request["path"])
        try:
            found = self._predictor.predict(path, top=request.get("top"))
            small = encode(thumbnail(path, int(request.get("thumbnail", 240))), "jpeg")
        except DecodeError as error:
            return dict(Prediction.failed(str(path), error.reason).to_json())
        return {**found.to_json(), "thumbnail": base64.b64encode(small).decode("ascii")}
