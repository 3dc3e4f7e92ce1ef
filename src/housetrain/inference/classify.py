"""Classify: what ImageNet's thousand classes say of an image, without any training.

In: images, a backbone's name. Out: names with probabilities. It knows neither runs nor bundles: the net, its weights
and its names are those of `keras.applications`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from housetrain.errors import DecodeError, RecipeError
from housetrain.images import decode
from housetrain.inference.features_engine import BATCH, Inference, KerasInference, inference_of
from housetrain.models.backbones import BACKBONES, IMAGENET, classifier, fetching
from housetrain.system.backend import load_keras

_MANY = 48  # images from which converting the net for the quick engine pays
NAMES = "imagenet_class_index.json"


class Guess(NamedTuple):
    """What ImageNet's classes say of one image.

    Args:
        source: The image.
        names: (name, probability in [0, 1]), the likeliest first; empty where the image cannot be read.
        error: Why it cannot be read.
    """

    source: Path
    names: tuple[tuple[str, float], ...]
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-plain."""
        names = [{"name": name, "probability": round(probability, 6)} for name, probability in self.names]
        return {"image": str(self.source), "names": names, "error": self.error or None}


def classify(
    sources: Sequence[Path], model: str = "xception", *, weights: str = IMAGENET, top: int = 5
) -> Iterator[Guess]:
    """Name what is in images, with the names of ImageNet.

    Args:
        sources: Image files.
        model: A name in `BACKBONES`.
        weights: ``"imagenet"``, which downloads once through Keras, or a file of weights with the top.
        top: So many names an image, 1 to 1000.

    Yields:
        A `Guess` for each image, in order.

    Raises:
        RecipeError: The model is unknown.
        DownloadError: The weights or the names could not be fetched.
        ModelError: The weights are missing or do not fit.
        MissingExtra: No Keras is installed.
    """
    if model not in BACKBONES:
        raise RecipeError(f"There is no pretrained model named {model!r}", expected=", ".join(BACKBONES))
    if weights == "none":
        raise RecipeError(
            "A net without weights knows no names", expected="imagenet or a weights file", weights=weights
        )
    net = classifier(model, weights)
    side = BACKBONES[model].side
    spec = decode.InputSpec(height=side, width=side, color_mode="rgb")
    engine: Inference | None = KerasInference(net) if len(sources) < _MANY else None
    for start in range(0, len(sources), BATCH):
        some = sources[start : start + BATCH]
        images, errors = [], dict[Path, str]()
        for source in some:
            try:
                images.append(decode.load(source, spec))
            except DecodeError as error:
                errors[source] = error.reason
        batch = np.stack(images) if images else np.empty((0, *spec.shape), np.uint8)
        if engine is None and len(batch):
            engine = inference_of(net, sample=batch)
        found = iter(_named(next(iter(engine.answers([batch]))), top) if engine is not None and len(batch) else ())
        for source in some:
            yield Guess(source, (), errors[source]) if source in errors else Guess(source, next(found))


def _named(probabilities: np.ndarray, top: int) -> list[tuple[tuple[str, float], ...]]:
    keras = load_keras("classifying")
    with fetching("the names of ImageNet's classes", NAMES):
        found = keras.applications.imagenet_utils.decode_predictions(probabilities, top=top)
    return [tuple((name.replace("_", " "), float(value)) for _, name, value in row) for row in found]
