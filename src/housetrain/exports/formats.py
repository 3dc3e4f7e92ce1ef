"""The forms a model can be deployed in: which file, which library runs it, how exact its answers are.

In: the ``forms`` of a ``bundle.json``. Out: a `Form`, and whether this machine can run it. It knows no library; asking
whether one is installed imports nothing.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from housetrain.errors import MissingExtra, ModelError

Format = Literal["keras", "onnx", "openvino", "litert", "saved-model"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]
FORMATS: tuple[Format, ...] = get_args(Format)
PRECISIONS: dict[Format, tuple[Precision, ...]] = {
    "keras": ("fp32",),
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "fp16", "int8"),
    "litert": ("fp32", "fp16", "int8"),
    "saved-model": ("fp32",),
}
"""What each format can be had in. bf16: computes in bfloat16 where the processor can. fp16: weights kept in 16 bits,
computed in float32. int8: weights and activations in 8 bits, calibrated on training images."""

NAMES: dict[Format, str] = {
    "keras": "model.keras",
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "litert": "model.tflite",
    "saved-model": "saved_model",
}
"""The file (for a SavedModel the folder) that a form is loaded from."""

_NEEDS: dict[Format, tuple[str, str]] = {
    "keras": ("keras", "tensorflow"),
    "onnx": ("onnxruntime", "export"),
    "openvino": ("openvino", "openvino"),
    "litert": ("ai_edge_litert", "export"),
    "saved-model": ("tensorflow", "tensorflow"),
}  # format -> the library that runs it, the extra that brings it

TOLERANCES: dict[Precision, float] = {"fp32": 2e-3, "bf16": 3e-2, "fp16": 2e-3, "int8": 5e-2}
"""How far a probability may be from what the same file gave on the machine that made it: other processors add up in
another order (float32, and TF32 on GPUs), keep 8 significant bits of a logit (bfloat16), or saturate (8-bit products
on processors without VNNI)."""


@dataclass(frozen=True)
class Form:
    """One way a bundle holds its model.

    Attributes:
        engine: What runs it: one of `FORMATS`.
        model: The file to load, relative to the bundle.
        precision: What it computes in: one of `Precision`.
        tolerance: How far its answers to the golden images may be from those in the bundle, above 0.
        files: Every file of it, relative to the bundle.
    """

    engine: Format
    model: str
    precision: Precision = "fp32"
    tolerance: float = TOLERANCES["fp32"]
    files: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-plain."""
        return {**asdict(self), "files": list(self.files)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Form:
        """Read back what `to_json` gave.

        Raises:
            KeyError: Something is missing.
            ValueError: Something is not what `to_json` writes.
        """
        model, tolerance = value["model"], float(value["tolerance"])
        files = tuple(value.get("files") or (model,))
        named = all(isinstance(name, str) for name in (value["engine"], model, *files))
        if not named or not 0 < tolerance < 1 or model not in {*files, *(name.partition("/")[0] for name in files)}:
            raise ValueError("form")
        return cls(value["engine"], model, value.get("precision", "fp32"), tolerance, files)

    @property
    def installed(self) -> bool:
        """Whether the library that runs it is here."""
        return is_installed(self.engine)


def is_installed(engine: str) -> bool:
    """Return whether the library that runs a format is here, without importing it."""
    if engine not in _NEEDS:
        return False
    names = [_NEEDS[engine][0]]
    if engine == "keras":
        names.append(os.environ.get("KERAS_BACKEND", "tensorflow"))
    try:
        return all(importlib.util.find_spec(name) is not None for name in names)
    except (ImportError, ValueError):
        return False


def choose(forms: Sequence[Form], engine: str | None = None) -> Form:
    """Return the first form that this machine can run.

    Args:
        forms: What a bundle offers, the best first.
        engine: Insist on this one.

    Raises:
        ModelError: No form is known here, or not the one asked for.
        MissingExtra: The library for it is not installed.
    """
    known = [form for form in forms if form.engine in FORMATS and engine in (None, form.engine)]
    if not known:
        raise ModelError(
            "This housetrain cannot run the bundle's kind of model" if engine is None else f"No {engine} model is here",
            expected=f"one of {', '.join(FORMATS)}" if engine is None else ", ".join(form.engine for form in forms),
            do="update housetrain: pip install -U housetrain" if engine is None else "export the run in that format",
            engine=engine or ", ".join(form.engine for form in forms),
        )
    for form in known:
        if form.installed or form.engine == "saved-model":  # the latter is refused by name, whatever is installed
            return form
    library, extra = _NEEDS[known[0].engine]
    raise MissingExtra(extra, need=f"predicting with this bundle ({library} is missing)")


def need(engine: Format, *, precision: Precision = "fp32") -> None:
    """Refuse a format or precision that cannot be made here, before any work is done.

    Raises:
        ModelError: The format does not come in this precision.
        MissingExtra: A library is not installed.
    """
    if engine not in FORMATS:
        raise ModelError("The format is not known", expected=", ".join(FORMATS), format=engine)
    if precision not in PRECISIONS[engine]:
        elsewhere = [name for name in FORMATS if precision in PRECISIONS[name]]
        raise ModelError(
            f"{engine} does not come in {precision}",
            expected=", ".join(PRECISIONS[engine]),
            do=f"choose another precision, or --format {' or '.join(elsewhere)}" if elsewhere else "",
            precision=precision,
        )
    libraries = [_NEEDS[engine]]
    if engine == "onnx" or (engine == "openvino" and precision == "int8"):
        libraries = [(name, "export") for name in ("onnx", "onnxruntime", "tf2onnx")] + libraries
    for library, extra in libraries:
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(extra, need=f"exporting to {engine} {precision} ({library} is missing)")
