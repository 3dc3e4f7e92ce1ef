"""A sweep folder written by hand: losses and answers as the test wants them, no Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from housetrain.images.input_spec import InputSpec
from housetrain.models.recipe import Recipe
from housetrain.sweeps.trial import Trial
from housetrain.system import store

SPEC = InputSpec(50, 50, "grayscale")


def labels(count: int = 200, share: float = 0.5) -> np.ndarray:
    """Class numbers, ``share`` of them 1."""
    return (np.arange(count) < count * share).astype(np.int64)[np.random.default_rng(0).permutation(count)]


def answers(truth: np.ndarray, *, right: float, sure: float = 0.8, seed: int = 0) -> np.ndarray:
    """Probabilities of class 1 that are right on a share of the images: float32 ``(n, 1)``."""
    random = np.random.default_rng(seed)
    said = np.where(random.permutation(len(truth)) < right * len(truth), truth, 1 - truth)
    return np.where(said == 1, sure, 1 - sure).astype(np.float32)[:, None]


def write_sweep(
    folder: Path,
    cells: Mapping[str, Mapping[str, Any]],
    *,
    truth: np.ndarray | None = None,
    infeasible: Mapping[str, str] | None = None,
    search: str = "grid",
) -> Path:
    """Write a sweep.

    Args:
        folder: Where.
        cells: Name -> ``recipe`` (a dict), ``outputs`` (a list of arrays, one a seed; none: it waits), ``failed`` (a
            reason), ``dropped`` (a reason), ``losses`` (val_loss of each epoch before the best one).
        truth: Class numbers of the validation images.
        infeasible: Cells that do not fit.
        search: Its kind.
    """
    truth = labels() if truth is None else truth
    majority = int(truth.mean() > 0.5)
    trials = []
    for cell, what in cells.items():
        outputs: Sequence[np.ndarray] = what.get("outputs", [])
        for seed in range(max(1, len(outputs))):
            recipe = Recipe.of("cnn", **{"epochs": 3, **what.get("recipe", {})}, seed=seed)
            name = cell if len(outputs) < 2 else f"{cell}-seed-{seed}"
            trials.append(Trial.of(name, recipe, spec=SPEC, classes=2, group=cell).to_json())
            _write_trial(folder / "trials" / name, recipe, truth, outputs[seed] if outputs else None, what)
            if "dropped" in what:
                line = {"epochs": 1, "kept": [], "dropped": [name], "reason": what["dropped"]}
                store.append_line(folder / "decisions.jsonl", line)
    unfit = [Trial(name, name, {}, infeasible=why).to_json() for name, why in (infeasible or {}).items()]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labels.npy", truth)
    value = {
        "format": 1,
        "data": "0123456789abcdef",
        "classes": ["cat", "dog"],
        "spec": SPEC.to_json(),
        "images": 1000,
        "validation": {
            "images": len(truth),
            "majority": ["cat", "dog"][majority],
            "share": float((truth == majority).mean()),
        },
        "search": {"kind": search},
        "trials": [*trials, *unfit],
        "prepared": "/nowhere",
    }
    store.write_json_atomic(folder / "sweep.json", value)
    return folder


def _write_trial(
    folder: Path, recipe: Recipe, truth: np.ndarray, outputs: np.ndarray | None, what: Mapping[str, Any]
) -> None:
    if "failed" in what:
        store.write_json_atomic(folder / "recipe.json", recipe.to_json())
        store.write_json_atomic(folder / "failed.json", {"reason": what["failed"]})
    if outputs is None:
        return
    given = np.where(truth == 1, outputs[:, 0], 1 - outputs[:, 0]).astype(np.float64)
    loss, accuracy = float(-np.log(given).mean()), float((given > 0.5).mean())
    store.write_json_atomic(folder / "recipe.json", recipe.to_json())
    store.write_json_atomic(folder / "input.json", {"data": "0123456789abcdef", "classes": ["cat", "dog"]})
    losses = [loss] if "dropped" in what else [*what.get("losses", (loss + 0.2, loss + 0.1)), loss]
    for epoch, value in enumerate(losses, 1):
        row = {"epoch": epoch, "loss": value, "accuracy": accuracy, "val_loss": value, "val_accuracy": accuracy}
        store.append_line(folder / "history.jsonl", {**row, "lr": 1e-3, "seconds": 2.0, "images_per_s": 500.0})
    np.save(folder / "validation.npy", outputs)
    if "dropped" not in what:
        result = {"reason": "all epochs", "best_epoch": len(losses), "val_loss": loss, "val_accuracy": accuracy}
        store.write_json_atomic(folder / "result.json", {**result, "seconds": 7.0, "parameters": 10})
        store.write_json_atomic(folder / "trial.json", {"latency_ms": 1.5})
        (folder / "model.keras").write_bytes(b"x" * 1000)
