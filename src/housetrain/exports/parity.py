"""Parity: how an exported model compares with the Keras model. The table of `housetrain export` and `benchmark`.

In: a loaded model, and the Keras model's probabilities for real validation images. Out: a `Parity`: size, load time,
speed, differences, accuracy, and whether it is good enough. Does not know: how the model was converted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import ModelError
from housetrain.inference.engine import (
    Engine,
    Images,
    Precision,
    Probabilities,
    run_in_batches,
)
from housetrain.models.outputs import class_probabilities
from housetrain.system.text import format_percent

IMAGES = 512
"""Largest number of validation images compared, spread evenly over the classes."""
_BATCH = 32

LIMITS: dict[Precision, tuple[float, float, float]] = {
    "fp32": (2e-3, 0.995, 0.005),
    "fp16": (3e-2, 0.99, 0.01),
    "bf16": (1e-1, 0.98, 0.01),
    "int8": (1.0, 0.95, 0.02),
}
"""Precision -> largest difference of a probability, lowest agreement on the class, largest loss of accuracy. One image
may always change its class: of few images, one is a large share. Quantization to 8 bits moves probabilities near one
half most, so there classes and accuracy decide."""


@dataclass(frozen=True)
class Parity:
    """How one exported model compares with the Keras model.

    Attributes:
        format: The name of the format.
        precision: What it was written in.
        bytes: Size of its files.
        load_s: Seconds to load it, without the import of its library.
        ms: Milliseconds for a single image, median.
        images_per_s: Speed in batches of 32.
        difference: Largest difference of any probability, 0 to 1.
        agreement: Share of images with the same predicted class as Keras.
        accuracy: Accuracy on the images, or ``None`` where their labels are unknown.
        keras_accuracy: Accuracy of the Keras model on them.
        images: Number of images compared.
        kind: ``"validation"`` images, or ``"noise"`` where no image was left.
    """

    format: str
    precision: Precision
    bytes: int
    load_s: float
    ms: float
    images_per_s: float
    difference: float
    agreement: float
    accuracy: float | None
    keras_accuracy: float | None
    images: int
    kind: str

    @property
    def good(self) -> bool:
        """Whether it may replace the Keras model."""
        difference, agreement, loss = LIMITS[self.precision]
        slack = 1.5 / self.images
        lost = (self.keras_accuracy or 0.0) - (self.accuracy or 0.0)
        return (
            self.difference <= difference
            and 1 - self.agreement <= max(1 - agreement, slack)
            and lost <= max(loss, slack)
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, with ``good``."""
        return {**asdict(self), "good": self.good}

    def must_be_good(self) -> Parity:
        """Return itself.

        Raises:
            ModelError: It is not good enough.
        """
        if not self.good:
            difference, agreement, loss = LIMITS[self.precision]
            raise ModelError(
                f"The {self.format} {self.precision} model differs too much from the Keras model",
                expected=f"probabilities within {difference:g}, the same class for {format_percent(agreement)} of the "
                f"images, accuracy at most {format_percent(loss)} lower",
                do="choose another precision",
                difference=f"{self.difference:.3g}",
                agreement=format_percent(self.agreement),
                accuracy=None if self.accuracy is None else format_percent(self.accuracy),
                keras=None if self.keras_accuracy is None else format_percent(self.keras_accuracy),
            )
        return self


@dataclass(frozen=True)
class Reference:
    """The Keras model's probabilities for some images, and the true classes.

    Attributes:
        images: uint8 (N, H, W, C).
        probabilities: float32 (N, classes), of the Keras model.
        labels: int (N,), or ``None`` where they are unknown.
        kind: ``"validation"`` or ``"noise"``.
    """

    images: Images
    probabilities: Probabilities
    labels: NDArray[np.int64] | None
    kind: str


def probabilities(engine: Engine, images: Images, classes: int) -> Probabilities:
    """Return float32 (N, classes) for uint8 (N, H, W, C), in batches of one size."""
    return class_probabilities(run_in_batches(engine, images, batch=_BATCH, one_size=True), classes)


def compare(
    load: Callable[[], Engine],
    reference: Reference,
    *,
    classes: int,
    format: str,  # noqa: A002 - the field's name
    precision: Precision,
    size: int,
    timed: bool = True,
) -> tuple[Parity, Engine]:
    """Load a model, time it, and compare its probabilities.

    Args:
        load: Loads it.
        reference: The expected probabilities.
        classes: Number of classes.
        format: The format, for the row.
        precision: The precision, for the row.
        size: Bytes of its files, for the row.
        timed: Also measure the speed; otherwise it is 0.

    Returns:
        The row, and the engine that was loaded.

    Raises:
        ModelError: It does not load, or does not return probabilities.
    """
    begin = time.perf_counter()
    loaded = load()
    load_s = time.perf_counter() - begin
    begin = time.perf_counter()
    given = probabilities(loaded, reference.images, classes)
    seconds = time.perf_counter() - begin
    if given.shape != reference.probabilities.shape or not np.isfinite(given).all():
        raise ModelError(f"The {format} {precision} model does not return probabilities", do="choose another format")
    if timed and len(reference.images) >= 2 * _BATCH:  # the first pass includes set-up
        again = reference.images[: 8 * _BATCH]
        begin = time.perf_counter()
        run_in_batches(loaded, again, batch=_BATCH, one_size=True)
        seconds = (time.perf_counter() - begin) * len(given) / len(again)
    parity = Parity(
        format=format,
        precision=precision,
        bytes=size,
        load_s=load_s,
        ms=_alone(loaded, reference.images) if timed else 0.0,
        images_per_s=len(given) / seconds if timed else 0.0,
        difference=float(np.max(np.abs(given - reference.probabilities))),
        agreement=float(np.mean(given.argmax(axis=1) == reference.probabilities.argmax(axis=1))),
        accuracy=_accuracy(given, reference.labels),
        keras_accuracy=_accuracy(reference.probabilities, reference.labels),
        images=len(given),
        kind=reference.kind,
    )
    return parity, loaded


def rows(table: Sequence[Parity]) -> list[list[str]]:
    """Return the table as text: format, size, load, ms per image, images/s, difference, agreement, accuracy."""
    return [
        [
            f"{row.format} {row.precision}",
            f"{row.bytes / 1e6:,.2f} MB",
            f"{row.load_s:.2f} s",
            f"{row.ms:.2f}",
            f"{row.images_per_s:,.0f}",
            f"{row.difference:.1e}",
            format_percent(row.agreement),
            "" if row.accuracy is None else format_percent(row.accuracy),
        ]
        for row in table
    ]


COLUMNS = ("format", "size", "load", "ms per image", "images/s", "max difference", "agreement", "accuracy")


def _alone(engine: Engine, images: Images) -> float:
    times = []
    for at in range(13):
        one = images[at % len(images)][None]
        begin = time.perf_counter()
        engine.run(one)
        times.append(time.perf_counter() - begin)
    return float(np.median(times[2:])) * 1000  # the first two include set-up


def _accuracy(given: Probabilities, labels: NDArray[np.int64] | None) -> float | None:
    return None if labels is None else float(np.mean(given.argmax(axis=1) == labels))
