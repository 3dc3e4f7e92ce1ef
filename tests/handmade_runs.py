"""A run folder made by hand: real images, a made-up training, no Keras."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from housetrain.data.prepare import Prepared, prepare
from housetrain.data.split_manifest import LeftOut, Row, SplitManifest
from housetrain.evaluation.evaluate import Evaluation, evaluate_probabilities
from housetrain.images.input_spec import InputSpec
from housetrain.system import store
from housetrain.training.run import Run

SPEC = InputSpec(height=12, width=12, color_mode="grayscale")
MakeRun = Callable[..., Run]


def write_images(root: Path, classes: Sequence[str], *, per_class: int = 20, side: int = 24) -> list[Path]:
    """Each class another brightness, each image other noise."""
    random = np.random.default_rng(0)
    made = []
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(per_class):
            image = random.integers(0, 60, (side, side, 3)) + 150 * number // max(1, len(classes) - 1)
            done, data = cv2.imencode(".png", image.astype(np.uint8))
            assert done
            path = root / name / f"{index}.png"
            path.write_bytes(data.tobytes())
            made.append(path)
    return made


def split_of(root: Path, classes: Sequence[str], *, left_out: Sequence[LeftOut] = ()) -> SplitManifest:
    """Every fifth image to validation, every other fifth to the test."""
    rows = []
    for name in classes:
        for index, path in enumerate(sorted((root / name).iterdir())):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            place = ("test", "validation", "train", "train", "train")[index % 5]
            rows.append(Row(f"{name}/{path.name}", digest, name, place, digest))  # type: ignore[arg-type]
    options = {"seed": 0, "validation_split": 0.2, "test_split": 0.2, "balance": "weights", "ready_made": False}
    return SplitManifest.of_rows(root, classes, rows=rows, left_out=left_out, options=options)


def history(epochs: int = 6) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch, "loss": 0.7 / epoch, "accuracy": 1 - 0.5 / epoch, "val_loss": 0.2 + 0.1 * abs(epoch - 3),
            "val_accuracy": 0.9 - 0.02 * abs(epoch - 3), "lr": 1e-3, "seconds": 1.5, "images_per_s": 900.0,
        }
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip


def fake_keras_file(path: Path, content: str = "weights") -> None:
    """What `read_layers` needs of a saved Sequential model."""
    built = {"input_shape": [None, 12, 12, 1]}
    layers = [
        {"class_name": "InputLayer", "config": {"name": "image", "batch_shape": [None, 12, 12, 1]}},
        {"class_name": "Flatten", "config": {"name": "flatten"}, "build_config": built},
        {"class_name": "Dense", "config": {"name": "probability", "units": 1, "activation": "sigmoid"},
         "build_config": {"input_shape": [None, 144]}},
    ]  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": layers}}))
        archive.writestr("model.weights.h5", content)


def fill_run(folder: Path, split: SplitManifest, *, prepared: Prepared | None = None, finished: bool = True) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    split.save(folder)
    store.write_json_atomic(folder / "recipe.json", {"model": "cnn", "seed": 3})
    store.write_json_atomic(
        folder / "input.json",
        {
            "spec": SPEC.to_json(),
            "classes": list(split.classes),
            "data": prepared.fingerprint if prepared else "0" * 64,
            "prepared": str(prepared.folder) if prepared else "",
        },
    )
    store.write_json_atomic(folder / "env.json", {"python": "3.11", "command": "housetrain run images", "host": "box"})
    for row in history():
        store.append_line(folder / "history.jsonl", row, durable=False)
    fake_keras_file(folder / "model.keras")
    if finished:
        result = {"best_epoch": 3, "seconds": 9.0, "epochs_run": 6, "parameters": 145}
        store.write_json_atomic(folder / "result.json", result)
    return Run.open(folder)


def made_up_evaluation(run: Run, *, skill: float = 3.0, seed: int = 0) -> Evaluation:
    """Answers of a model that is right the more often the larger ``skill`` is."""
    rows = run.split.of("test")
    random = np.random.default_rng(seed)
    labels = np.array([run.classes.index(row.label) for row in rows])
    scores = random.normal(0, 1, (len(rows), len(run.classes)))
    scores[np.arange(len(rows)), labels] += skill
    probabilities = np.exp(scores)
    return evaluate_probabilities(
        labels,
        probabilities / probabilities.sum(1, keepdims=True),
        run.classes,
        paths=[row.path for row in rows],
        sha256=[row.sha256 for row in rows],
    )


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that makes images, a split and a run of them."""

    def make(
        classes: Sequence[str] = ("cats", "dogs"), *, per_class: int = 20, with_arrays: bool = False, **options: Any
    ) -> Run:
        root = tmp_path / "images"
        write_images(root, classes, per_class=per_class)
        manifest = split_of(root, classes, left_out=options.pop("left_out", ()))
        prepared = prepare(manifest, tmp_path / "prepared", image_size=12, workers=1) if with_arrays else None
        return fill_run(tmp_path / "run", manifest, prepared=prepared, **options)

    return make
