"""A sweep folder made by hand: 27 trials x 10 epochs, as `housetrain sweep` writes them, without training anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from housetrain.images.input_spec import InputSpec
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.trial import Trial
from housetrain.system import store


def make_sweep(work: Path) -> Path:
    """Write a sweep folder of 27 trials x 10 epochs as `housetrain sweep` does, with made-up numbers."""
    random, spec, images = np.random.default_rng(0), InputSpec(), 1248
    folder, labels = work / "sweeps" / "pets", random.integers(0, 2, images)
    cells = list(Grid().recipes().items())
    (folder / "trials").mkdir(parents=True)
    np.save(folder / "labels.npy", labels)
    trials = [Trial.of(name, recipe, spec=spec, classes=2).to_json() for name, recipe in cells]
    value = {
        "format": 1, "data": "0" * 64, "classes": ["Cat", "Dog"], "spec": spec.to_json(), "images": 5575,
        "validation": {"images": images, "majority": "Cat", "share": 0.5},
        "search": {"kind": "grid"}, "trials": trials, "prepared": "prepared/pets",
    }  # fmt: skip
    store.write_json_atomic(folder / "sweep.json", value)
    for name, recipe in cells:
        run, skill = folder / "trials" / name, random.uniform(0.5, 1.5)
        run.mkdir()
        store.write_json_atomic(run / "recipe.json", recipe.to_json())
        for epoch in range(1, 11):
            row = {
                "epoch": epoch, "loss": 0.7 / epoch**0.3, "accuracy": 0.6 + 0.02 * epoch,
                "val_loss": 0.7 - 0.02 * epoch * skill, "val_accuracy": 0.6 + 0.02 * epoch * skill,
                "lr": 1e-3, "seconds": 7.0, "images_per_s": 800.0,
            }  # fmt: skip
            store.append_line(run / "history.jsonl", row, durable=False)
        chances = np.clip(np.where(labels == 1, 0.6, 0.4) + random.normal(0, 0.2, images), 0.01, 0.99)
        np.save(run / "validation.npy", chances.astype(np.float32)[:, None])
        result = {"best_epoch": 10, "seconds": 70.0, "epochs_run": 10, "parameters": 50_000, "reason": "all epochs"}
        store.write_json_atomic(run / "result.json", result)
        (run / "model.keras").write_bytes(b"x" * 300_000)
    return folder
