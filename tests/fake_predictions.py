"""A stand-in for the model of the page's child process, which finds it by import."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import misbehave

from housetrain.errors import ModelError
from housetrain.inference.prediction import Prediction
from housetrain.studio.settings import PASSWORD


@dataclass
class FakePredictions:
    """What the page's child process runs, without a model: some images kill or hang it."""

    run: Path
    work: Path

    def start(self) -> None:
        if self.run.name == "broken":
            raise ModelError("The model is refused", do="export it again")

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        misbehave({"bomb": "exit", "slow": "hang"}.get(Path(request["path"]).stem, ""))
        label = os.environ.get(PASSWORD, "cat")
        return Prediction(request["path"], label, 0.9, ((label, 0.9),), 0.8).to_json()
