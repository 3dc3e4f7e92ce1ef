"""How probabilities become predictions: temperature, threshold and prediction sets, found on validation images.

In: labels and probabilities of the validation images. Out: a `Decision`, plain values for ``bundle.json``. Does not
know: models, images, files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from housetrain.errors import RecipeError
from housetrain.models.outputs import at_temperature, best_temperature, cross_entropy
from housetrain.system.text import format_percent

RISKS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of wrong predictions that may be promised."""
AIM = 0.05
"""The risk to promise; a lower one only if it leaves most images sure, a higher one where this cannot be promised."""
CONFIDENCE = 0.95
MOST, LEAST = 0.8, 0.2
"""Shares of the validation images that are sure: for a risk below `AIM`, and for any promise."""
NEVER = 1.01
"""A threshold that no probability reaches: every prediction is unsure."""
LEVELS = tuple(round(0.5 + number / 100, 2) for number in range(50))
"""Levels of prediction sets, 50 % to 99 %."""
_FEWEST = 20  # images for a temperature
_FOLDS, _STEPS = 5, 20


class Answers(NamedTuple):
    """What a model says of N images.

    Attributes:
        probabilities: float32 (N, classes), at the temperature, of the classes that are kept.
        kept: float32 (N,), the probability of all of these together before others were dropped; else 1.
        novel: bool (N,), whether the image is unlike the training images; ``None`` where the model cannot tell.
    """

    probabilities: NDArray[np.float32]
    kept: NDArray[np.float32]
    novel: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Decision:
    """How probabilities become predictions. The defaults change nothing and promise nothing.

    Attributes:
        temperature: The logits are divided by it, above 0; see `temperature_of`.
        threshold: A prediction whose probability, at this temperature, is lower is unsure; `NEVER` where nothing can
            be promised.
        risk: At most this share of the predictions that are not unsure is wrong, with a confidence of 95 %; ``None``
            where nothing can be promised, or where there were no validation images to promise it.
        coverage: Share of the validation images at or above the threshold.
        images: Number of validation images.
        quantiles: For each of `LEVELS` the conformal quantile of 1 minus the probability of the true class.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    risk: float | None = None
    coverage: float = 1.0
    images: int = 0
    quantiles: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Decision:
        """Return the decision that `to_json` converted.

        Raises:
            ValueError: A number is out of its range.
        """
        found = cls(**{**value, "quantiles": tuple(value.get("quantiles", ()))})
        if not 0.01 <= found.temperature <= 100 or len(found.quantiles) not in (0, len(LEVELS)):
            raise ValueError("decision")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {**asdict(self), "quantiles": list(self.quantiles)}

    def quantile(self, level: float) -> float:
        """Return the quantile for prediction sets that hold the true class with a probability of ``level``.

        Args:
            level: In [0.5, 0.99]; rounded up to a whole percent.

        Returns:
            A class belongs to the set if its probability is at least 1 minus this; 1, all classes, without quantiles.
        """
        if not self.quantiles:
            return 1.0
        return self.quantiles[min(len(LEVELS) - 1, max(0, math.ceil(round(level * 100, 6)) - 50))]

    def describe(self) -> str:
        """Return the promise in one sentence."""
        if self.risk is not None:
            return (
                f"At most {format_percent(self.risk)} of the predictions that are not marked as unsure are wrong "
                f"({CONFIDENCE * 100:.0f} % confidence, {self.images:,} validation images, of which "
                f"{format_percent(self.coverage)} are not unsure)."
            )
        if not self.images:
            return "There are no validation outputs, so no prediction is marked as unsure."
        return self.why_unsure

    @property
    def why_unsure(self) -> str:
        """Why every prediction is marked as unsure, in one sentence; empty where that is not so."""
        if self.risk is not None or not self.images:
            return ""
        return (
            f"{self.images:,} validation images cannot promise an error rate of {format_percent(RISKS[-1])} or less, "
            "so every prediction is marked as unsure."
        )


UNDECIDED = Decision()
"""Without validation outputs."""


def decide(labels: ArrayLike, probabilities: ArrayLike) -> Decision:
    """Return the decision that validation images support.

    Args:
        labels: Int (N,), the true classes.
        probabilities: Float (N, C), what the model returns for the same images, rows summing to 1.
    """
    true, given = np.asarray(labels), np.asarray(probabilities)
    if not len(true) or not np.isfinite(given).all():
        return UNDECIDED
    temperature = temperature_of(true, given)
    scaled = at_temperature(given, temperature)
    threshold, risk, coverage = promise(scaled.max(axis=1), scaled.argmax(axis=1) == true)
    scores = 1 - scaled[np.arange(len(true)), true].astype(np.float64)
    return Decision(temperature, threshold, risk, round(coverage, 4), len(true), conformal_quantiles(scores))


def temperature_of(labels: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """Return the temperature that lowers the cross-entropy, or 1 if that is not confirmed on other images.

    The images are divided into five folds. The temperature of four folds must lower the loss of the fifth, in the mean
    of all five; then that of all images is returned.

    Args:
        labels: Int (N,).
        probabilities: Float (N, C).

    Source:
        C. Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    count = len(labels)
    if count < _FEWEST:
        return 1.0
    fold = np.random.default_rng(0).permutation(count) % _FOLDS
    after = 0.0
    for number in range(_FOLDS):
        own, others = fold == number, fold != number
        found = best_temperature(labels[others], probabilities[others])
        after += float(cross_entropy(labels[own], at_temperature(probabilities[own], found)).sum())
    if after >= float(cross_entropy(labels, probabilities).sum()):
        return 1.0
    return round(best_temperature(labels, probabilities), 6)


