"""`Prediction`: what a model predicts for one image.

In: probabilities. Out: plain values for Python, JSON and tables. Does not know: models, image files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image.

    Attributes:
        image: The path as given, or ``<bytes>``, ``<array>``, ``<image>``.
        label: Name of the most probable class; ``""`` where the image could not be read.
        probability: Its probability, 0 to 1; NaN where the image could not be read.
        top: (name, probability) of the classes, most probable first.
        margin: Difference of the two highest probabilities, 0 to 1. NaN as above.
        seen: ``"train"``, ``"validation"`` or ``"test"`` if this very file (by content) was in that split; ``None`` if
            not, or where there is no file to compare (arrays and PIL images).
        error: Why the image could not be read, or ``None``.
        unsure: Whether the probability is below the threshold found on validation images; see
            `housetrain.inference.decision`.
        novel: Whether the image is unlike the training images; see `housetrain.inference.novelty`. ``None`` where the
            model cannot tell.
        sequence: The sequence whose images voted (see `housetrain.inference.vote`); ``""`` without a vote.
        own_label: With a vote: the class of this image alone.
        prediction_set: The classes that hold the true one with the probability that was asked for, most probable first;
            empty where none was asked for.
    """

    image: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    margin: float
    seen: str | None = None
    error: str | None = None
    unsure: bool = False
    novel: bool | None = None
    sequence: str = ""
    own_label: str = ""
    prediction_set: tuple[str, ...] = ()

    @classmethod
    def failed(cls, image: str, reason: str) -> Prediction:
        """Return the prediction for an image that could not be read."""
        return cls(image, "", math.nan, (), math.nan, None, reason)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, image: str) -> Prediction:
        """Read what `to_json` returned, for instance by another program.

        Args:
            value: The JSON object.
            image: What to call the image here.

        Raises:
            KeyError: A key is missing.
            TypeError: A value is of another kind.
            ValueError: A number is none.
        """
        if value["error"] is not None:
            return cls.failed(image, str(value["error"]))
        top = tuple((str(one["label"]), float(one["probability"])) for one in value["top"])
        seen = None if value["seen"] is None else str(value["seen"])
        numbers = float(value["probability"]), top, float(value["margin"])
        names = tuple(str(name) for name in value.get("prediction_set", ()))
        novel = None if value.get("novel") is None else bool(value["novel"])
        unsure, label = bool(value["unsure"]), str(value["label"])
        return cls(image, label, *numbers, seen, unsure=unsure, novel=novel, prediction_set=names)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON; missing numbers are ``None``."""
        missing = self.error is not None
        return {
            "image": self.image,
            "label": None if missing else self.label,
            "probability": None if missing else self.probability,
            "top": [{"label": name, "probability": probability} for name, probability in self.top],
            "margin": None if missing else self.margin,
            "unsure": None if missing else self.unsure,
            "novel": self.novel,
            "seen": self.seen,
            "error": self.error,
            **({"prediction_set": list(self.prediction_set)} if self.prediction_set else {}),
            **({"sequence": self.sequence, "own_label": self.own_label} if self.sequence else {}),
        }
