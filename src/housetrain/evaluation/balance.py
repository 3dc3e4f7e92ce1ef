"""Scores that weigh every class equally, with their intervals, and their test against chance.

In: the confusion matrix of a test. Out: plain numbers. It does not know images or reports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from housetrain.evaluation.metrics import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

IMBALANCED = 2
"""Where the largest class has more than this many times the images of the smallest, accuracy is not enough."""
PERMUTATIONS = (200, 2000)
"""At least and at most so many; between them as many as `_CELLS` allows."""
LEVEL = 0.025
"""Of the one-sided test: as strict as a lower bound of a 95 % interval."""
_CELLS = 2_000_000


def imbalanced(supports: Iterable[int]) -> bool:
    """Return whether the classes that occur differ in size by more than `IMBALANCED` to 1."""
    sizes = [size for size in supports if size]
    return max(sizes) > IMBALANCED * min(sizes)


def mean_interval(scores: Sequence[tuple[float, Interval]], *, shared: bool = False) -> Interval:
    """Return a 95 % interval of the mean of the scores of several classes, from the interval of each.

    The distances from each score to its bound add up like standard errors. Unlike a bootstrap it does not shrink to a
    point where a class has no mistake.

    Args:
        scores: (score, its 95 % interval), one a class.
        shared: Whether an image counts in the scores of two classes, its true and its predicted one, as in F1. The
            variance of the sum is then at most twice the sum of the variances; the interval is conservative.

    Source:
        G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: a general approach",
        Statistics in Medicine 27 (2008) 1693-1702.
    """
    mean = math.fsum(score for score, _ in scores) / len(scores)

    def distance(bound: int) -> float:
        each = [interval[bound] - score for score, interval in scores]
        joint = math.sqrt((1 + shared) * math.fsum(one * one for one in each))
        return min(joint, math.fsum(map(abs, each))) / len(scores)

    return max(0.0, mean - distance(0)), min(1.0, mean + distance(1))


def chance_of_balanced_accuracy(confusion: ArrayLike) -> float:
    """Return the probability of this balanced accuracy or a higher one if predictions did not depend on the class.

    A permutation test: the true classes of the images are exchanged at random, which keeps how many images each class
    has and how often each is predicted. Its p-value is exact up to the number of permutations, also for a rare class.
    The seed is fixed, so equal counts give equal numbers.

    Args:
        confusion: Counts (C, C), a row for each true class.

    Returns:
        In (0, 1]; 1 where only one class occurs or only one is predicted.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    used = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    counts = counts[np.ix_(used, used)]
    support, called = counts.sum(axis=1), counts.sum(axis=0)
    if np.count_nonzero(support) < 2 or np.count_nonzero(called) < 2:
        return 1.0
    from scipy.stats import random_table

    weights = np.where(support > 0, 1.0 / np.maximum(support, 1), 0.0)
    measured = float(weights @ counts.diagonal())
    chunk = max(1, _CELLS // counts.size)
    draws = min(max(PERMUTATIONS[0], chunk), PERMUTATIONS[1])
    random, reached = np.random.default_rng(0), 0
    for start in range(0, draws, chunk):
        drawn = random_table.rvs(support, called, size=min(chunk, draws - start), random_state=random)
        scores = np.diagonal(drawn, axis1=1, axis2=2) @ weights
        reached += int((scores >= measured * (1 - 1e-12)).sum())
    return (1 + reached) / (draws + 1)
