"""How much of a difference can be chance.

In: counts, losses of single images, scores of several seeds. Out: probabilities and standard errors, as plain
numbers. It does not know runs or sweeps.
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
    """A mean difference and its standard error.

    Attributes:
        mean: The second minus the first.
        error: Standard error of ``mean``; ``nan`` with fewer than two values.
    """

    mean: float
    error: float


def at_least(successes: int, trials: int, share: float) -> float:
    """Return the probability of ``successes`` or more of ``trials``, each a success with probability ``share``.

    The upper tail of the binomial distribution. `scipy.special` imports in a fraction of the time of `scipy.stats`.

    Args:
        successes: From 0 to ``trials``.
        trials: 0 or more.
        share: In [0, 1].
    """
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    from scipy.special import bdtrc

    return float(bdtrc(successes - 1, trials, share))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Two models predict the same images. If they are equally good, an image that only one of them classifies correctly
    is equally likely to be the first's or the second's: ``only_first + only_second`` tosses of a fair coin.

    Source: McNemar 1947, Psychometrika 12; the exact form in Agresti, Categorical Data Analysis (2013), 11.1.

    Args:
        only_first: Images that only the first model classifies correctly.
        only_second: Images that only the second model classifies correctly.

    Returns:
        In (0, 1]; 1 where both are correct on the same images.
    """
    more, total = max(only_first, only_second), only_first + only_second
    return min(1.0, 2.0 * at_least(more, total, 0.5)) if total else 1.0


@functools.cache
def expected_maximum(count: int) -> float:
    """Return the expected largest of ``count`` independent standard normal numbers: 0 for one, about 2.07 for 27.

    It is how much better than its true quality the best of many equally good models looks, in standard errors.
    Computed as the integral of ``x d(Phi(x)^count)``.

    Args:
        count: 1 or more.
    """
    normal = NormalDist()
    steps, low, high = 4000, -9.0, 9.0
    width = (high - low) / steps
    points = (low + (index + 0.5) * width for index in range(steps))
    return math.fsum(x * count * normal.pdf(x) * normal.cdf(x) ** (count - 1) for x in points) * width


def of_seeds(values: Sequence[float]) -> Difference:
    """Return the mean of a score over seeds, and the standard error of the mean.

    Args:
        values: One score a seed; with fewer than two the error is ``nan``.
    """
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Difference(fmean(values), error)


def paired(first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the mean difference of the losses of the same images under two models, and its standard error.

    Images that are hard for one model are hard for the other. This shared variation cancels in the difference, whose
    standard error is therefore smaller than that of either loss.

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
