"""The environment of a training, as plain values for ``env.json`` and the report.

In: the machine and this process. Out: a JSON-plain dict. It does not know the run.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

from housetrain.errors import CorruptError, IncompleteError
from housetrain.system import json_types, store
from housetrain.system.machine import cores, memory_bytes, processor
from housetrain.system.packages import version_of

_PACKAGES = (
    "housetrain", "keras", "tensorflow", "llvmlite", "jax", "torch", "numpy", "scipy", "scikit-learn", "openvino",
    "opencv-python-headless", "pillow", "simplejpeg", "safetensors",
)  # fmt: skip

FROZEN = "environment.txt"
"""In a run: each installed package with its version, as ``pip install -r`` reads it."""

COMMAND = "HOUSETRAIN_COMMAND"
"""Variable by which the workers of a sweep know the command they work for."""


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
    working_folder: str
    started: str


def environment(*, precision: str, kernels: bool) -> dict[str, Any]:
    """Return versions, machine, backend and the command line.

    Args:
        precision: Compute type of the layers.
        kernels: Whether the compiled steps of this package are used.
    """
    import keras

    return {
        "versions": {name: version for name in _PACKAGES if (version := version_of(name))},
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
        "command": command_line(),
        "working_folder": _working_folder(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def command_line() -> str:
    """Return the command that this process works for, ready to be pasted into a shell."""
    if given := os.environ.get(COMMAND):
        return given
    name, *rest = [*sys.argv, ""][: max(1, len(sys.argv))]
    if Path(name).stem == "housetrain" or Path(name).parts[-2:] == ("housetrain", "__main__.py"):
        return shlex.join(["housetrain", *rest])
    return shlex.join(["python", *sys.orig_argv[1:]])


def frozen() -> str:
    """Return ``name==version`` of each installed package, a line each, in the order of the names."""
    found = {}
    for one in importlib.metadata.distributions():
        with contextlib.suppress(KeyError, TypeError, ValueError):  # a package with damaged metadata
            found[str(one.metadata["Name"]).lower()] = one.version
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name != "housetrain")


def read_environment(run: Path) -> Environment:
    """Return what a run kept of its environment; empty where that is missing or damaged."""
    path = run / "env.json"
    try:
        found: Environment = json_types.must_fit(store.read_json(path), Environment, path)
        return found
    except (IncompleteError, CorruptError):
        return {}


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a plain text
    except OSError:  # it was deleted
        return ""


def _devices() -> list[str]:
    import keras

    try:
        return [str(device) for device in keras.distribution.list_devices()]
    except (ImportError, RuntimeError, ValueError, AttributeError):
        return []
