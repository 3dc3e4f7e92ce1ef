"""Which engine runs a Keras model fastest on this machine, and which one serves a trained model.

In: a Keras model. Out: a `LoadedModel`. Does not know: what the outputs mean, runs, bundles.

On a CPU that is OpenVINO, in bfloat16 where the chip multiplies it natively; on a GPU, where OpenVINO is missing, and
where its outputs differ from those of Keras, it is Keras.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from housetrain.errors import MissingExtra, ModelError
from housetrain.inference.engine import Engine, Images, LoadedModel, Precision, Shape
from housetrain.inference.formats import format_named, keras, openvino
from housetrain.system.backend import load_keras

FeaturePrecision = Literal["auto", "float32", "bfloat16"]
DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16"}
"""An engine's precision as Keras and recipes call it."""

LARGE = 4_000_000
"""Parameters above which a model is served by OpenVINO in bfloat16 rather than in float32."""
_CPU_BATCH, _KERAS_BATCH, _GPU_BATCH = 16, 32, 128
_MIN_COSINE: dict[Precision, float] = {"fp32": 0.9999, "bf16": 0.99}
_COMPARED = 4  # images on which an engine must agree with Keras


def fastest_engine(model: Any, *, precision: FeaturePrecision = "auto", sample: Images | None = None) -> LoadedModel:
    """Return the fastest engine for many images through a Keras model.

    Args:
        model: A Keras model: uint8 images in, (batch, units) out.
        precision: ``"auto"``: bfloat16 where the chip computes it natively.
        sample: A few real images; an engine that does not agree with Keras on them is not used.
    """
    backend = load_keras("computing features").backend.backend()
    if backend == "tensorflow" and not on_gpu():  # converting from another backend needs TensorFlow as well
        with contextlib.suppress(MissingExtra):
            wanted: Precision = "fp32" if precision == "float32" else "bf16"
            engine = openvino.compiled(openvino.converted(model), wanted, hint="THROUGHPUT")
            if sample is None or _agrees(engine, model, sample[:_COMPARED]):
                return engine
    return keras.engine_of(model)


def batch_of(engine: Engine) -> int:
    """Return how many images to give an engine at a time: larger batches leave a CPU's cache."""
    if engine.name.startswith("Keras"):
        return _GPU_BATCH if on_gpu() else _KERAS_BATCH
    return _CPU_BATCH


def serving_precision(parameters: int, *, precision: str = "auto") -> Precision:
    """Return the precision in which OpenVINO serves a model.

    Args:
        parameters: Number of the model's parameters.
        precision: The recipe's; ``"float32"`` is respected.
    """
    return "bf16" if parameters > LARGE and precision != "float32" else "fp32"


def serving_engine(engine: LoadedModel, *, classes: int, input_shape: Shape, precision: str = "auto") -> LoadedModel:
    """Return the engine that answers for a Keras model that has no bundle yet: the one its bundle will hold.

    A model of more than `LARGE` parameters is converted as `export` converts it, where OpenVINO is installed.
    Below that Keras answers, whose float32 probabilities agree with those of the bundle to 1e-5.

    Args:
        engine: The Keras engine.
        classes: Number of classes.
        input_shape: (height, width, channels).
        precision: The recipe's.
    """
    parameters = int(engine.model.count_params())
    file_format = format_named("openvino")
    if parameters <= LARGE or not file_format.installed:
        return engine
    bits = serving_precision(parameters, precision=precision)
    try:
        with tempfile.TemporaryDirectory(prefix="housetrain-", ignore_cleanup_errors=True) as scratch:
            file_format.write(engine.model, Path(scratch), bits)
            path = Path(scratch, file_format.file)
            return file_format.open(path, bits, classes=classes, input_shape=input_shape)
    except (ModelError, MissingExtra):
        return engine


def on_gpu() -> bool:
    """Return whether Keras computes on a GPU."""
    keras = load_keras("computing features")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    try:
        return any("cpu" not in str(device).lower() for device in keras.distribution.list_devices())
    except (ImportError, RuntimeError, ValueError, AttributeError):
        return False


def _agrees(engine: LoadedModel, model: Any, images: Images) -> bool:
    """Return whether the angle between an engine's outputs and those of Keras is small for every image."""
    found = engine.run(images)
    wanted = np.asarray(load_keras("computing features").ops.convert_to_numpy(model(images, training=False)))
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = (found * wanted).sum(axis=1) / np.maximum(lengths, 1e-30)
    return bool((cosine > _MIN_COSINE[engine.precision]).all())
