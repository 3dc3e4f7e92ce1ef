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

_BOOTSTRAPS = 500


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


def chance_of_fall(before: int, images_before: int, after: int, images: int, *, tries: int = 1) -> float:
    """Return the p-value of a share of correct images that is lower than the one before.

    Fisher's exact test, one-sided. The first share may be the best of several, as validation chooses an epoch: the
    p-value is multiplied by their number (Bonferroni).

    Args:
        before: Correct images of the first set.
        images_before: Its size.
        after: Correct images of the second set.
        images: Its size.
        tries: How many shares the first was chosen from, 1 or more.
    """
    from scipy.stats import hypergeom

    return min(1.0, tries * float(hypergeom.cdf(after, images_before + images, before + after, images)))


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


def joint_error(of_seeds: float, of_images: float) -> float:
    """Return the standard error from both sources of chance, the training seeds and the choice of images.

    More seeds do not make the validation images less few, so their variances are added. ``nan``, an unknown error,
    counts only if both are.
    """
    known = [error for error in (of_seeds, of_images) if not math.isnan(error)]
    return math.hypot(*known) if known else math.nan


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


def corrected(p_value: float, models: int) -> float:
    """Return the p-value of a difference between two models that were chosen from several.

    The difference between the best and the worst of equal models is the largest of all, so the p-value counts for
    every pair (Bonferroni, valid however the models depend on each other).

    Args:
        p_value: Of the difference as if only the two had been tried.
        models: From how many they were chosen; 2 or fewer change nothing.
    """
    return min(1.0, p_value * max(1, models * (models - 1) // 2))


def confidence_set(
    losses: np.ndarray, *, seed_errors: Sequence[float] | None = None, level: float = 0.05
) -> tuple[bool, ...]:
    """Return which models may be the best: a set that holds each of the best ones with a probability of 1 - ``level``.

    The model confidence set, by the statistic of the largest deviation from the mean of the models that remain. While a
    bootstrap over images finds them unequal, the worst one leaves. Equal models all remain with a probability of
    1 - ``level``, however many there are. The seed is fixed, so equal losses give equal sets.

    Args:
        losses: Float (m, n), the losses of m models on the same n images.
        seed_errors: For each model the standard error of its mean over training seeds; without it none.
        level: Probability that a best model is left out, in (0, 1).

    Source:
        P. R. Hansen, A. Lunde and J. M. Nason, "The model confidence set", Econometrica 79 (2011) 453-497.
    """
    import numpy as np

    models, images = losses.shape
    random = np.random.default_rng(0)
    weights = random.multinomial(images, np.full(images, 1 / images), _BOOTSTRAPS) / images
    means = losses.mean(axis=1, dtype=np.float64)
    drawn = (weights - 1 / images) @ losses.T.astype(np.float64)
    drawn *= math.sqrt(images / max(1, images - 1))
    if seed_errors is not None:
        drawn += random.standard_normal(drawn.shape) * np.asarray(seed_errors)
    kept = np.arange(models)
    while len(kept) > 1:
        simulated = drawn[:, kept] - drawn[:, kept].mean(axis=1, keepdims=True)
        found = means[kept] - means[kept].mean()
        errors = np.maximum(np.sqrt((simulated**2).mean(axis=0)), 1e-12)
        largest = float((found / errors).max())
        if largest <= 0 or ((simulated / errors).max(axis=1) >= largest).mean() >= level:
            break
        kept = np.delete(kept, int((found / errors).argmax()))
    return tuple(index in set(kept.tolist()) for index in range(models))


def smallest_difference(disagreed: int, images: int, *, models: int = 2, level: float = 0.05) -> float:
    """Return the smallest difference of two accuracies that McNemar's test finds with a probability of 80 %.

    In units of images the difference has a variance of the number of images on which the models disagree, so it must
    be ``(z(1 - level / 2) + z(0.8)) sqrt(disagreed)``. Below a few disagreements the exact test finds nothing.

    Args:
        disagreed: Images that only one of the models classifies correctly.
        images: All images, 1 or more.
        models: From how many the two were chosen; see `corrected`.
        level: Significance level.

    Returns:
        In (0, 1].

    Source:
        R. J. Connor, "Sample size for testing differences in proportions for the paired-sample design", Biometrics 43
        (1987) 207-211.
    """
    level /= max(1, models * (models - 1) // 2)
    fewest = math.ceil(1 + math.log2(1 / level))
    normal = NormalDist()
    needed = (normal.inv_cdf(1 - level / 2) + normal.inv_cdf(0.8)) * math.sqrt(disagreed)
    return min(1.0, max(needed, fewest) / images)


def share_error(share: float, trials: int) -> float:
    """Return the standard error of a share of ``trials`` images, ``sqrt(p (1 - p) / n)``."""
    return math.sqrt(share * (1.0 - share) / trials) if trials else math.nan
