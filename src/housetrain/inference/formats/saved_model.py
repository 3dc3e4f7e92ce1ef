"""TensorFlow SavedModel: ``saved_model/``, for TensorFlow Serving. Written here, never opened from a bundle.

In: a Keras model. Out: a folder. Does not know: runs, bundles, class names. Loading a SavedModel can run code, so the
format has no check, and only the process that wrote one opens it, to compare it with Keras.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from housetrain.inference.engine import Images, LoadedModel, Port, Precision
from housetrain.inference.model_format import ModelFormat


def load(path: Path, precision: Precision = "fp32", features: bool = False) -> LoadedModel:
    """Open a folder that this process has just written."""
    import tensorflow

    model = tensorflow.saved_model.load(str(path))
    inputs, outputs = (
        [Port(tuple(port.shape), port.dtype.as_numpy_dtype) for port in ports.values()]
        for ports in (
            model.signatures["serving_default"].structured_input_signature[1],
            model.signatures["serving_default"].structured_outputs,
        )
    )
    return LoadedModel(
        lambda images: model.serve(images).numpy(),
        "TensorFlow SavedModel",
        precision="fp32",
        model=model,
        inputs=inputs,
        outputs=outputs,
    )


def convert(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    """Write a Keras model."""
    model.export(str(path), format="tf_saved_model", verbose=False)


FORMAT = ModelFormat(
    name="saved-model",
    title="TensorFlow",
    file="saved_model",
    library="tensorflow",
    extra="tensorflow",
    precisions=("fp32",),
    convert=convert,
    load=load,
    check=None,
    contents={"saved_model/": "the model for TensorFlow and TensorFlow Serving"},
    snippet=(
        "import tensorflow as tf",
        'model = tf.saved_model.load("{path}")\nprobabilities = model.serve(pixels).numpy()[0]',
    ),
)
