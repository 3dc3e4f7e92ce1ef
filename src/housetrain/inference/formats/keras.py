"""Keras: ``model.keras``, on whichever Keras backend is set up.

In: a Keras model, or a ``.keras`` file. Out: the file, or an engine. Does not know: runs, bundles, class names.

`check` reads the file without Keras: a ``.keras`` file is a zip archive with a JSON description and numbers. It refuses
damaged files (the archive's checksums), archives that expand a hundredfold, and files that would run code when loaded
(pickles, SavedModel, HDF5 models, Lambda and unknown classes): an allow-list, not a block-list.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from housetrain.errors import ModelError
from housetrain.inference.engine import Images, LoadedModel, Port, Precision
from housetrain.inference.model_format import ModelFormat
from housetrain.models.saved_layers import layers_of
from housetrain.system.backend import load_keras

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_MAX_DESCRIPTION_BYTES = 16 << 20
_MAX_WEIGHTS_BYTES = 4 << 30
_MAX_RATIO = 100  # Keras stores its members uncompressed
_MAX_WEIGHTS_RATIO = 10  # trained weights hardly compress
_AGAIN = "export the run again"

_LAYERS = """
    Activation Add AveragePooling2D Average BatchNormalization CenterCrop Concatenate Conv2D Conv2DTranspose Cropping2D
    Dense DepthwiseConv2D Dropout ELU Flatten GaussianNoise GlobalAveragePooling2D GlobalMaxPooling2D
    GroupNormalization Identity InputLayer LayerNormalization LeakyReLU MaxPooling2D Maximum Minimum Multiply
    Normalization PReLU Permute RMSNormalization RandomBrightness RandomContrast RandomCrop RandomErasing RandomFlip
    RandomRotation RandomSaturation RandomShear RandomTranslation RandomZoom ReLU Rescaling Reshape Resizing
    SeparableConv2D Softmax SpatialDropout2D Subtract UnitNormalization UpSampling2D ZeroPadding2D
"""
_INITIALIZERS = """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones Orthogonal RandomNormal
    RandomUniform TruncatedNormal VarianceScaling Zeros
"""
_ARITHMETIC = "Add Divide GetItem Multiply Split Subtract TrueDivide"
ALLOWED: frozenset[tuple[str, str]] = frozenset(
    [("keras.layers", name) for name in _LAYERS.split()]
    + [("keras.initializers", name) for name in _INITIALIZERS.split()]
    + [("keras.regularizers", name) for name in ("L1", "L2", "L1L2")]
    + [("keras.constraints", name) for name in ("MaxNorm", "NonNeg", "UnitNorm")]
    + [("keras", name) for name in ("DTypePolicy", "Functional", "Model", "Sequential")]
    + [("keras.src.models.functional", "Functional"), ("keras.src.models.sequential", "Sequential")]
    # What models of `keras.applications` hold besides layers; Keras writes their private module names.
    + [("keras.src.ops.numpy", name) for name in _ARITHMETIC.split()]
    + [("keras.src.ops.nn", name) for name in ("HardSwish", "Relu", "Relu6", "Sigmoid", "Silu", "Softmax")]
    + [("keras.src.applications.convnext", "LayerScale")]
)
"""Every (module, class) that a model file may name: arithmetic on tensors, nothing that runs given code."""
_VALUES = {"__keras_tensor__", "__tuple__", "__slice__", "__ellipsis__"}  # values, not classes


def check(path: Path, trusted: bool = False) -> None:
    """Refuse a ``.keras`` file that could run code or is damaged, without Keras.

    Args:
        path: The file.
        trusted: Its bytes already matched a sha256, so the archive's own checksums are not read.

    Raises:
        ModelError: It is not a ``.keras`` file, is damaged, or names anything that is not in `ALLOWED`.
    """
    refuse_other_formats(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            if not trusted and (bad := archive.testzip()) is not None:
                raise ModelError(f"The model file is damaged: {bad}", do=_AGAIN, path=str(path))
            description, weights = archive.read("config.json"), archive.getinfo("model.weights.h5").file_size
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ModelError(
            f"This is not a complete .keras file: {error}",
            expected="a zip archive as Keras 3 writes it",
            path=str(path),
        ) from error
    try:
        config = json.loads(description)
        problems = sorted(set(unknown_classes(config)))
    except (ValueError, RecursionError) as error:
        raise ModelError("The model's description is not JSON", do=_AGAIN, path=str(path)) from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError("The model file describes no model", do=_AGAIN, path=str(path))
    if problems:
        raise ModelError(
            f"The model is refused: it holds {'; '.join(problems[:5])}",
            expected="only built-in Keras layers, which cannot run code of their own when loaded",
            do="rebuild it from built-in layers, or load it with Keras yourself if you trust who made it",
            path=str(path),
        )
    parameters = sum(layer.parameters or 0 for layer in layers_of(config))
    if parameters > weights:  # Keras would allocate them before it notices; a parameter has at least one byte
        raise ModelError(
            "The model is refused: it describes more parameters than its file holds",
            do=_AGAIN,
            path=str(path),
            parameters=parameters,
            weights_bytes=weights,
        )


def refuse_other_formats(path: Path) -> None:
    """Refuse what looks like a model but must not be opened, with a reason for each kind.

    Raises:
        ModelError: Always, unless ``path`` is a file named ``*.keras``.
    """
    suffix = path.suffix.lower()
    why = ""
    if path.is_dir():
        kind = "a TensorFlow SavedModel" if (path / "saved_model.pb").exists() else "a folder"
        why = f"{kind} is not a .keras file" + ("; it can run code when loaded" if "Saved" in kind else "")
    elif not path.exists():
        why = "there is no such file"
    elif not path.is_file():
        why = "it is neither a file nor a folder"
    elif suffix in (".h5", ".hdf5"):
        why = "HDF5 models can run code when loaded"
    elif suffix in (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin"):
        why = "pickled models run code when loaded"
    elif suffix == ".pb":
        why = "TensorFlow graphs can run code when loaded"
    elif suffix == ".xml":
        why = "it is one for OpenVINO, as encoders of your own are"
    elif suffix != ".keras":
        why = "this is not a .keras file"
    if why:
        raise ModelError(
            f"The model is refused: {why}",
            expected="a bundle or run folder of housetrain, with a .keras file inside",
            path=str(path),
        )


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    names = [info.filename for info in archive.infolist()]
    if len(names) != len(set(names)) or set(names) != _MEMBERS:
        odd = sorted(set(names) ^ _MEMBERS) or ["a duplicate name"]
        raise ModelError(
            f"The model file holds unexpected members: {', '.join(odd[:5])}",
            expected=f"exactly {', '.join(sorted(_MEMBERS))}",
            path=str(path),
        )
    for info in archive.infolist():
        weights = info.filename.endswith(".h5")
        limit, ratio = (_MAX_WEIGHTS_BYTES, _MAX_WEIGHTS_RATIO) if weights else (_MAX_DESCRIPTION_BYTES, _MAX_RATIO)
        if info.flag_bits & 1 or info.file_size > limit or info.file_size > ratio * (info.compress_size + 1024):
            raise ModelError(
                f"The model file is refused: its {info.filename} is encrypted, too large, or expands too much",
                path=str(path),
                bytes=info.file_size,
                packed=info.compress_size,
            )


def unknown_classes(config: Any) -> list[str]:
    """Return every class in a model's description that is not allowed. Iterative, because hostile JSON nests deep."""
    found: list[str] = []
    todo: list[Any] = [config]
    if isinstance(config, dict):  # how it was trained; never built, because models are loaded with compile=False
        todo = [{key: value for key, value in config.items() if key != "compile_config"}]
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, dict):
            todo.extend(item.values())
            if item.get("safe_mode") is False:
                found.append("a request to disable Keras's safe mode")
            if "class_name" not in item:
                continue
            module, name, registered = item.get("module"), item["class_name"], item.get("registered_name")
            if isinstance(name, str) and name in _VALUES and "module" not in item:
                continue
            if not (isinstance(module, str) and isinstance(name, str) and (module, name) in ALLOWED):
                found.append(f"{_word(module)}.{_word(name)}")
            elif registered not in (None, name):
                found.append(f"{module}.{name} registered as {_word(registered)}")
    return found