def promise(confidence: NDArray[Any], correct: NDArray[np.bool_]) -> tuple[float, float | None, float]:
    """Return a threshold above which few predictions are wrong, with a confidence of 95 %.

    Learn-then-test with fixed-sequence testing: the most confident images first, the number of images grows in steps of
    5 %. The sequence ends before the first number for which the exact binomial test does not reject that more than
    ``risk`` of the predictions are wrong. The order of the tests is fixed, so each has the full level.

    Args:
        confidence: Float (N,), probability of the predicted class.
        correct: Bool (N,), whether it is the true one.

    Returns:
        Threshold, risk, and share of the images at or above the threshold. Of `RISKS` the lowest that leaves at least
        `MOST` of the images sure; else the lowest from `AIM` upward. `NEVER`, ``None`` and 0 if there is none.

    Source:
        A. N. Angelopoulos et al., "Learn then test: calibrating predictive algorithms to achieve risk control", Annals
        of Applied Statistics 19 (2025); for classifiers that may abstain, Y. Geifman and R. El-Yaniv, "Selective
        classification for deep neural networks", NeurIPS 2017.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked, wrong = confidence[order], np.cumsum(~correct[order])
    for risk in RISKS:
        place = _last(ranked, wrong, risk)
        coverage = (place + 1) / len(ranked) if len(ranked) else 0.0
        if place >= 0 and coverage >= (MOST if risk < AIM else LEAST):
            return (0.0 if place == len(ranked) - 1 else float(ranked[place])), risk, coverage
    return NEVER, None, 0.0


def _last(ranked: NDArray[Any], wrong: NDArray[Any], risk: float) -> int:
    """Return the position of the last prediction up to which the risk is shown to be low enough; -1 for none."""
    from scipy.special import bdtr

    count, last = len(ranked), -1
    fewest = max(math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - risk)), math.ceil(LEAST * count))
    for images in [*range(fewest, count, max(1, count // _STEPS)), count] if fewest <= count else []:
        # Images with equal confidence are taken or left together.
        place = int(np.searchsorted(-ranked, -ranked[images - 1], side="right")) - 1
        if bdtr(int(wrong[place]), place + 1, risk) > 1 - CONFIDENCE:
            break
        last = place
    return last


def conformal_quantiles(scores: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the split conformal quantile of the scores for each of `LEVELS`.

    A new image from the same source has a score of at most the quantile with at least that probability, whatever the
    model. Where there are too few images for a level it is 1: all classes.

    Args:
        scores: Float (N,), 1 minus the probability of the true class.

    Source:
        V. Vovk, A. Gammerman and G. Shafer, "Algorithmic learning in a random world" (2005); the score is that of
        M. Sadinle, J. Lei and L. Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA
        114 (2019).
    """
    ranked = np.sort(scores)
    ranks = [math.ceil(round((len(ranked) + 1) * level, 9)) for level in LEVELS]
    return tuple(float(ranked[rank - 1]) if rank <= len(ranked) else 1.0 for rank in ranks)


def set_of(classes: Sequence[str], probabilities: ArrayLike, *, quantile: float) -> tuple[str, ...]:
    """Return the classes of a prediction set, most probable first: never empty.

    Args:
        classes: Class names.
        probabilities: Float (C,).
        quantile: See `Decision.quantile`.
    """
    given = np.asarray(probabilities)
    order = np.argsort(-given, kind="stable")
    most = max(1, int((given >= 1 - quantile).sum()))
    return tuple(classes[place] for place in order[:most])


def thresholds_of(words: Sequence[str] | None) -> dict[str, float]:
    """Return class -> threshold from ``CLASS=PROBABILITY``, as a person writes it.

    Raises:
        RecipeError: It is something else.
    """
    found = {}
    for word in words or ():
        name, equals, number = word.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise RecipeError(
                "A threshold is not a number", expected="CLASS=PROBABILITY, such as cow=0.98", accept=word
            )
    return found
