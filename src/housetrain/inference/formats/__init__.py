"""The registry of model formats: each module of this package defines one as ``FORMAT``.

In: nothing. Out: `FORMATS`. Does not know: what a format is made of (`housetrain.inference.model_format` does). To add
a format, add a module here; libraries are imported inside its functions.
"""

from __future__ import annotations

import importlib
import pkgutil

from housetrain.errors import ModelError
from housetrain.inference.model_format import ModelFormat


def find_formats() -> dict[str, ModelFormat]:
    """Return the format of every module of this package, by name."""
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return {module.FORMAT.name: module.FORMAT for module in modules}


FORMATS: dict[str, ModelFormat] = find_formats()


_OTHER_NAMES = {
    "tflite": "litert",
    "lite": "litert",
    "ir": "openvino",
    "vino": "openvino",
    "xml": "openvino",
    "tf": "saved-model",
    "pb": "saved-model",
    "tensorflow": "saved-model",
    "saved_model": "saved-model",
    "savedmodel": "saved-model",
    "h5": "keras",
    "hdf5": "keras",
}
"""What a format is called elsewhere -> its name here."""


def format_named(name: str) -> ModelFormat:
    """Return a format.

    Raises:
        ModelError: It is unknown.
    """
    if name not in FORMATS:
        ours = _OTHER_NAMES.get(name.lower().lstrip("."), "")
        raise ModelError(
            "Unknown model format", expected=", ".join(FORMATS), do=f"--format {ours}" if ours else "", format=name
        )
    return FORMATS[name]
