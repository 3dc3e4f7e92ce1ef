"""The scores that follow from a confusion matrix: of each class, and of all together.

In: counts. Out: `ClassScores`, and the properties that `Evaluation` inherits. It does not know images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from housetrain.evaluation import balance, metrics
from housetrain.evaluation.metrics import Interval
from housetrain.training.clusters import clustered_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Precision, recall and F1 of one class. A score without a denominator is ``None``.

    Attributes:
        support: Test images of the class.
        predicted: Test images predicted as this class.
        hits: Images that are both (true positives).
        precision: Share of the images predicted as this class that belong to it.
        recall: Share of the images of this class that are predicted as it.
        f1: Harmonic mean of the two.
        precision_interval: 95 % Wilson interval of ``precision``; of images in groups, see
            `housetrain.training.clusters.clustered_interval`.
        recall_interval: The same of ``recall``.
        f1_interval: 95 % interval of ``f1`` (see `housetrain.evaluation.metrics.f1_interval`).
        average_precision: Area under the precision-recall curve (see `housetrain.evaluation.metrics`).
        average_precision_interval: Its 95 % interval.
    """

    support: int
    predicted: int
    hits: int
    precision: float | None
    recall: float | None
    f1: float | None
    precision_interval: Interval | None
    recall_interval: Interval | None
    f1_interval: Interval | None
    average_precision: float | None = None
    average_precision_interval: Interval | None = None

    @classmethod
    def of(cls, hits: int, *, support: int, predicted: int) -> ClassScores:
        """Return the scores that follow from three counts."""
        return cls(
            support=support,
            predicted=predicted,
            hits=hits,
            precision=hits / predicted if predicted else None,
            recall=hits / support if support else None,
            f1=2 * hits / (support + predicted) if support + predicted else None,
            precision_interval=metrics.wilson(hits, predicted) if predicted else None,
            recall_interval=metrics.wilson(hits, support) if support else None,
            f1_interval=metrics.f1_interval(hits, support - hits, predicted - hits),
        )

    @classmethod
    def of_groups(
        cls,
        own: NDArray[np.bool_],
        called: NDArray[np.bool_],
        groups: NDArray[Any],
        probability: NDArray[np.float64],
    ) -> ClassScores:
        """Return the scores of images that come in groups, with intervals that allow for it.

        Args:
            own: Whether an image belongs to the class, (N,).
            called: Whether it is predicted as this class, (N,).
            groups: Its group, (N,).
            probability: The probability of the class, (N,).
        """
        area = metrics.average_precision(own, probability)
        among_own = len(set(groups[own].tolist()))
        hits = own & called
        plain = cls.of(int(hits.sum()), support=int(own.sum()), predicted=int(called.sum()))

        def interval(among: NDArray[np.bool_]) -> Interval | None:
            return clustered_interval(hits[among], groups[among]) if among.any() else None

        shared = interval(own | called)
        return replace(
            plain, precision_interval=interval(called), recall_interval=interval(own),
            f1_interval=metrics.f1_of_jaccard(shared) if shared else None, average_precision=area,
            average_precision_interval=None if area is None else metrics.average_precision_interval(area, among_own),
        )  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ClassScores:
        """Return the scores that ``dataclasses.asdict`` converted."""
        found: dict[str, Any] = {
            name: metrics.pair(one) if name.endswith("_interval") else one for name, one in value.items()
        }
        return cls(**found)


class Scores:
    """What follows from the counts of a test."""

    confusion: tuple[tuple[int, ...], ...]
    per_class: dict[str, ClassScores]

    @property
    def n(self) -> int:
        """Number of test images."""
        return sum(map(sum, self.confusion))

    @property
    def correct(self) -> int:
        """Number of test images that are classified correctly."""
        return sum(row[index] for index, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """``correct / n``, in [0, 1]."""
        return self.correct / self.n

    @property
    def imbalanced(self) -> bool:
        """Whether the classes differ so much in size that accuracy alone says little: by more than 2 to 1."""
        return balance.imbalanced(scores.support for scores in self.per_class.values())

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur."""
        scores = [scores.f1 for scores in self.per_class.values() if scores.f1 is not None]
        return sum(scores) / len(scores)

    @property
    def macro_recall(self) -> float:
        """Mean recall over the classes that occur: the balanced accuracy."""
        scores = [scores.recall for scores in self.per_class.values() if scores.recall is not None]
        return sum(scores) / len(scores)

    @property
    def macro_f1_interval(self) -> Interval:
        """95 % interval of ``macro_f1``; conservative."""
        found = [(one.f1, one.f1_interval) for one in self.per_class.values()]
        return balance.mean_interval([(f1, given) for f1, given in found if f1 is not None and given], shared=True)

    @property
    def macro_recall_interval(self) -> Interval:
        """95 % interval of ``macro_recall``."""
        found = [(one.recall, one.recall_interval) for one in self.per_class.values()]
        return balance.mean_interval([(recall, given) for recall, given in found if recall is not None and given])
