"""The interval of a share where images come in groups: five frames of one burst are not five independent images.

In: which predictions are correct, and the group of each image. Out: the design effect and the interval. It does not
know images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_PRIOR = 3.0
"""Groups with the rarer outcome up to which the design effect is mostly taken as that of groups without any variety."""
_MOST = 1.5  # times the design effect of such groups; more is noise
_Z = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


class Clusters(NamedTuple):
    """How images come in groups.

    Attributes:
        groups: Number of groups.
        effect: Design effect, 1 or more: so many images of these groups say as much as one independent image.
        quantile: 97.5 % quantile of the distribution of the standardized mean of the groups.
    """

    groups: int
    effect: float
    quantile: float


def group_numbers(groups: Sequence[str]) -> NDArray[np.intp]:
    """Return a number for each group; an image of the group ``""`` is on its own."""
    places: dict[object, int] = {}
    return np.array([places.setdefault(group or place, len(places)) for place, group in enumerate(groups)], np.intp)


def clusters(correct: NDArray[np.bool_], groups: Sequence[Any] | NDArray[Any]) -> Clusters:
    """Return the design effect of a share of correct images.

    The variance of the share between groups, divided by that of as many independent images. Where few groups hold the
    rarer outcome, that ratio is mostly chance; it is then drawn towards the design effect of groups whose images are
    all alike, sum m^2 / n, the largest one usual.

    Args:
        correct: Bool (N,), N from 1.
        groups: The group of each image, (N,).
    """
    total = len(correct)
    _, number, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    count = len(sizes)
    alike = float((sizes.astype(np.float64) ** 2).sum() / total)
    if count == total:
        return Clusters(count, 1.0, _Z)
    from scipy.special import stdtrit

    quantile = float(stdtrit(max(1, count - 1), 0.975))
    hits = np.bincount(number, weights=correct, minlength=count)
    share = float(hits.sum()) / total
    if count < 2 or not 0 < share < 1:
        return Clusters(count, alike, quantile)
    between = count / (count - 1) * float(((hits - sizes * share) ** 2).sum())
    measured = min(between / (total * share * (1 - share)), _MOST * alike)
    rare = int((hits < sizes).sum() if share > 0.5 else (hits > 0).sum())
    known = rare / (rare + _PRIOR)
    return Clusters(count, max(1.0, known * measured + (1 - known) * alike), quantile)


def clustered_interval(correct: NDArray[np.bool_], groups: Sequence[Any] | NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % interval of a share of correct images: Wilson's, of as many images as the groups are worth.

    With every image in a group of its own it is the Wilson interval.

    Args:
        correct: Bool (N,), N from 0; without images the interval is (0, 1).
        groups: The group of each image, (N,).

    Source:
        E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected number of positive
        counts estimated from survey data", Survey Methodology 24 (1998) 193-201, for the effective number of images
        and the t quantile; K. K. Saha, D. Miller and S. Wang, "A comparison of some approximate confidence intervals
        for a single proportion for clustered binary outcome data", Int. J. Biostatistics 12 (2016), for Wilson's form.
    """
    total = len(correct)
    if not total:
        return 0.0, 1.0
    found = clusters(correct, groups)
    share, count, z = float(correct.mean()), total / found.effect, found.quantile
    scale = 1 + z * z / count
    middle = (share + z * z / (2 * count)) / scale
    half = z / scale * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return max(0.0, middle - half), min(1.0, middle + half)
