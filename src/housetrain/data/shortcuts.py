"""Catalog -> ways to tell the classes apart without looking at what the images show.

In: a `Catalog`. Out: one finding that names them. No image is opened.

A model takes the easiest way. Where the images of one class come from another camera, another program or another day,
file size or background alone tell the class, and the test, whose images come from the same folder, rewards it. Each
property is given to a small decision tree, fitted to one half of the images and tested on the other; a permutation test
of that half, corrected for the number of properties and classes tried, says whether the result can be chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.data.findings import Noticed, finding_kind
from housetrain.system.text import format_percent

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.image_record import ImageRecord

LEVEL = 0.01
"""Probability of a finding where no property has to do with the class."""

ENOUGH, ENOUGH_OF_CONTENT = 0.8, 0.9
"""Balanced accuracy from which a property is a shortcut. What an image shows also has an influence on some: more is
asked of these. Of 8,000 cats and dogs the best property, the file size, reaches 0.62."""

LEAST_SIDE = 64
"""Pixels: of smaller images these are not used. By file size a handwritten 1 is told from other digits: 0.97."""

_LEAST = 20  # images of a class
_MOST = 4000  # images that are looked at
_CLASSES = 20  # with more, classes are not tested one by one
_PERMUTATIONS = 1999
_LEAVES = 8
_BINS = 16


class Shortcut(NamedTuple):
    """A property that tells classes apart.

    Attributes:
        name: The property, in words.
        label: The class that it tells from the others; ``""`` where there are two classes, or for all classes.
        accuracy: Balanced accuracy on the half of the images that the tree was not fitted to.
        chance: That of guessing.
    """

    name: str
    label: str
    accuracy: float
    chance: float


@finding_kind(
    "shortcut",
    "Classes that can be told apart without looking",
    severity="warning",
    do="take and store the images of all classes in the same way (size, format, compression, background, camera, time) "
    "and test on images from elsewhere: housetrain evaluate RUN --on FOLDER; until then the accuracy may come of this",
)
def _shortcut(catalog: Catalog) -> Iterator[Noticed]:
    found = shortcuts(catalog)
    for label in dict.fromkeys(one.label for one in found):
        own = sorted((one for one in found if one.label == label), key=lambda one: -one.accuracy)
        ways = ", ".join(f"by {one.name} alone: {format_percent(one.accuracy)}" for one in own)
        who = f"{label} can be told from the other classes" if label else "the classes can be told apart"
        yield Noticed(f"{who} {ways} of images not used before (chance {format_percent(own[0].chance)})")


def shortcuts(catalog: Catalog) -> list[Shortcut]:
    """Return the properties that tell the classes apart, by more than chance and by enough to matter."""
    counts = catalog.counts()
    labels = sorted(label for label, count in counts.items() if count >= _LEAST)
    images = _sample([image for image in catalog.usable if image.label in set(labels)])
    if len(labels) < 2:
        return []
    properties = {name: rows for name, rows in measured(images).items() if len(np.unique(rows, axis=0)) > 1}
    true = np.array([image.label for image in images])
    one_by_one = 2 < len(labels) <= _CLASSES
    targets = {label: true == label for label in labels} if one_by_one else {"": true}
    tries = max(1, len(properties) * len(targets))
    found = []
    for name, rows in properties.items():
        enough = ENOUGH_OF_CONTENT if name in OF_CONTENT else ENOUGH
        for label, target in targets.items():
            if not may_tell_apart(rows, target, enough=enough):
                continue
            accuracy, p_value = told_apart(rows, target, enough=enough)
            if accuracy >= enough and p_value <= LEVEL / tries:
                found.append(Shortcut(name, label, accuracy, 1 / len(np.unique(target))))
    return found


OF_CONTENT = FILE_SIZE, BORDER, THUMBNAIL = "file size", "border", "a thumbnail of 4x4 gray pixels"
"""Properties that what an image shows has an influence on."""


def measured(images: Sequence[ImageRecord]) -> dict[str, NDArray[np.float64]]:
    """Return the properties of images that are not what they show: name -> float (N, D)."""
    headers = [image.header for image in images]
    pixels = [max(1, one.width * one.height) for one in headers]
    taken = [datetime.fromisoformat(one.taken) if one.taken else None for one in headers]
    columns: dict[str, list[Sequence[float]]] = {
        "image size": [(one.width, one.height) for one in headers],
        "aspect ratio": [(one.width / max(1, one.height),) for one in headers],
        "compression": [(one.quantization,) for one in headers],
        "file format": [(code,) for code in _codes([f"{one.format} {one.mode}" for one in headers])],
        "camera": [(code,) for code in _codes([one.camera for one in headers])],
        "time of day": [(-1.0 if one is None else one.hour + one.minute / 60,) for one in taken],
        "date": [(-1.0 if one is None else one.toordinal(),) for one in taken],
    }
    if np.median([min(one.width, one.height) for one in headers]) >= LEAST_SIDE:
        sizes = [image.stamp.bytes for image in images]
        columns[FILE_SIZE] = [(math.log(1 + size), size / area) for size, area in zip(sizes, pixels, strict=True)]
        columns[BORDER] = [(image.brightness.border, image.brightness.border_std) for image in images]
        columns[THUMBNAIL] = [list(bytes.fromhex(image.hashes.tiny or "00" * 16)) for image in images]
    return {name: np.array(rows, dtype=np.float64) for name, rows in columns.items()}


def may_tell_apart(rows: NDArray[np.float64], target: NDArray[Any], *, enough: float) -> bool:
    """Return whether one column of a property, cut into bins, gets half-way from chance to ``enough``, unvalidated.

    Most properties do not, and then scikit-learn, which takes a second to import, is not needed.

    Args:
        rows: A property, (N, D).
        target: The class of each image, (N,).
        enough: Balanced accuracy of a shortcut.
    """
    names, true = np.unique(target, return_inverse=True)
    weights = 1 / (len(names) * np.bincount(true))
    for column in rows.T:
        edges = np.unique(np.quantile(column, np.linspace(0, 1, max(_BINS, 2 * len(names)) + 1)[1:-1]))
        bins = np.searchsorted(edges, column, side="right")
        size = (len(edges) + 1) * len(names)
        shares = np.bincount(bins * len(names) + true, weights=weights[true], minlength=size).reshape(-1, len(names))
        if shares.max(axis=1).sum() >= (enough + 1 / len(names)) / 2:
            return True
    return False


def told_apart(rows: NDArray[np.float64], target: NDArray[Any], *, enough: float = 0.0) -> tuple[float, float]:
    """Return the balanced accuracy of a small tree on the half it was not fitted to, and its p-value.

    The p-value is the share of permutations of the true classes of that half that reach this accuracy. With two classes
    it is exact: the accuracy rises with the hits of one class, whose number is hypergeometric (Fisher's exact test).

    Args:
        rows: A property, (N, D), in an order that has nothing to do with the classes.
        target: The class of each image, (N,).
        enough: Accuracy below which the p-value is not computed, and 1.
    """
    from sklearn.tree import DecisionTreeClassifier

    leaves = max(_LEAVES, 2 * len(np.unique(target)))
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=3, class_weight="balanced", random_state=0)
    called = tree.fit(rows[::2], target[::2]).predict(rows[1::2])
    names, true = np.unique(target[1::2], return_inverse=True)
    named = np.searchsorted(names, called).clip(0, len(names) - 1)
    weights = 1 / (len(names) * np.bincount(true))
    accuracy = float(weights[true] @ (names[named] == names[true]))
    if accuracy < enough:
        return accuracy, 1.0
    if len(names) == 2:
        from scipy.stats import hypergeom

        margins, hits = (int(true.sum()), int(named.sum())), int((true & named).sum())
        return accuracy, float(hypergeom.sf(hits - 1, len(true), *margins))
    random, reached = np.random.default_rng(0), 0
    for _ in range(_PERMUTATIONS):
        shuffled = random.permutation(true)
        reached += bool(weights[shuffled] @ (named == shuffled) >= accuracy - 1e-12)
    return accuracy, (1 + reached) / (_PERMUTATIONS + 1)


def _codes(values: Sequence[str]) -> list[float]:
    """Return a number for each text, the commonest first."""
    names, counts = np.unique(values, return_counts=True)
    place = {name: float(number) for number, name in enumerate(names[np.argsort(-counts, kind="stable")])}
    return [place[value] for value in values]


def _sample(images: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Return at most so many images, in the order of their content, which has nothing to do with their classes."""
    return sorted(images, key=lambda image: image.sha256)[:_MOST]
