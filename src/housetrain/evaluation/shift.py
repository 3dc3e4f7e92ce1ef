"""How images differ from those a model was trained on: size, brightness, contrast, color, novelty, confidence.

In: records and model inputs of two sets of images. Out: a `Shift` for each property. It does not know where the images
come from.

Each property is a number an image; two sets are compared by the Kolmogorov-Smirnov distance of its distributions. The
novelty of an image is its distance to the nearest training image, as an 8x8 thumbnail without its own brightness and
contrast, which are compared on their own: a dark image is close to every other dark one. It is compared with the
distances of the validation images, which the model was not trained on either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from housetrain.evaluation.elsewhere import Shift

MOST = 2_000
"""Images of each set that are compared: enough for distances of 0.05."""

_SIDE = 8
_UNITS = {
    "size": "pixels, square root of width times height",
    "brightness": "mean of the model input, 0 to 255",
    "contrast": "standard deviation of the model input, 0 to 127",
    "color": "mean difference of the color channels, 0 for gray, to 255",
    "novelty": "distance to the nearest training image; trained: of validation images",
    "confidence": "probability of the predicted class; trained: of validation images",
}


@dataclass(frozen=True)
class Measures:
    """What is measured of a set of model inputs, a row an image.

    Attributes:
        numbers: Property -> float64 (N,).
        thumbnails: float32 (N, 8 * 8 * channels).
    """

    numbers: dict[str, NDArray[np.float64]]
    thumbnails: NDArray[np.float32]

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Measures:
        """Return the measures of some of the images."""
        return Measures({name: values[rows] for name, values in self.numbers.items()}, self.thumbnails[rows])


def measure(images: NDArray[np.uint8]) -> Measures:
    """Measure model inputs.

    Args:
        images: uint8 (N, height, width, 1 or 3).
    """
    import cv2

    gray = images.mean(axis=-1, dtype=np.float32)
    numbers = {"brightness": gray.mean(axis=(1, 2)), "contrast": gray.std(axis=(1, 2))}
    if images.shape[-1] == 3:
        spread = images.max(axis=-1).astype(np.float32) - images.min(axis=-1)
        numbers["color"] = spread.mean(axis=(1, 2))
    small = [cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).reshape(-1) for image in images]
    width = _SIDE * _SIDE * images.shape[-1]
    return Measures(
        {name: np.asarray(values, np.float64) for name, values in numbers.items()},
        np.asarray(small, np.float32).reshape(-1, width),
    )


def joined(parts: list[Measures]) -> Measures:
    """Return the measures of several batches as one."""
    return Measures(
        {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers},
        np.concatenate([part.thumbnails for part in parts]),
    )


def shifts(
    trained: Measures,
    validation: Measures,
    here: Measures,
    others: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[Shift, ...]:
    """Return how one set of images differs from another in each property.

    Args:
        trained: Of training images.
        validation: Of validation images.
        here: Of the images that are compared.
        others: Further properties: their numbers in training (or validation), and here.
    """
    nearest = _nearest(trained.thumbnails)
    compared = {name: (trained.numbers[name], here.numbers[name]) for name in trained.numbers}
    compared |= {"novelty": (nearest(validation.thumbnails), nearest(here.thumbnails)), **others}
    return tuple(
        _shift(name, *compared[name])
        for name in _UNITS
        if name in compared and all(len(values) for values in compared[name])
    )


def _shift(name: str, trained: NDArray[np.float64], here: NDArray[np.float64]) -> Shift:
    from scipy.stats import ks_2samp

    found = ks_2samp(trained, here)
    return Shift(
        name, _UNITS[name], _quantiles(trained), _quantiles(here), round(float(found.statistic), 4), float(found.pvalue)
    )


def _quantiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, middle, high = (float(f"{value:.4g}") for value in np.quantile(values, (0.05, 0.5, 0.95)))
    return low, middle, high


def _nearest(trained: NDArray[np.float32]) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Return a function that gives the distance of thumbnails to the nearest of ``trained``, 0 to 2."""
    known = _plain(trained)
    squares = (known**2).sum(axis=1)

    def distances(thumbnails: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = _plain(thumbnails)
        squared = (rows**2).sum(axis=1)[:, np.newaxis] + squares - 2 * rows @ known.T
        near = np.maximum(squared.min(axis=1, initial=np.inf), 0) / max(1, known.shape[1])
        return np.asarray(np.sqrt(near), np.float64)

    return distances


def _plain(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return thumbnails with mean 0 and standard deviation 1 each."""
    centered = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    return np.asarray(centered / np.maximum(centered.std(axis=1, keepdims=True), 1.0), np.float32)
