"""Cross-validated accuracy of a head on kept features: for few images a better estimate than one validation set.

In: features, labels and groups of the training and validation images. Out: accuracy and its interval, JSON-plain. It
does not know the test split, images, or how features are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from housetrain.models.outputs import class_probabilities
from housetrain.system import json_types, store
from housetrain.system.text import format_interval, format_percent
from housetrain.training import logistic
from housetrain.training.batches import class_weights, head_targets
from housetrain.training.clusters import clustered_interval
from housetrain.training.run import FOLDS_FILE, Run

MOST_IMAGES = 1000
"""From this many images on a validation set is large enough."""
_FOLDS, _REPEATS = 5, 2


class _Kept(TypedDict):
    """``folds.json``."""

    accuracy: float
    interval: list[float]
    images: int
    folds: int
    repeats: int


def cross_validate(
    features: NDArray[Any],
    labels: NDArray[np.int64],
    groups: Sequence[str],
    *,
    classes: int,
    strength: float,
    weighted: bool,
    seed: int = 0,
    check: Callable[[], None] | None = None,
) -> dict[str, Any] | None:
    """Return how well a logistic regression predicts images that it was not fitted to.

    Stratified folds, twice; a group stays in one fold. The interval is that of Nadeau & Bengio 2003
    (https://doi.org/10.1023/A:1024068626366): training sets overlap, so the variance of the mean is
    ``(1/J + n_test/n_train) s^2``, not ``s^2/J``. It is never narrower than the Wilson interval of that many images, or
    of as many as their groups are worth, which matters where all folds agree.

    Args:
        features: float16 or float32 (N, D).
        labels: Class numbers, (N,).
        groups: Key of each image's group.
        classes: Number of classes.
        strength: The L2 penalty. Validation chose it, and its images are among these: a slight optimism.
        weighted: Whether uneven classes are weighted in the fit.
        seed: Of the folds.
        check: Called in each iteration; it may raise to stop.

    Returns:
        ``accuracy``, ``interval`` (95 %), ``images``, ``folds``, ``repeats``; ``None`` where a class has one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    keys = np.asarray(groups)
    folds = min(_FOLDS, *(len(set(keys[labels == number])) for number in range(classes)))
    if folds < 2:
        return None
    accuracies: list[float] = []
    correct = np.zeros((_REPEATS, len(labels)), dtype=bool)
    shares: list[float] = []
    for repeat in range(_REPEATS):
        split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat)
        for train, test in split.split(features, labels, keys):
            if not len(test) or len(np.unique(labels[train])) < classes:
                continue
            weights = class_weights(labels[train], classes) if weighted else None
            own = None if weights is None else weights[labels[train]]
            targets = head_targets(labels[train], classes)
            path = logistic.path(features[train], targets, weights=own, strengths=(strength,), check=check)
            named = class_probabilities(next(path).probabilities(features[test]), classes).argmax(axis=1)
            correct[repeat, test] = named == labels[test]
            accuracies.append(float(np.mean(correct[repeat, test])))
            shares.append(len(test) / len(train))
    if len(accuracies) < 2:
        return None
    interval = fold_interval(accuracies, shares, correct, keys)
    found = {"accuracy": float(np.mean(accuracies)), "interval": interval, "images": len(labels)}
    return {**found, "folds": folds, "repeats": _REPEATS}


def fold_interval(
    accuracies: Sequence[float],
    shares: Sequence[float],
    correct: NDArray[np.bool_],
    groups: Sequence[Any] | NDArray[Any],
) -> list[float]:
    """Return the 95 % interval of the mean of folds: see `cross_validate`.

    Args:
        accuracies: Of each fold, (J,), J from 2.
        shares: Test images per training image of each fold, (J,).
        correct: Which images were named correctly in each repeat, (repeats, N).
        groups: The group of each image, (N,).
    """
    from scipy.special import stdtrit

    outer = [clustered_interval(row, groups) for row in correct]
    mean, count = float(np.mean(accuracies)), len(accuracies)
    variance = (1 / count + float(np.mean(shares))) * float(np.var(accuracies, ddof=1))
    half = float(stdtrit(count - 1, 0.975) * np.sqrt(variance))
    low, high = min(low for low, _ in outer), max(high for _, high in outer)
    return [max(0.0, min(mean - half, low)), min(1.0, max(mean + half, high))]


def kept(run: Run) -> dict[str, Any] | None:
    """Return what `housetrain.cross_validate` found for a run, else what its head on few kept features did."""
    path = run.folder / FOLDS_FILE
    if path.is_file():
        return dict(json_types.must_fit(store.read_json(path), _Kept, path))
    found = (run.result or {}).get("cross_validation")
    return dict(found) if found else None


def describe(found: Mapping[str, Any]) -> str:
    """Return what `cross_validate` found in one sentence, without a full stop."""
    low, high = found["interval"]
    repeated = f", repeated {found['repeats']} times" if found["repeats"] > 1 else ""
    return (
        f"Cross-validated accuracy {format_percent(found['accuracy'])} (95 % interval {format_interval((low, high))}; "
        f"{found['folds']} folds{repeated}, over {found['images']:,} training and validation "
        "images)"
    )
