"""Does an exported model say what the Keras model says? The table behind `housetrain export` and `benchmark`.

In: a loaded form, and what the Keras model says of real validation images. Out: a `Parity`: size, load time, speed,
differences, accuracy, and whether that is good enough. It does not know how the form was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import ModelError
from housetrain.exports.formats import Format, Precision
from housetrain.inference.engine import Engine, Images, Probabilities

IMAGES = 512
"""Validation images that are compared, at most: every class in turn."""
_BATCH = 32

LIMITS: dict[Precision, tuple[float, float, float]] = {
    "fp32": (2e-3, 0.995, 0.005),
    "fp16": (3e-2, 0.99, 0.01),
    "bf16": (1e-1, 0.98, 0.01),
    "int8": (1.0, 0.95, 0.02),
}
"""Precision -> the largest difference of a probability, the least agreement on the name, the largest loss of accuracy.
A single image is always allowed to change its name: of few images one is a large share. A probability near one half
moves most, so what 8 bits do to it says little; names and accuracy decide there."""


@dataclass(frozen=True)
class Parity:
    """How one form of a model compares with the Keras model.

    Attributes:
        engine: The format.
        precision: What it computes in.
        bytes: Size of its files.
        load_s: Seconds to load it, its library being imported already.
        ms: Milliseconds for one image alone, median.
        images_per_s: Speed in batches of 32.
        difference: Largest difference of any probability, 0 to 1.
        agreement: Share of images given the same name as by Keras.
        accuracy: Share of images named right, or ``None`` where their labels are not known.
        keras_accuracy: The same of the Keras model.
        images: How many images were compared.
        kind: ``"validation"`` images, or ``"noise"`` where no image was left.
    """

    engine: Format
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
        """Whether it may stand in for the Keras model."""
        difference, agreement, loss = LIMITS[self.precision]
        slack = 1.5 / self.images
        lost = (self.keras_accuracy or 0.0) - (self.accuracy or 0.0)
        return (
            self.difference <= difference
            and 1 - self.agreement <= max(1 - agreement, slack)
            and lost <= max(loss, slack)
        )

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-plain, with ``good``."""
        return {**asdict(self), "good": self.good}

    def must_be_good(self) -> Parity:
        """Return itself.

        Raises:
            ModelError: It is not good enough.
        """
        if not self.good:
            difference, agreement, loss = LIMITS[self.precision]
            raise ModelError(
                f"The {self.engine} {self.precision} model does not say what the Keras model says",
                expected=f"probabilities within {difference:g}, the same name for {agreement:.1%} of the images, "
                f"an accuracy at most {loss:.1%} lower",
                do="choose another precision",
                difference=f"{self.difference:.3g}",
                agreement=f"{self.agreement:.1%}",
                accuracy=None if self.accuracy is None else f"{self.accuracy:.1%}",
                keras=None if self.keras_accuracy is None else f"{self.keras_accuracy:.1%}",
            )
        return self


@dataclass(frozen=True)
class Yardstick:
    """What the Keras model says of some images, and what is true.

    Attributes:
        images: uint8 (N, H, W, C).
        probabilities: float32 (N, classes), of the Keras model.
        labels: int (N,), or ``None`` where they are not known.
        kind: ``"validation"`` or ``"noise"``.
    """

    images: Images
    probabilities: Probabilities
    labels: NDArray[np.int64] | None
    kind: str


def in_batches(engine: Engine, images: Images, batch: int = _BATCH) -> Probabilities:
    """Return what an engine says, batch by batch, all of one size: every new size costs some engines a compilation."""
    parts = []
    for at in range(0, len(images), batch):
        part = images[at : at + batch]
        missing = batch - len(part)
        if missing:
            part = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
        parts.append(engine.probabilities(part)[: batch - missing])
    return np.concatenate(parts)


def compare(
    load: Callable[[], Engine],
    yardstick: Yardstick,
    *,
    engine: Format,
    precision: Precision,
    size: int,
    timed: bool = True,
) -> tuple[Parity, Engine]:
    """Load a form, time it, and compare what it says.

    Args:
        load: Loads it.
        yardstick: What is to be said.
        engine: The format, for the row.
        precision: The precision, for the row.
        size: Bytes of its files, for the row.
        timed: Measure the speed, too; it is 0 otherwise.

    Returns:
        The row, and the engine that was loaded.

    Raises:
        ModelError: It does not load, or gives something else than probabilities.
    """
    begin = time.perf_counter()
    loaded = load()
    load_s = time.perf_counter() - begin
    begin = time.perf_counter()
    given = in_batches(loaded, yardstick.images)
    seconds = time.perf_counter() - begin
    if given.shape != yardstick.probabilities.shape or not np.isfinite(given).all():
        raise ModelError(f"The {engine} {precision} model gives no probabilities", do="choose another format")
    if timed and len(yardstick.images) >= 2 * _BATCH:  # the first pass also paid for set-up
        again = yardstick.images[: 8 * _BATCH]
        begin = time.perf_counter()
        in_batches(loaded, again)
        seconds = (time.perf_counter() - begin) * len(given) / len(again)
    parity = Parity(
        engine=engine,
        precision=precision,
        bytes=size,
        load_s=load_s,
        ms=_alone(loaded, yardstick.images) if timed else 0.0,
        images_per_s=len(given) / seconds if timed else 0.0,
        difference=float(np.max(np.abs(given - yardstick.probabilities))),
        agreement=float(np.mean(given.argmax(axis=1) == yardstick.probabilities.argmax(axis=1))),
        accuracy=_accuracy(given, yardstick.labels),
        keras_accuracy=_accuracy(yardstick.probabilities, yardstick.labels),
        images=len(given),
        kind=yardstick.kind,
    )
    return parity, loaded


def rows(table: Sequence[Parity]) -> list[list[str]]:
    """Return the table in words: format, size, load, ms an image, images/s, difference, agreement, accuracy."""
    return [
        [
            f"{row.engine} {row.precision}",
            f"{row.bytes / 1e6:,.2f} MB",
            f"{row.load_s:.2f} s",
            f"{row.ms:.2f}",
            f"{row.images_per_s:,.0f}",
            f"{row.difference:.1e}",
            f"{row.agreement:.1%}",
            "" if row.accuracy is None else f"{row.accuracy:.1%}",
        ]
        for row in table
    ]


COLUMNS = ("format", "size", "load", "ms an image", "images/s", "max difference", "agreement", "accuracy")


def _alone(engine: Engine, images: Images) -> float:
    times = []
    for at in range(13):
        one = images[at % len(images)][None]
        begin = time.perf_counter()
        engine.probabilities(one)
        times.append(time.perf_counter() - begin)
    return float(np.median(times[2:])) * 1000  # the first two set up what a batch of one needs


def _accuracy(given: Probabilities, labels: NDArray[np.int64] | None) -> float | None:
    return None if labels is None else float(np.mean(given.argmax(axis=1) == labels))
