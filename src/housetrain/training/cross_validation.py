"""Cross-validated accuracy of a head on kept features: for few images a better estimate than one validation set.

In: features, labels and groups of the training and validation images. Out: accuracy and its interval, JSON-plain. It
does not know the test split, images, or how features are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from housetrain.models.outputs import class_probabilities
from housetrain.system.text import format_interval, format_percent
from housetrain.training import logistic
from housetrain.training.batches import class_weights, head_targets
from housetrain.training.clusters import clustered_interval

MOST_IMAGES = 1000
"""From this many images on a validation set is large enough."""
_FOLDS, _REPEATS = 5, 2


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
    outer = [clustered_interval(row, keys) for row in correct]
    floor = min(low for low, _ in outer), max(high for _, high in outer)
    interval = _interval(np.array(accuracies), float(np.mean(shares)), floor)
    found = {"accuracy": float(np.mean(accuracies)), "interval": interval, "images": len(labels)}
    return {**found, "folds": folds, "repeats": _REPEATS}


def _interval(accuracies: NDArray[np.float64], share: float, floor: tuple[float, float]) -> list[float]:
    """Return the 95 % interval of the mean, at least ``floor``; ``share`` is test images per training image."""
    from scipy.special import stdtrit

    mean, count = float(accuracies.mean()), len(accuracies)
    half = float(stdtrit(count - 1, 0.975) * np.sqrt((1 / count + share) * accuracies.var(ddof=1)))
    return [max(0.0, min(mean - half, floor[0])), min(1.0, max(mean + half, floor[1]))]


def describe(found: Mapping[str, Any]) -> str:
    """Return what `cross_validate` found in one sentence, without a full stop."""
    low, high = found["interval"]
    return (
        f"Cross-validated accuracy {format_percent(found['accuracy'])} (95 % interval {format_interval((low, high))}; "
        f"{found['folds']} folds, repeated {found['repeats']} times, over {found['images']:,} training and validation "
        "images)"
    )
