"""Code that the benchmarks share: the tutorials' model and training in plain Keras, and subsets of images."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from housetrain import Prepared, prepare


def plain_model(dense_layers: int, layer_size: int, conv_layers: int, shape: tuple[int, ...]) -> Any:
    """Build the net as the tutorials do."""
    from keras.layers import Activation, Conv2D, Dense, Flatten, Input, MaxPooling2D
    from keras.models import Sequential

    model = Sequential()
    model.add(Input(shape))
    for _ in range(conv_layers):
        model.add(Conv2D(layer_size, (3, 3)))
        model.add(Activation("relu"))
        model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Flatten())
    for _ in range(dense_layers):
        model.add(Dense(layer_size))
        model.add(Activation("relu"))
    model.add(Dense(1))
    model.add(Activation("sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def plain_training(
    prepared: Prepared, cell: tuple[int, int, int], logs: Path, *, epochs: int, batch: int, seed: int = 0
) -> dict[str, Any]:
    """Train one net as the tutorials do, and return its best epoch and what it took.

    Args:
        prepared: For its arrays; they are copied into memory as the tutorials have them, outside of the time.
        cell: Dense layers, nodes, convolutions.
        logs: Folder for the TensorBoard callback.
        epochs: How many.
        batch: Images a step.
        seed: Of Keras' global generators.
    """
    import keras

    x, y = np.asarray(prepared.train.images) / 255.0, prepared.train.labels
    x_val, y_val = np.asarray(prepared.validation.images) / 255.0, prepared.validation.labels
    keras.utils.set_random_seed(seed)
    begin = time.perf_counter()
    model = plain_model(*cell, prepared.spec.shape)
    board, ends = keras.callbacks.TensorBoard(log_dir=str(logs)), list[float]()
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    history = model.fit(
        x, y, batch_size=batch, epochs=epochs, validation_data=(x_val, y_val), callbacks=[board, clock], verbose=0
    ).history
    seconds = time.perf_counter() - begin
    best = int(np.argmin(history["val_loss"]))
    return {
        "seconds": round(seconds, 2),
        "epoch_s": round((ends[-1] - ends[0]) / max(1, epochs - 1), 3),
        "images_per_s": round(epochs * len(x) / seconds, 1),
        "val_loss": history["val_loss"][best],
        "val_accuracy": history["val_accuracy"][best],
    }


def some_of(images: Path, work: Path, *, count: int) -> Prepared:
    """Return the first ``count`` cats and dogs, half of each, prepared gray 50x50 in ``work``."""
    folder = work / f"prepared-{count}"
    if not (folder / "prepared.json").exists():
        with tempfile.TemporaryDirectory() as scratch:
            for label in ("Cat", "Dog"):
                (Path(scratch) / label).mkdir()
                for path in sorted((images / label).glob("*.jpg"))[: count // 2]:
                    shutil.copyfile(path, Path(scratch) / label / path.name)
            prepare(Path(scratch), folder, image_size=50, color_mode="grayscale")
    return Prepared.open(folder)
