"""Calibration: whether the confidence of a model deviates from its accuracy by more than chance.

In: the confidence of predictions, and which of them are correct. Out: a `Calibration`. It does not know the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.evaluation.metrics import ECE_BINS, Interval, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 1000
"""Simulated tests; a p-value is then known to about 0.007 near 0.05."""
_DRAWS_OF_INTERVAL = 400
LEVEL = 0.05
_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True)
class Calibration:
    """The expected calibration error (ECE), compared with that of a perfectly calibrated model.

    The ECE of a few images is above zero for every model, as the accuracy of each bin varies by chance: with 60 images
    of a perfectly calibrated model it is about 0.1.

    Attributes:
        ece: The measured ECE, in [0, 1].
        corrected: The ECE without the share of chance, at least 0: the true error for which the measured one is the
            median.
        interval: 95 % interval of the true ECE.
        p_value: Probability that a perfectly calibrated model has at least the measured ECE on as many images.
    """

    ece: float
    corrected: float
    interval: Interval
    p_value: float

    @property
    def deviates(self) -> bool:
        """Whether the model is shown to be miscalibrated, at a level of 5 %."""
        return self.p_value <= LEVEL


def calibration(
    confidence: NDArray[np.floating[Any]], correct: NDArray[np.bool_], *, bins: int = ECE_BINS
) -> Calibration:
    """Compare the ECE with its distribution under calibration, by parametric bootstrap.

    Under calibration each prediction is correct with the probability that the model states. Of `DRAWS` simulated
    tests, those with at least the measured ECE give the p-value.

    For the estimate and the interval the deviations of all bins are multiplied by one factor, from zero upward. The
    factors under which the measured ECE is the 50 %, 97.5 % and 2.5 % quantile give the estimate and the bounds. The
    upper bound is at least the distance of the mean confidence from the Wilson interval of the accuracy, as no ECE is
    smaller than the distance of the means: a few images without a mistake do not exclude overconfidence. The
    draws have a fixed seed, so equal predictions give equal numbers.

    Args:
        confidence: Float (N,), probability of the predicted class, in [0, 1].
        correct: Bool (N,), whether the prediction is correct.
        bins: Number of equal bins of (0, 1].

    Source:
        J. Bröcker and L. A. Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting 22
        (2007) 651-661, for the distribution under calibration; the bias of the ECE is measured by R. Roelofs et al.,
        "Mitigating bias in calibration error estimation", AISTATS 2022.
    """
    total = len(confidence)
    if not total:
        return Calibration(0.0, 0.0, (0.0, 1.0), 1.0)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    order = np.argsort(place, kind="stable")
    stated, right = np.asarray(confidence, dtype=np.float64)[order], correct[order]
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0])
    counts = np.diff(np.r_[starts, total])
    expected = np.add.reduceat(stated, starts)
    gaps = np.add.reduceat(right.astype(np.float64), starts) - expected
    measured = float(np.abs(gaps).sum()) / total
    random = np.random.default_rng(0)
    null = _under_calibration(stated, starts, expected, random)
    p_value = (1 + int((null >= measured * (1 - 1e-12)).sum())) / (DRAWS + 1)
    corrected, low, high = _inverted(measured, gaps / counts, expected / counts, counts, random)
    stated_mean = float(stated.mean())
    widest = max(abs(stated_mean - bound) for bound in wilson(int(right.sum()), total))
    return Calibration(measured, corrected, (low, max(high, widest)), p_value)


def _under_calibration(
    stated: NDArray[np.float64], starts: NDArray[np.intp], expected: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Return the ECE of `DRAWS` tests of a perfectly calibrated model."""
    found = []
    chunk = max(1, _CHUNK // len(stated))
    for start in range(0, DRAWS, chunk):
        drawn = random.random((min(chunk, DRAWS - start), len(stated))) < stated
        hits = np.add.reduceat(drawn, starts, axis=1, dtype=np.float64)
        found.append(np.abs(hits - expected).sum(axis=1) / len(stated))
    return np.concatenate(found)


def _inverted(
    measured: float,
    gaps: NDArray[np.float64],
    stated: NDArray[np.float64],
    counts: NDArray[np.int64],
    random: np.random.Generator,
) -> tuple[float, float, float]:
    """Return the true errors for which the measured one is the 50 %, the 97.5 % and the 2.5 % quantile."""
    shares = counts / counts.sum()
    noise = float(np.sqrt(stated * (1 - stated) / counts) @ shares) + 1 / counts.sum()
    if measured < noise / 100:  # no deviation to scale: its direction does not matter
        gaps, measured = np.where(stated > 0.5, -1.0, 1.0) * noise, max(measured, noise / 100)
    scale = float(np.abs(gaps) @ shares)
    true, quantiles = [], []
    for error in np.linspace(0.0, measured + 4 * noise, 25):
        accuracy = np.clip(stated + gaps * error / scale, 0.0, 1.0)
        drawn = random.binomial(counts, accuracy, (_DRAWS_OF_INTERVAL, len(counts))) / counts
        true.append(float(np.abs(accuracy - stated) @ shares))
        quantiles.append(np.quantile(np.abs(drawn - stated) @ shares, (0.5, 0.975, 0.025)))
    rising = np.maximum.accumulate(np.array(quantiles), axis=0)
    middle, low, high = (float(np.interp(measured, column, true)) for column in rising.T)
    return middle, low, high