def _word(value: Any) -> str:
    return value[:60] if isinstance(value, str) else type(value).__name__


def load(path: Path, precision: Precision = "fp32", features: bool = False) -> LoadedModel:
    """Open a checked file.

    Raises:
        MissingExtra: Keras, or a backend for it, is not installed.
    """
    keras = load_keras("predicting with a Keras model")
    # safe_mode is a block-list; the allow-list of `check` is what keeps code out.
    return engine_of(keras.models.load_model(path.absolute(), compile=False, safe_mode=True), features=features)


def engine_of(model: Any, *, features: bool = False) -> LoadedModel:
    """Return the engine of a Keras model that takes images and has its scaling inside.

    Args:
        model: The model.
        features: Also return the input of its last dense layer, if that has one row per image.
    """
    keras = load_keras("predicting with a Keras model")
    todo, sixteen_bit = [model], False
    while todo:
        layer = todo.pop()
        todo += getattr(layer, "layers", [])
        sixteen_bit |= getattr(layer, "compute_dtype", "float32") in ("bfloat16", "float16")
    outputs = [Port((None, *tuple(getattr(model, "output_shape", None) or ())[1:]), np.float32)]
    run = model.predict_on_batch
    if features and (found := _features_of(model)) is not None:
        run = keras.Model(model.inputs, [model.outputs[0], found]).predict_on_batch
        outputs.append(Port((None, int(found.shape[1])), np.float32))
    return LoadedModel(
        run,
        f"Keras on {keras.backend.backend()}",
        precision="bf16" if sixteen_bit else "fp32",
        model=model,
        inputs=[Port((None, *tuple(getattr(model, "input_shape", None) or ())[1:]), np.uint8)],  # Keras casts
        outputs=outputs,
    )


def _features_of(model: Any) -> Any | None:
    """Return the tensor that the last dense layer of a model takes, (None, width)."""
    dense = [layer for layer in model.layers if type(layer).__name__ == "Dense"]
    found = dense[-1].input if dense and len(model.inputs) == 1 else None
    return found if found is not None and len(found.shape) == 2 else None


def convert(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    """Save a Keras model as it is."""
    model.save(path)


FORMAT = ModelFormat(
    name="keras",
    title="Keras",
    file="model.keras",
    library="keras",
    extra="tensorflow",
    precisions=("fp32",),
    convert=convert,
    load=load,
    check=check,
    contents={"model.keras": "the model: uint8 images in, probabilities out, scaling inside; plain Keras loads it too"},
    snippet=(
        "import keras",
        'model = keras.models.load_model("{path}")\nprobabilities = model.predict(pixels)[0]',
    ),
)
