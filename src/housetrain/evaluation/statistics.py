"""How much of a difference may be luck?

In: counts, losses of single images, scores of several seeds. Out: probabilities and standard errors, as plain
numbers. It does not know what a run or a sweep is, and needs neither SciPy nor Keras.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Difference(NamedTuple):
    """A mean difference and how far luck alone moves it.

    Attributes:
        mean: The second minus the first.
        error: Standard error of ``mean``; ``nan`` where it cannot be known.
    """

    mean: float
    error: float


def at_least(successes: int, trials: int, share: float) -> float:
    """Return the probability of ``successes`` or more of ``trials`` by luck, each a success with probability ``share``.

    The upper tail of the binomial distribution, summed exactly (in logarithms, so that thousands of trials are no
    problem).

    Args:
        successes: From 0 to ``trials``.
        trials: 0 or more.
        share: In [0, 1].
    """
    if successes <= 0:
        return 1.0
    if successes > trials or share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    log_p, log_q = math.log(share), math.log1p(-share)
    start = math.lgamma(trials + 1)
    terms = (
        start - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log_p + (trials - k) * log_q
        for k in range(successes, trials + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Two models answered the same images. Were they equally good, each image that only one of them got right would be
    equally likely to be the first's or the second's: a fair coin thrown ``only_first + only_second`` times.

    Source: McNemar 1947, Psychometrika 12; the exact form in Agresti, Categorical Data Analysis (2013), 11.1.

    Args:
        only_first: Images that only the first model got right.
        only_second: Images that only the second model got right.

    Returns:
        In (0, 1]; 1 where the models never disagree about being right.
    """
    more, total = max(only_first, only_second), only_first + only_second
    return min(1.0, 2.0 * at_least(more, total, 0.5)) if total else 1.0


@functools.cache
def expected_maximum(count: int) -> float:
    """Return the expected largest of ``count`` independent standard normal numbers: 0 for one, about 2.07 for 27.

    It says how much better than it is the best of many equally good models looks, in standard errors. Computed as the
    integral of ``x d(Phi(x)^count)``.

    Args:
        count: 1 or more.
    """
    normal = NormalDist()
    steps, low, high = 4000, -9.0, 9.0
    width = (high - low) / steps
    points = (low + (index + 0.5) * width for index in range(steps))
    return math.fsum(x * count * normal.pdf(x) * normal.cdf(x) ** (count - 1) for x in points) * width


def of_seeds(values: Sequence[float]) -> Difference:
    """Return the mean of a score over seeds and its standard error, the spread over the root of their number.

    Args:
        values: One score a seed; with fewer than two the error is ``nan``.
    """
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Difference(fmean(values), error)


def paired(first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the mean difference of the losses of the same images under two models, and its standard error.

    The images that are hard for one model are hard for the other, and that part of the luck cancels out of the
    difference: its standard error is smaller than that of either loss.

    Args:
        first: Losses, ``(n,)``.
        second: Losses of the same images in the same order, ``(n,)``.
    """
    gap = second.astype("float64") - first.astype("float64")
    error = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else math.nan
    return Difference(float(gap.mean()), error)


def share_error(share: float, trials: int) -> float:
    """Return the standard error of a share of ``trials`` images, ``sqrt(p (1 - p) / n)``."""
    return math.sqrt(share * (1.0 - share) / trials) if trials else math.nan
