"""The environment of a training, as plain values for ``env.json`` and the report.

In: the machine and this process. Out: a JSON-plain dict. It does not know the run.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

from housetrain.system.machine import cores, memory_bytes, processor

_PACKAGES = (
    "housetrain", "keras", "tensorflow", "llvmlite", "jax", "torch", "numpy", "opencv-python-headless", "pillow"
)  # fmt: skip


class Environment(TypedDict, total=False):
    """``env.json``."""

    versions: dict[str, str | None]
    python: str
    backend: str
    precision: str
    cpu: str | None
    cores: int | None
    memory_bytes: int | None
    command: str
    started: str


def environment(*, precision: str, kernels: bool) -> dict[str, Any]:
    """Return versions, machine, backend and the command line.

    Args:
        precision: Compute type of the layers.
        kernels: Whether the compiled steps of this package are used.
    """
    import keras

    return {
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "devices": _devices(),
        "precision": precision,
        "kernels": kernels,
        "system": platform.platform(),
        "cpu": processor(),
        "cores": cores(),
        "memory_bytes": memory_bytes(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": shlex.join([Path(sys.argv[0]).name or "python", *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    import keras

    try:
        return [str(device) for device in keras.distribution.list_devices()]
    except (ImportError, RuntimeError, ValueError, AttributeError):
        return []
