"""Metrics of a classifier and their uncertainty, each with its source.

In: labels, probabilities and counts as NumPy arrays. Out: plain numbers. It does not know runs, images or reports.
Metrics that scikit-learn or SciPy have come from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.models.outputs import cross_entropy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

ECE_BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Predictions whose confidence lies between ``low`` and ``high``.

    Attributes:
        low: Lower edge, in [0, 1).
        high: Upper edge, in (0, 1]; belongs to the bin.
        count: Images in the bin.
        confidence: Mean probability of the predicted class, ``None`` when the bin is empty.
        accuracy: Share of correct predictions, ``None`` when the bin is empty.
        interval: 95 % Wilson interval of ``accuracy``, ``None`` when the bin is empty.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None
    interval: Interval | None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CalibrationBin:
        """Return the bin that ``dataclasses.asdict`` converted."""
        return cls(**{**value, "interval": pair(value["interval"])})


def pair(value: Sequence[float] | None) -> Interval | None:
    """Return two numbers read from JSON as an interval, ``None`` as it is."""
    return None if value is None else (float(value[0]), float(value[1]))


def wilson(successes: int, trials: int) -> Interval:
    """Return the 95 % Wilson score interval of a share.

    Unlike p -+ z * sqrt(p(1-p)/n) it stays within [0, 1], does not shrink to a point at 0 or n successes, and covers
    close to 95 % for small n.

    Args:
        successes: From 0 to ``trials``.
        trials: 0 or more; without trials the interval is (0, 1).

    Returns:
        Lower and upper bound, in [0, 1].

    Raises:
        ValueError: ``successes`` is not within 0 and ``trials``.

    Source:
        E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212;
        recommended by Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", Statistical Science
        16 (2001) 101-133.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie within 0 and trials. Received: {successes=}, {trials=}")
    if trials == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest

    # The interval does not depend on p. This p spares SciPy the search for a two-sided p-value.
    low, high = binomtest(successes, trials, p=successes / trials).proportion_ci(method="wilson")
    return float(low), float(high)


def f1_interval(hits: int, misses: int, false_alarms: int) -> Interval | None:
    """Return a 95 % interval of an F1 score.

    F1 = 2J / (1 + J), where the Jaccard index J = hits / (hits + misses + false alarms) is the share of hits among the
    images that belong to the class or are predicted as it. Given their number, J is a binomial share and has a Wilson
    interval. F1 rises with J, so the bounds carry over.

    Args:
        hits: True positives.
        misses: False negatives.
        false_alarms: False positives.

    Returns:
        Lower and upper bound in [0, 1], or ``None`` when the class never occurs.
    """
    concerned = hits + misses + false_alarms
    if concerned == 0:
        return None
    return f1_of_jaccard(wilson(hits, concerned))


def f1_of_jaccard(interval: Interval) -> Interval:
    """Return the interval of F1 = 2J / (1 + J) that follows from that of the Jaccard index J."""
    low, high = interval
    return 2 * low / (1 + low), 2 * high / (1 + high)


def calibration_bins(
    confidence: NDArray[np.floating[Any]], correct: NDArray[np.bool_], *, bins: int = ECE_BINS
) -> tuple[CalibrationBin, ...]:
    """Return the accuracy of predictions by confidence.

    Args:
        confidence: Float (N,), probability of the predicted class, in [0, 1].
        correct: Bool (N,), whether the prediction is correct.
        bins: Number of equal bins of (0, 1].
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for index in range(bins):
        inside = place == index
        count, hits = int(inside.sum()), int(correct[inside].sum())
        found.append(
            CalibrationBin(
                low=float(edges[index]),
                high=float(edges[index + 1]),
                count=count,
                confidence=float(confidence[inside].mean()) if count else None,
                accuracy=hits / count if count else None,
                interval=wilson(hits, count) if count else None,
            )
        )
    return tuple(found)


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Return the mean distance between confidence and accuracy over the bins, weighted by their images.

    Returns:
        0 (perfectly calibrated) to 1.

    Source:
        Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015; with
        15 bins and the probability of the predicted class as in Guo et al., "On calibration of modern neural
        networks", ICML 2017.
    """
    total = sum(one.count for one in bins)
    gaps = (
        one.count * abs(one.accuracy - one.confidence)
        for one in bins
        if one.accuracy is not None and one.confidence is not None
    )
    return sum(gaps) / total if total else 0.0


def log_loss(labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64]) -> float:
    """Return the mean negative logarithm of the probability given to the true class (natural logarithm).

    Args:
        labels: Int (N,), the true classes.
        probabilities: Float (N, C).
    """
    return float(cross_entropy(labels, probabilities).mean())


def roc_auc(labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64]) -> float | None:
    """Return the area under the ROC curve: the probability that an image of a class ranks above one that is not.

    Args:
        labels: Int (N,), the true classes.
        probabilities: Float (N, C).

    Returns:
        For two classes the area; for more the mean over the classes that occur, each against the rest. 0.5 is chance,
        1 is perfect. ``None`` when only one class occurs.
    """
    from sklearn.metrics import roc_auc_score

    count = probabilities.shape[1]
    areas = []
    for index in [1] if count == 2 else range(count):
        of_class = labels == index
        if of_class.any() and not of_class.all():
            areas.append(float(roc_auc_score(of_class, probabilities[:, index])))
    return sum(areas) / len(areas) if areas else None


def average_precision(own: NDArray[np.bool_], probability: NDArray[np.float64]) -> float | None:
    """Return the area under the precision-recall curve of one class.

    Unlike the area under the ROC curve it is low for a rare class whose images are lost among many others.

    Args:
        own: Bool (N,), whether an image belongs to the class.
        probability: Float (N,), the probability of the class.

    Returns:
        The share of the class's images is chance, 1 is perfect. ``None`` where the class or the others do not occur.
    """
    from sklearn.metrics import average_precision_score

    return None if not own.any() or own.all() else float(average_precision_score(own, probability))


def average_precision_interval(value: float, support: int) -> Interval:
    """Return a 95 % interval of `average_precision`: normal on the log odds, so it stays within 0 and 1.

    Args:
        value: The average precision, in [0, 1].
        support: Images of the class (of images in groups: groups), 1 or more.

    Source:
        Boyd, Eng and Page, "Area under the precision-recall curve: point estimates and confidence intervals", ECML
        2013: the logit interval. At 0 and 1, where it has no width, the Wilson interval of ``support`` trials stands.
    """
    if not 0 < value < 1:
        return wilson(round(value) * support, support)
    from scipy.special import expit, logit

    center, error = float(logit(value)), 1 / math.sqrt(support * value * (1 - value))
    return float(expit(center - 1.96 * error)), float(expit(center + 1.96 * error))


def top_k(labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64], k: int) -> float:
    """Return the share of images whose true class is among the ``k`` most probable ones."""
    from sklearn.metrics import top_k_accuracy_score

    return float(top_k_accuracy_score(labels, probabilities, k=k, labels=np.arange(probabilities.shape[1])))
