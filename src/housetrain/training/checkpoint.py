"""Checkpoints: everything a training needs to resume bit for bit, one folder per epoch.

In: a compiled Keras model and JSON-plain state. Out: a folder ``checkpoints/epoch-00007`` committed by the store's
protocol, and back. It does not know what the state means, or images, recipes and ``fit``.

```
model.bin       every variable of the model: weights, batch-norm statistics, the states of all random generators
optimizer.bin   every variable of the optimizer: step count, moments, moving averages
best.bin        the weights of the best epoch so far (a hard link to the earlier file where that is possible)
state.json      names, shapes and types of these, the state of early stopping, the history so far
manifest.json   bytes and sha256 of each, written last
```

The files are the arrays' bytes one after another: no pickle, nothing to parse, one copy to memory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from housetrain.errors import CorruptError
from housetrain.system import store

PREFIX = "epoch-"
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint whose manifest agreed with its files.

    Attributes:
        folder: Where it is.
        epoch: Number of finished epochs.
        state: The ``state`` of `save`.
    """

    folder: Path
    epoch: int
    state: dict[str, Any]
    _index: dict[str, list[dict[str, Any]]]

    def restore(self, model: Any) -> None:
        """Restore the variables of the model and its optimizer.

        Args:
            model: A compiled model of the same recipe.

        Raises:
            CorruptError: The model has other variables than the checkpoint.
        """
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        _assign(_state_variables(model), self._arrays("model"), self.folder)
        _assign(model.optimizer.variables, self._arrays("optimizer"), self.folder)

    def restore_best(self, model: Any) -> None:
        """Put the weights of the best epoch so far into ``model``.

        Raises:
            CorruptError: The model has other weights than the checkpoint.
        """
        _assign(model.weights, self._arrays("best"), self.folder)

    def _arrays(self, name: str) -> list[np.ndarray]:
        return _read(self.folder / f"{name}.bin", self._index[name])


def save(checkpoints: Path, epoch: int, *, model: Any, improved: bool, state: Mapping[str, Any]) -> Path:
    """Commit the checkpoint of a finished epoch and remove all but the last two.

    Args:
        checkpoints: The folder of checkpoints.
        epoch: Number of finished epochs, 1 or more.
        model: The compiled model.
        improved: Whether this is the best epoch so far; else the best weights of the previous checkpoint are kept.
        state: JSON-plain.

    Returns:
        The checkpoint's folder.

    Raises:
        DiskFull: It cannot be written; the previous checkpoint is intact.
    """
    name = f"{PREFIX}{epoch:06}"
    before = store.committed(checkpoints, PREFIX)
    with store.commit_folder(checkpoints, name) as folder:
        variables = _state_variables(model)
        index = {
            "model": _write(folder / "model.bin", variables),
            "optimizer": _write(folder / "optimizer.bin", model.optimizer.variables),
        }
        if improved:
            index["best"] = _write(folder / "best.bin", _best_weights(model))
        else:
            _link(before[-1] / "best.bin", folder / "best.bin")
            index["best"] = store.read_json(before[-1] / "state.json")["index"]["best"]
        store.write_json_atomic(folder / "state.json", {"epoch": epoch, "index": index, "state": state}, durable=False)
    keep_last(checkpoints, KEPT)
    return checkpoints / name


def keep_last(checkpoints: Path, count: int = 1) -> None:
    """Remove all but the last ``count`` checkpoints."""
    for old in store.committed(checkpoints, PREFIX)[:-count]:
        shutil.rmtree(old, ignore_errors=True)


def newest(checkpoints: Path) -> Checkpoint | None:
    """Return the newest checkpoint that verifies, or ``None``; bad ones are renamed ``*.corrupt``."""
    while (folder := store.newest_valid(checkpoints, PREFIX)) is not None:
        try:
            value = store.read_json(folder / "state.json")
            return Checkpoint(folder, int(value["epoch"]), dict(value["state"]), dict(value["index"]))
        except (CorruptError, KeyError, TypeError, ValueError):
            store.set_aside(folder)
    return None


def _state_variables(model: Any) -> list[Any]:
    """Return all variables that training changes, except those of the metrics, which are reset each epoch."""
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    return [variable for variable in model.variables if id(variable) not in metrics]


def _best_weights(model: Any) -> list[Any]:
    """Return the weights that were validated: the moving averages where the optimizer keeps them."""
    if not model.optimizer.use_ema:
        return list(model.weights)
    averages = {
        id(variable): average
        for variable, average in zip(
            model.optimizer._trainable_variables, model.optimizer._model_variables_moving_average, strict=True
        )
    }
    return [averages.get(id(weight), weight) for weight in model.weights]


def _write(path: Path, variables: Sequence[Any]) -> list[dict[str, Any]]:
    import keras

    index = []
    with path.open("wb", buffering=0) as file:
        for variable in variables:
            array = np.asarray(keras.ops.convert_to_numpy(variable.value), order="C")
            index.append({"path": variable.path, "shape": list(array.shape), "dtype": array.dtype.name})
            _write_all(file, array.reshape(-1).view(np.uint8).data)
    return index


def _write_all(file: Any, data: memoryview) -> None:
    while data:  # an unbuffered write may write a part only
        data = data[file.write(data) :]


def _read(path: Path, index: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    data = np.fromfile(path, dtype=np.uint8)
    arrays, offset = [], 0
    for entry in index:
        dtype = np.dtype(entry["dtype"])
        size = int(np.prod(entry["shape"], dtype=np.int64)) * dtype.itemsize
        arrays.append(data[offset : offset + size].view(dtype).reshape(entry["shape"]))
        offset += size
    return arrays


def _assign(variables: Sequence[Any], arrays: Sequence[np.ndarray], folder: Path) -> None:
    shapes, saved = [tuple(v.shape) for v in variables], [array.shape for array in arrays]
    if shapes != saved:
        raise CorruptError(
            "The checkpoint belongs to another model",
            do="train into another folder; the architecture of this recipe has changed since",
            checkpoint=str(folder),
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
