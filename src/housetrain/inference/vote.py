"""One vote over the images of a sequence: a burst of a camera trap, the frames of a clip, the photos of one animal.

In: predictions, in any order. Out: the same predictions, each with the class of its sequence. It does not know models.

The vote is the mean of the logarithms of the images' probabilities, a row of one sequence (a geometric mean, normalized
to a sum of 1): an image that excludes a class counts against it, and many uncertain images do not outvote it. Images
that cannot be read have no vote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from housetrain.data.groups import PARENT, pattern_key
from housetrain.errors import RecipeError
from housetrain.inference.decision import UNDECIDED
from housetrain.inference.prediction import Prediction
from housetrain.models.outputs import SMALLEST_PROBABILITY


def sequence_key(rule: str) -> Callable[[str], str]:
    """Return the function that gives the sequence of a path.

    Args:
        rule: ``"parent"``, or a regular expression that is searched in the path: its first group, or all that it
            matches, is the sequence. An image that it does not match is a sequence of its own.

    Raises:
        RecipeError: It is no regular expression.
    """
    if rule == PARENT:
        return lambda path: str(PurePath(path).parent)
    group = pattern_key(rule, option="vote_by")

    def key(path: str) -> str:
        found = group(path)
        return path if found is None else found

    return key


def predict_sequences(
    predictor: Any, images: Iterable[Any], *, vote_by: str, top: int | None = None, **options: Any
) -> Iterator[Prediction]:
    """Classify images and let those of a sequence vote.

    Args:
        predictor: A `housetrain.Predictor`, or the client of a server, whose votes are never unsure.
        images: See `Predictor.predict_many`.
        vote_by: See `sequence_key`.
        top: Number of classes in `Prediction.top`; all by default.
        **options: Those of `Predictor.predict_many`.
    """
    if getattr(predictor, "set_level", None) is not None:
        raise RecipeError("Prediction sets are for single images, not for votes", do="choose --set or --vote-by")
    own = predictor.predict_many(images, top=None, **options)
    with closing(own):
        decision = getattr(predictor, "decision", UNDECIDED)
        accept = getattr(predictor, "accept", {})
        yield from voted(own, predictor.classes, rule=vote_by, threshold=decision.threshold, accept=accept, top=top)


def voted(
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    *,
    rule: str,
    threshold: float = 0.0,
    accept: Mapping[str, float] | None = None,
    top: int | None = None,
) -> Iterator[Prediction]:
    """Yield the predictions in their order, each with the label, probability and margin of the vote of its sequence.

    All of them are read before the first is yielded; of each, only its own label is kept, of each sequence one row.

    Args:
        predictions: With the probability of every class in `Prediction.top`.
        classes: All classes.
        rule: See `sequence_key`.
        threshold: A vote of a lower probability is unsure.
        accept: Class -> its own threshold.
        top: Number of classes in `Prediction.top`; all by default.
    """
    key, place = sequence_key(rule), {label: number for number, label in enumerate(classes)}
    sums: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, int] = {}
    images: list[Prediction] = []
    for one in predictions:
        sequence = key(one.image)
        if one.error is None:
            row = np.full(len(classes), SMALLEST_PROBABILITY)
            for label, probability in one.top:
                row[place[label]] = max(probability, SMALLEST_PROBABILITY)
            sums[sequence] = sums.get(sequence, 0.0) + np.log(row)
            counts[sequence] = counts.get(sequence, 0) + 1
        images.append(replace(one, top=(), sequence=sequence))
    for one in images:
        if one.error is not None:
            yield one
            continue
        given = np.exp(sums[one.sequence] / counts[one.sequence])
        given /= given.sum()
        order = np.argsort(-given, kind="stable")
        best, second = float(given[order[0]]), float(given[order[1]])
        listed = tuple((classes[number], float(given[number])) for number in order[:top])
        yield replace(
            one, own_label=one.label, label=classes[order[0]], probability=best, margin=best - second, top=listed,
            unsure=best < (accept or {}).get(classes[order[0]], threshold),
        )  # fmt: skip
