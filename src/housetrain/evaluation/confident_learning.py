"""Confident learning: which labels are wrong, by the probabilities of a model that was not fitted to them.

In: features, labels and groups, or out-of-fold probabilities. Out: the images whose label is probably wrong. It does
not know images, files or where the features are from.

The method is that of Northcutt, Jiang & Chuang 2021 (https://doi.org/10.1613/jair.1.12125): an image counts for a class
where it is at least as probable as the images of that class are on average; the counts, calibrated to the labels, give
the number of wrong labels for each pair of classes, and that many images with the largest margin are named ("prune by
noise rate", the default of cleanlab, with which a test compares this module).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.training.logistic import one_thread

FOLDS = 5
COMPONENTS = 300
"""Principal components of the standardized features: as good as all of 1,280 or 4,048 (docs/log.md), much quicker."""

STRENGTHS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
"""L2 penalties relative to the mean loss per image, strong to weak; the lowest loss of images in no fit decides."""

_LEAST = 2  # groups of a class, so that each fit has one
_SLACK = 1e-6

Float = NDArray[np.float32]


class OutOfFold(NamedTuple):
    """The probabilities of a model for images that it was not fitted to.

    Attributes:
        probabilities: float32 (N, classes).
        strength: The L2 penalty.
        folds: Number of folds.
    """

    probabilities: Float
    strength: float
    folds: int


def components(features: NDArray[np.floating], most: int = COMPONENTS) -> Float:
    """Return the principal components of standardized features, float32 (N, at most ``most``).

    Args:
        features: (N, D), any float type.
        most: The most components.
    """
    from sklearn.decomposition import PCA

    rows = np.asarray(features, dtype=np.float32)
    rows = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-6)
    if rows.shape[1] <= most or len(rows) <= 1:
        return np.asarray(rows, dtype=np.float32)
    count = min(most, len(rows) - 1)
    with one_thread():
        found = PCA(count, svd_solver="randomized", iterated_power=2, random_state=0).fit_transform(rows)
    return np.asarray(found, dtype=np.float32)


def out_of_fold(
    rows: Float,
    labels: NDArray[np.int64],
    groups: Sequence[str],
    *,
    classes: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> OutOfFold:
    """Return out-of-fold probabilities of a logistic regression: grouped, stratified k-fold.

    The penalty is the one of the lowest loss on the first fold. Where labels are wrong a weak one learns them by heart,
    and a strong one is sure of nothing.

    Args:
        rows: What `components` returned, (N, D).
        labels: Class numbers, (N,); each class has at least two groups.
        groups: Key of each image's group, which stays in one fold.
        classes: Number of classes.
        seed: Of the folds.
        progress: Called with (done, total) folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    keys = np.asarray(groups)
    folds = max(_LEAST, min(FOLDS, *(len(set(keys[labels == number])) for number in range(classes))))
    split = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(rows, labels, keys))
    found = np.full((len(labels), classes), 1 / classes, np.float32)
    strength = _strength(rows, labels, split[0][0], split[0][1], classes)
    for number, (train, test) in enumerate(split):
        found[test] = _fitted(rows, labels, train, test, (strength,), classes)[0]
        if progress is not None:
            progress(number + 1, folds)
    return OutOfFold(found, strength, folds)


def _strength(
    rows: Float, labels: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64], classes: int
) -> float:
    losses = []
    for probabilities in _fitted(rows, labels, train, test, STRENGTHS, classes):
        of_truth = probabilities[np.arange(len(test)), labels[test]]
        losses.append(float(-np.log(np.clip(of_truth, 1e-7, 1.0)).mean()))
    return STRENGTHS[int(np.argmin(losses))]


def _fitted(
    rows: Float,
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    strengths: Sequence[float],
    classes: int,
) -> list[Float]:
    """Return the probabilities of ``test`` by fits to ``train``, one for each strength, float32 (N, classes)."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(warm_start=True, tol=1e-3, max_iter=200)
    found = []
    with one_thread():
        for strength in strengths:
            model.C = 1 / (strength * len(train))
            model.fit(rows[train], labels[train])
            whole = np.zeros((len(test), classes), np.float32)  # a fold may lack a class
            whole[:, model.classes_] = model.predict_proba(rows[test])
            found.append(whole)
    return found


def confident_joint(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return how many images with the label i are probably of class j, (classes, classes); rows sum to the labels.

    Args:
        labels: Class numbers, (N,).
        probabilities: Out-of-fold, (N, classes).
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = [probabilities[labels == number, number] for number in range(classes)]
    thresholds = np.array([one.mean() if len(one) else 1.0 for one in own])
    above = np.where(probabilities >= thresholds - _SLACK, probabilities, -1.0)
    sure = above.max(axis=1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[sure], above.argmax(axis=1)[sure]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    return _whole_numbers(joint / joint.sum(axis=1, keepdims=True) * counts[:, np.newaxis])


def _whole_numbers(table: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the table in whole numbers with the same sums of rows: the largest remainders are rounded up."""
    floor = np.floor(table).astype(np.int64)
    for row, exact in zip(floor, table, strict=True):
        missing = round(float(exact.sum())) - int(row.sum())
        row[np.argsort(row - exact, kind="stable")[:missing]] += 1
    return floor


def wrong_labels(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the images whose label is probably wrong, the surest first.

    Args:
        labels: Class numbers, (N,).
        probabilities: Out-of-fold, (N, classes).

    Returns:
        Indices, ordered by how much more probable another class is than the given one.
    """
    joint = confident_joint(labels, probabilities)
    found = np.zeros(len(labels), bool)
    for given, row in enumerate(joint):
        members = np.flatnonzero(labels == given)
        if len(members) < 2:
            continue
        for other, count in enumerate(row):
            if other != given and count:
                margin = probabilities[members, other] - probabilities[members, given]
                found[members[np.argsort(-margin, kind="stable")[:count]]] = True
    found &= probabilities.max(axis=1) > probabilities[np.arange(len(labels)), labels] + _SLACK
    numbers = np.flatnonzero(found)
    best = probabilities[numbers].max(axis=1) - probabilities[numbers, labels[numbers]]
    return np.asarray(numbers[np.argsort(-best, kind="stable")], dtype=np.int64)


class Neighbors(NamedTuple):
    """The images most like one.

    Attributes:
        places: Their indices, nearest first.
        similarity: Cosine of each, at most 1.
    """

    places: NDArray[np.int64]
    similarity: Float


def neighbors(rows: Float, of: NDArray[np.int64], groups: Sequence[str], *, count: int) -> list[Neighbors]:
    """Return the nearest images of some, in other groups: their near-duplicates have the same label by the same hand.

    Args:
        rows: What `components` returned, (N, D).
        of: Indices of the images.
        groups: Key of each image's group.
        count: How many neighbors of each.
    """
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    keys = np.unique(np.asarray(groups), return_inverse=True)[1]
    found = []
    for place in of:
        alike = unit @ unit[place]
        alike[keys == keys[place]] = -2.0
        nearest = np.argsort(-alike, kind="stable")[:count]
        nearest = nearest[alike[nearest] > -2.0]
        found.append(Neighbors(np.asarray(nearest, dtype=np.int64), alike[nearest].astype(np.float32)))
    return found
