"""Checks of this machine: hardware, versions, and anything that will be slow or fail.

In: nothing. Out: a `Diagnosis` with facts and remarks. It knows nothing of images or runs, and does not import
TensorFlow: it reads installed versions from package metadata.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from housetrain import kernels
from housetrain.errors import how_to_install
from housetrain.images.sniff import FORMATS
from housetrain.system.machine import cores, cpu_flags, free_memory_bytes, gpus, memory_bytes, processor
from housetrain.system.packages import version_of
from housetrain.training.precision import auto_precision

PACKAGES = (
    "housetrain", "keras", "tensorflow", "llvmlite", "jax", "torch", "tensorboard", "numpy",
    "opencv-python-headless", "simplejpeg", "pillow", "scikit-learn", "openvino", "onnxruntime", "optuna",
    "streamlit", "ray", "mlflow-skinny", "pillow-heif",
)  # fmt: skip
BACKENDS = ("tensorflow", "jax", "torch")
_INSTRUCTIONS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
)
_GIB = 1 << 30
_NEWEST_TESTED = (3, 13)


@dataclass(frozen=True)
class Remark:
    """One remark: ``error`` for what fails, ``warning`` for what is slow or risky, ``note`` for information."""

    severity: Literal["error", "warning", "note"]
    message: str
    do: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """Facts about the machine; ``housetrain doctor --json`` prints ``to_json()``.

    Attributes:
        python: Version of the interpreter.
        system: Operating system and processor architecture.
        versions: Installed version per package; packages that are not installed are absent.
        backend: The Keras backend that training would use; ``""`` if none is installed.
        cores: Processor cores this process may use.
        processor: Model name of the processor.
        instructions: The CPU instruction sets that affect training speed, as the system names them.
        memory_bytes: Memory this process may use (the container's limit where there is one).
        memory_free_bytes: Memory available now.
        disk_free_bytes: Free bytes where runs are written (the working folder).
        gpus: Names of the NVIDIA devices the driver lists.
        remarks: What will be slow or fail, and why.
    """

    python: str
    system: str
    versions: dict[str, str]
    backend: str
    cores: int
    processor: str
    instructions: tuple[str, ...]
    memory_bytes: int
    memory_free_bytes: int
    disk_free_bytes: int
    gpus: tuple[str, ...]
    remarks: tuple[Remark, ...]

    @property
    def formats(self) -> tuple[str, ...]:
        """The image formats that are read."""
        return tuple(name for name in FORMATS if name != "HEIC" or "pillow-heif" in self.versions)

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as plain JSON values."""
        return asdict(self) | {"formats": self.formats}


def doctor(folder: Path | str | None = None) -> Diagnosis:
    """Find what will be slow or fail on this machine.

    Args:
        folder: Where runs will be written; by default the working folder.
    """
    folder = Path.cwd() if folder is None else Path(folder)
    versions = _versions()
    backend = _backend(versions)
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": versions,
        "backend": backend,
        "cores": cores(),
        "processor": processor(),
        "instructions": tuple(flag for flag in _INSTRUCTIONS if flag in cpu_flags()),
        "memory_bytes": memory_bytes(),
        "memory_free_bytes": free_memory_bytes(),
        "disk_free_bytes": shutil.disk_usage(folder).free,
        "gpus": gpus(),
    }
    return Diagnosis(**facts, remarks=tuple(_remarks(facts, folder)))


def _remarks(facts: dict[str, Any], folder: Path) -> list[Remark]:
    found: list[Remark] = []

    def say(severity: Literal["error", "warning", "note"], message: str, do: str = "") -> None:
        found.append(Remark(severity, message, do))

    wanted = os.environ.get("KERAS_BACKEND", "")
    if not facts["backend"]:
        say("error", "No Keras backend is installed: data checks and preparation work, training does not",
            how_to_install("tensorflow"))  # fmt: skip
    elif wanted and wanted not in BACKENDS:
        say("error", f"KERAS_BACKEND={wanted} is not a supported backend", f"set it to one of {', '.join(BACKENDS)}")
    elif wanted and wanted not in facts["versions"]:
        say("error", f"KERAS_BACKEND={wanted}, but {wanted} is not installed", how_to_install(wanted))
    elif facts["backend"] != "tensorflow" and not facts["gpus"]:
        say("warning", f"Without a GPU, {facts['backend']} trains 3 to 6 times slower than TensorFlow",
            how_to_install("tensorflow"))  # fmt: skip
    if sys.version_info[:2] > _NEWEST_TESTED:
        newest = ".".join(map(str, _NEWEST_TESTED))
        say("note", f"Python {facts['python']} is newer than {newest}, the newest version that was tested")
    if facts["memory_free_bytes"] < 2 * _GIB:
        say("error" if facts["memory_free_bytes"] < _GIB else "warning",
            f"Only {facts['memory_free_bytes'] / _GIB:.1f} GiB of memory are free; TensorFlow alone needs about 0.7",
            "close other programs")  # fmt: skip
    if facts["disk_free_bytes"] < 2 * _GIB:
        say("warning", f"Only {facts['disk_free_bytes'] / _GIB:.1f} GiB of disk space are free in {folder}",
            "free some space or choose another --output: 25,000 RGB images at 96x96 take 0.7 GiB")  # fmt: skip
    if not os.access(folder, os.W_OK):
        say("warning", f"{folder} is not writable: runs cannot be stored here", "change the folder or pass --output")
    if not facts["gpus"]:
        say("note", f"No GPU: training runs on {facts['cores']} processor core{'s' if facts['cores'] > 1 else ''}")
    simd = set(facts["instructions"])
    if platform.machine() in ("x86_64", "AMD64") and simd and "avx2" not in simd:
        say("warning", "This processor has no AVX2: training is several times slower")
    trains_here = facts["backend"] == "tensorflow" and not facts["gpus"]
    if trains_here and "llvmlite" not in facts["versions"] and kernels.suits(auto_precision()):
        say("warning", "llvmlite is not installed: models with max pooling take 1.5 to 4 times as long to train",
            how_to_install("tensorflow"))  # fmt: skip
    if auto_precision() == "bfloat16":
        say("note", "Training uses bfloat16, which this processor supports; --set precision=float32 disables it")
    if "pillow-heif" not in facts["versions"]:
        say("note", "HEIC photos of phones are not read", how_to_install("heic"))
    if facts["cores"] == 1:
        say("warning", "Only one processor core: decoding and training alternate")
    return found


def _versions() -> dict[str, str]:
    return {package: version for package in PACKAGES if (version := version_of(package))}


def _backend(versions: dict[str, str]) -> str:
    wanted = os.environ.get("KERAS_BACKEND", "")
    if wanted:
        return wanted
    return next((name for name in BACKENDS if name in versions), "")
