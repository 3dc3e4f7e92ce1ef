"""Which engine runs a Keras model fastest on this machine, and which one serves a trained model.

In: a Keras model. Out: a `LoadedModel`. Does not know: what the outputs mean, runs, bundles.

On a CPU that is OpenVINO, in 8 bits where that is asked for, in bfloat16 where the chip multiplies it natively; on a
GPU, where OpenVINO is missing, and where its outputs differ from those of Keras, it is Keras.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from housetrain.errors import HousetrainError, MissingExtra, ModelError
from housetrain.inference.conversions import keep_conversion, kept_conversion
from housetrain.inference.engine import Engine, Images, LoadedModel, Precision, Shape
from housetrain.inference.formats import format_named, keras, openvino
from housetrain.system import store
from housetrain.system.backend import load_keras

FeaturePrecision = Literal["auto", "float32", "bfloat16", "int8"]
DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
"""An engine's precision as Keras and recipes call it."""

LARGE = 4_000_000
"""Parameters above which a model is served by OpenVINO in bfloat16 rather than in float32."""
CONVERTED = 1_000_000
"""Parameters above which a model is converted once, for its test and its bundle: OpenVINO takes 0.63 of Keras' time."""
_CPU_BATCH, _KERAS_BATCH, _GPU_BATCH = 16, 32, 128
_MIN_COSINE: dict[Precision, float] = {"fp32": 0.9999, "bf16": 0.99, "int8": 0.99}
"""Of 8-bit features: of Lite0 at least 0.995, with no loss in accuracy; of Xception 0.978 (docs/log.md)."""
_COMPARED = 4  # images on which an engine must agree with Keras


class Calibration(NamedTuple):
    """What the value ranges of a model in 8 bits come from.

    Attributes:
        file: Keeps the ranges once they are measured, so that images of later calls do not change them.
        images: uint8 (N, height, width, channels): some tens of training images.
    """

    file: Path
    images: Images


def fastest_engine(
    model: Any,
    *,
    precision: FeaturePrecision = "auto",
    sample: Images | None = None,
    calibration: Calibration | None = None,
) -> LoadedModel:
    """Return the fastest engine for many images through a Keras model.

    Args:
        model: A Keras model: uint8 images in, (batch, units) out.
        precision: ``"auto"``: bfloat16 where the chip computes it natively. ``"int8"``: 8 bits if they are accurate.
        sample: A few real images; an engine that does not agree with Keras on them is not used.
        calibration: For ``"int8"``, which is ``"auto"`` without it.
    """
    backend = load_keras("computing features").backend.backend()
    if backend == "tensorflow" and not on_gpu():  # converting from another backend needs TensorFlow as well
        with contextlib.suppress(MissingExtra):
            for wanted in _engines_for(precision, calibration):
                graph = _converted(model)
                if wanted == "int8" and calibration is not None:
                    graph = _in_int8(graph, calibration)
                engine = openvino.compiled(graph, wanted, hint="THROUGHPUT")
                if sample is None or _agrees(engine, model, sample[:_COMPARED]):
                    return engine
    return keras.engine_of(model)


def _engines_for(precision: FeaturePrecision, calibration: Calibration | None) -> tuple[Precision, ...]:
    """Return the precisions to try, in this order."""
    if precision == "float32":
        return ("fp32",)
    return ("int8", "bf16") if precision == "int8" and calibration is not None else ("bf16",)


def _in_int8(graph: Any, calibration: Calibration) -> Any:
    """Return an `openvino.Model` in 8 bits, by the ranges that are kept, else by those of the images."""
    if calibration.file.is_file():
        # of another version of OpenVINO, or damaged
        with contextlib.suppress(HousetrainError, KeyError, TypeError, ValueError, OverflowError):
            kept = store.read_object(calibration.file)["ranges"]
            return openvino.in_int8(graph, [(float(low), float(high)) for low, high in kept])
    ranges = openvino.value_ranges(graph, calibration.images)
    calibration.file.parent.mkdir(parents=True, exist_ok=True)
    store.write_json_atomic(calibration.file, {"ranges": ranges})
    return openvino.in_int8(graph, ranges)


@functools.lru_cache(maxsize=1)
def _converted(model: Any) -> Any:
    """Return the model as an `openvino.Model`: training and validation features may need it in two precisions."""
    return openvino.converted(model)


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


def serving_engine(
    file: Path,
    *,
    classes: int,
    input_shape: Shape,
    precision: str = "auto",
    features: bool = False,
    parameters: int | None = None,
) -> LoadedModel:
    """Return the engine of a run's model that has no bundle yet: the engine that its bundle would hold.

    A model of more than `CONVERTED` parameters is converted as `export` converts it, where OpenVINO is installed.
    The conversion is kept for the export and for the next call. Below that it is Keras, whose float32 probabilities
    agree with those of the bundle to 1e-5.

    Args:
        file: The run's ``.keras`` file.
        classes: Number of classes.
        input_shape: (height, width, channels).
        precision: The recipe's.
        features: The engine also returns the input of its last layer.
        parameters: Number of the model's parameters; where it is unknown, a conversion that is kept is found later.

    Raises:
        ModelError: The file is refused, does not load, or does not fit.
        MissingExtra: Keras is not installed.
    """
    served, sha256 = format_named("openvino"), store.known_sha256(file)

    def opened(folder: Path, bits: Precision) -> LoadedModel:
        path = folder / served.file
        return served.open(path, bits, classes=classes, input_shape=input_shape, trusted=True, features=features)

    def kept(parameters: int) -> LoadedModel | None:
        bits = serving_precision(parameters, precision=precision)
        if (folder := kept_conversion(served, bits, sha256)) is not None:
            with contextlib.suppress(ModelError):
                return opened(folder, bits)
        return None

    if parameters is not None and served.installed and (found := kept(parameters)) is not None:
        return found
    engine = keras_engine(file, classes=classes, input_shape=input_shape, features=features)
    parameters = int(engine.model.count_params())
    if not served.installed or parameters <= CONVERTED:
        return engine
    bits = serving_precision(parameters, precision=precision)
    try:
        if (found := kept(parameters)) is not None:
            return found
        if (folder := keep_conversion(served, bits, sha256, engine.model)) is not None:
            return opened(folder, bits)
        with tempfile.TemporaryDirectory(prefix="housetrain-", ignore_cleanup_errors=True) as scratch:
            served.write(engine.model, Path(scratch), bits)
            return opened(Path(scratch), bits)
    except (ModelError, MissingExtra):
        return engine


def keras_engine(file: Path, *, classes: int, input_shape: Shape, features: bool = False) -> LoadedModel:
    """Return the Keras engine of a run's model file. The last file that was loaded is not read again.

    Args:
        file: The ``.keras`` file.
        classes: Number of classes.
        input_shape: (height, width, channels).
        features: The engine also returns the input of its last layer.

    Raises:
        ModelError: The file is refused, does not load, or does not fit.
        MissingExtra: Keras is not installed.
    """
    model = _keras_model(file, store.known_sha256(file), classes, input_shape)
    return keras.engine_of(model, features=features).must_fit(classes, input_shape)


@functools.lru_cache(maxsize=1)
def _keras_model(file: Path, sha256: str, classes: int, input_shape: Shape) -> Any:
    """Return the model in a file whose content has this sha256: testing and exporting a run share it."""
    return format_named("keras").open(file, classes=classes, input_shape=input_shape).model


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
