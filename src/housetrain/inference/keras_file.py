"""Is this Keras file safe and whole? It is looked into before Keras sees it.

In: a path. Out: nothing, or one clear error. Does not know Keras: a ``.keras`` file is a zip archive with a JSON
description and numbers.

What this keeps out: damaged files (the archive's own sums), files that would run code when loaded (pickles,
SavedModel, HDF5 models, Lambda and unknown classes: an allow-list, not a block-list), archives that swell.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from housetrain.errors import ModelError

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_MAX_DESCRIPTION_BYTES = 16 << 20
_MAX_WEIGHTS_BYTES = 4 << 30
_MAX_RATIO = 100  # Keras stores its members uncompressed; real weights do not shrink a hundredfold
_ANEW = "export the bundle anew"

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
ALLOWED: frozenset[tuple[str, str]] = frozenset(
    [("keras.layers", name) for name in _LAYERS.split()]
    + [("keras.initializers", name) for name in _INITIALIZERS.split()]
    + [("keras.regularizers", name) for name in ("L1", "L2", "L1L2")]
    + [("keras.constraints", name) for name in ("MaxNorm", "NonNeg", "UnitNorm")]
    + [("keras", name) for name in ("DTypePolicy", "Functional", "Model", "Sequential")]
    + [("keras.src.models.functional", "Functional"), ("keras.src.models.sequential", "Sequential")]
    # What `keras.applications` nets hold besides layers: written with their private module by Keras itself.
    + [("keras.src.ops.numpy", name) for name in ("Add", "Divide", "Multiply", "Subtract", "TrueDivide")]
    + [("keras.src.ops.nn", name) for name in ("HardSwish", "Relu", "Relu6", "Sigmoid", "Silu", "Softmax")]
    + [("keras.src.applications.convnext", "LayerScale")]
)
"""Every (module, class) that a model file may name. All of them are arithmetic on tensors, none runs given code."""
_PLAIN = {"__keras_tensor__", "__tuple__", "__slice__", "__ellipsis__"}  # values, not classes


def check_keras_file(path: Path, *, checksums: bool = True) -> None:
    """Look into a ``.keras`` file without Keras, and refuse what could run code or is damaged.

    Args:
        path: The file.
        checksums: Also read every member against the archive's own sum. ``False`` where a sha256 was checked already.

    Raises:
        ModelError: It is no ``.keras`` file, is damaged, or names anything that is not in `ALLOWED`.
    """
    refuse_other_formats(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            if checksums and (bad := archive.testzip()) is not None:
                raise ModelError(f"The model file is damaged: {bad}", do=_ANEW, path=str(path))
            description = archive.read("config.json")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ModelError(
            f"This is not a whole .keras file: {error}", expected="a zip archive as Keras 3 writes it", path=str(path)
        ) from error
    try:
        config = json.loads(description)
        problems = sorted(set(_strangers(config)))
    except (ValueError, RecursionError) as error:
        raise ModelError("The model's description is not JSON", do=_ANEW, path=str(path)) from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError("The model file describes no model", do=_ANEW, path=str(path))
    if problems:
        raise ModelError(
            f"The model is refused: it holds {'; '.join(problems[:5])}",
            expected="only built-in Keras layers, which cannot run code of their own when loaded",
            do="rebuild it from built-in layers, or load it with Keras yourself if you trust who made it",
            path=str(path),
        )


def refuse_other_formats(path: Path) -> None:
    """Refuse, each with its own clear line, what looks like a model but is not one to open.

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
    elif suffix in (".h5", ".hdf5"):
        why = "HDF5 models can run code when loaded"
    elif suffix in (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin"):
        why = "pickled models run code when loaded"
    elif suffix == ".pb":
        why = "TensorFlow graphs can run code when loaded"
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
        odd = sorted(set(names) ^ _MEMBERS) or ["a name twice"]
        raise ModelError(
            f"The model file holds other things than a model: {', '.join(odd[:5])}",
            expected=f"exactly {', '.join(sorted(_MEMBERS))}",
            path=str(path),
        )
    for info in archive.infolist():
        limit = _MAX_WEIGHTS_BYTES if info.filename.endswith(".h5") else _MAX_DESCRIPTION_BYTES
        if info.flag_bits & 1 or info.file_size > limit or info.file_size > _MAX_RATIO * (info.compress_size + 1024):
            raise ModelError(
                f"The model file is refused: its {info.filename} is encrypted, too large, or swells when unpacked",
                path=str(path),
                bytes=info.file_size,
                packed=info.compress_size,
            )


def _strangers(config: Any) -> list[str]:
    """Return, in words, every class of a model's description that is not on the list. Never recurses: JSON nests."""
    found: list[str] = []
    todo: list[Any] = [config]
    if isinstance(config, dict):  # how it was trained: never built, for models are loaded with compile=False
        todo = [{key: value for key, value in config.items() if key != "compile_config"}]
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, dict):
            todo.extend(item.values())
            if item.get("safe_mode") is False:
                found.append("a request to switch off Keras's safe mode")
            if "class_name" not in item:
                continue
            module, name, registered = item.get("module"), item["class_name"], item.get("registered_name")
            if isinstance(name, str) and name in _PLAIN and "module" not in item:
                continue
            if not (isinstance(module, str) and isinstance(name, str) and (module, name) in ALLOWED):
                found.append(f"{_word(module)}.{_word(name)}")
            elif registered not in (None, name):
                found.append(f"{module}.{name} registered as {_word(registered)}")
    return found


def _word(value: Any) -> str:
    return value[:60] if isinstance(value, str) else type(value).__name__
