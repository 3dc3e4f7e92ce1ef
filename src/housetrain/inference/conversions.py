"""Converted models, kept in the user's cache so that test, bundle and prediction convert a large model only once.

In: a Keras model and the sha256 of its file. Out: the folder with the files of another format. Does not know: runs,
bundles, or which format serves a model.

```
$HOUSETRAIN_CACHE/models/<sha256>-openvino-bf16-<versions>/     the files of the format, and their manifest
```

A conversion appears at once or not at all, is checked against its manifest before every use, and belongs to one version
of the libraries. Those used longest ago are removed when all together exceed `MOST_BYTES`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from housetrain.errors import CorruptError, DiskFull
from housetrain.inference.engine import Precision
from housetrain.inference.model_format import ModelFormat
from housetrain.system import store
from housetrain.system.packages import version_of

MOST_BYTES = 1 << 30
"""Largest size of all kept conversions together, unless the newest alone is larger."""
_PACKAGES = ("housetrain", "keras", "tensorflow", "openvino", "onnx", "onnxruntime", "tf2onnx", "ai-edge-litert")


def kept_conversion(file_format: ModelFormat, precision: Precision, model_sha256: str) -> Path | None:
    """Return the folder with a model's files in another format; ``None`` if they are not kept, or were changed.

    Args:
        file_format: The format.
        precision: What the model was written in.
        model_sha256: Of the ``.keras`` file.
    """
    folder = _folder(file_format, precision, model_sha256)
    if not folder.is_dir():
        return None
    try:
        store.verify_folder(folder)
    except (CorruptError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)  # used last
    return folder


def keep_conversion(file_format: ModelFormat, precision: Precision, model_sha256: str, model: Any) -> Path | None:
    """Convert a model and keep its files. Return their folder; ``None`` if the cache has no room for them.

    Args:
        file_format: The format.
        precision: What to write the model in, not int8, which also depends on the calibration images.
        model_sha256: Of the ``.keras`` file.
        model: The `keras.Model` in it.

    Raises:
        ModelError: The conversion failed.
        MissingExtra: A library is not installed.
    """
    folder = _folder(file_format, precision, model_sha256)
    try:
        with store.commit_folder(folder.parent, folder.name) as inside:
            file_format.write(model, inside, precision)
    except (DiskFull, OSError):
        return None
    _remove_oldest(folder)
    return folder


def _folder(file_format: ModelFormat, precision: Precision, model_sha256: str) -> Path:
    from housetrain.data.catalog import cache_folder

    versions = [f"{package} {version}" for package in _PACKAGES if (version := version_of(package))]
    digest = hashlib.sha256("\n".join(versions).encode()).hexdigest()[:8]
    return cache_folder() / "models" / f"{model_sha256[:32]}-{file_format.name}-{precision}-{digest}"


def _remove_oldest(newest: Path) -> None:
    """Remove the conversions used longest ago until all fit, except the newest."""
    others = [path for path in newest.parent.iterdir() if path.is_dir() and path != newest]
    room = MOST_BYTES - _size(newest)
    with contextlib.suppress(OSError):  # another process may remove them, too
        for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
            room -= _size(path)
            if room < 0 and not path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
