"""Classify: ImageNet's thousand classes for any image, without training.

In: images, the name of a backbone. Out: a `Prediction` for each. Does not know: runs, bundles.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from housetrain.errors import DecodeError, RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.fastest import batch_of, fastest_engine
from housetrain.inference.formats import keras as keras_format
from housetrain.inference.inputs import Input, Reader, inputs_of
from housetrain.inference.prediction import Prediction
from housetrain.inference.predictor import Predictor
from housetrain.models.backbone_weights import classifier
from housetrain.models.backbones import BACKBONES, IMAGENET
from housetrain.models.imagenet import imagenet_classes
from housetrain.models.pretrained_weights import is_available

_MANY = 48  # images from which converting the model for the fastest engine pays
_SAMPLE = 4  # images on which that engine is compared with Keras


def classify(
    images: Input | Sequence[Input], model: str = "", *, weights: str | Path = IMAGENET, top: int = 5
) -> Iterator[Prediction]:
    """Classify images with the class names of ImageNet.

    Args:
        images: Paths of images, folders or patterns such as ``"holiday/*.jpg"``; encoded images as bytes, uint8 arrays
            in RGB order, or PIL images. One or a list.
        model: A name in `BACKBONES`; by default that of `default_model`.
        weights: ``"imagenet"``, which downloads once through Keras, or a file of weights with the top.
        top: Number of classes in `Prediction.top`, 1 to 1000.

    Returns:
        An iterator over a `Prediction` per image, in order; an image that cannot be read has an `error`.

    Raises:
        FolderError: A path matches nothing.
        RecipeError: The model is unknown.
        DownloadError: The weights or the names could not be fetched.
        ModelError: The weights are missing or do not fit.
        MissingExtra: No Keras is installed.
    """
    found = inputs_of(images)
    predictor = _predictor(model, str(weights), list(itertools.islice(found, _MANY)))

    def predictions() -> Iterator[Prediction]:
        with predictor:
            yield from predictor.predict_many(found, batch_size=batch_of(predictor.engine), top=top)

    return predictions()


def _predictor(model: str, weights: str, first: Sequence[Input]) -> Predictor:
    model = model or default_model()
    if model not in BACKBONES:
        raise RecipeError(f"Unknown pretrained model {model!r}", expected=", ".join(BACKBONES))
    if weights == "none":
        raise RecipeError("Classifying needs trained weights", expected="imagenet or a weights file", weights=weights)
    keras_model = classifier(model, weights)
    side = BACKBONES[model].side
    spec = InputSpec(height=side, width=side, color_mode="rgb")
    engine = keras_format.engine_of(keras_model)
    if len(first) == _MANY:
        sample = []
        for image in first[:_SAMPLE]:
            with contextlib.suppress(DecodeError):
                sample.append(Reader(spec)(image)[0])
        engine = fastest_engine(keras_model, sample=np.stack(sample) if sample else None)
    return Predictor(engine, spec, classes=[one.name.replace("_", " ") for one in imagenet_classes()])


def default_model() -> str:
    """Return the model that classifies without a download, or ``xception`` where its weights are not installed."""
    return "efficientnet-lite0" if is_available("efficientnet-lite0") else "xception"
