"""Votes over sequences: against a computation by hand, and what a sequence is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from housetrain.errors import RecipeError
from housetrain.inference.prediction import Prediction
from housetrain.inference.vote import sequence_key, voted

CLASSES = ("ant", "bee", "cow")


def one(image: str, *probabilities: float, unsure: bool = False) -> Prediction:
    order = sorted(range(3), key=lambda place: -probabilities[place])
    top = tuple((CLASSES[place], probabilities[place]) for place in order)
    return Prediction(image, top[0][0], top[0][1], top, top[0][1] - top[1][1], unsure=unsure)


def test_a_vote_is_the_normalized_geometric_mean() -> None:
    given = [one("a/1.jpg", 0.6, 0.3, 0.1), one("b/9.jpg", 0.1, 0.1, 0.8), one("a/2.jpg", 0.1, 0.7, 0.2)]
    first, other, second = voted(given, CLASSES, rule="parent")
    mean = np.sqrt(np.array([0.6 * 0.1, 0.3 * 0.7, 0.1 * 0.2]))
    mean /= mean.sum()
    assert (first.label, second.label, other.label) == ("bee", "bee", "cow")
    assert dict(first.top) == pytest.approx(dict(zip(CLASSES, mean, strict=True)))
    assert first.probability == second.probability == pytest.approx(mean[1])
    assert first.margin == pytest.approx(mean[1] - mean[0])
    assert (first.own_label, second.own_label) == ("ant", "bee")
    assert (first.sequence, other.sequence) == ("a", "b")
    assert other.probability == pytest.approx(0.8)
    assert first.to_json()["sequence"] == "a"
    assert "sequence" not in given[0].to_json()


def test_an_image_that_excludes_a_class_weighs_more_than_lukewarm_ones() -> None:
    given = [one(f"{number}.jpg", 0.55, 0.4, 0.05) for number in range(3)] + [one("3.jpg", 1e-6, 0.9, 0.1)]
    assert {vote.label for vote in voted(given, CLASSES, rule="parent")} == {"bee"}


def test_a_certain_probability_of_zero_is_no_error() -> None:
    given = [one("1.jpg", 1.0, 0.0, 0.0), one("2.jpg", 0.0, 1.0, 0.0)]
    assert all(math.isfinite(vote.probability) for vote in voted(given, CLASSES, rule="parent"))


def test_unreadable_images_have_no_vote() -> None:
    given = [Prediction.failed("a/0.jpg", "truncated"), one("a/1.jpg", 0.2, 0.2, 0.6)]
    failed, fine = voted(given, CLASSES, rule="parent", top=1)
    assert failed.error == "truncated"
    assert failed.label == ""
    assert fine.top == (("cow", pytest.approx(0.6)),)


def test_a_vote_below_the_threshold_is_unsure() -> None:
    given = [one("a/1.jpg", 0.9, 0.1, 0.0, unsure=False), one("a/2.jpg", 0.1, 0.9, 0.0), one("b/1.jpg", 0.9, 0.1, 0.0)]
    assert [vote.unsure for vote in voted(given, CLASSES, rule="parent", threshold=0.6)] == [True, True, False]


@pytest.mark.parametrize(
    ("rule", "path", "sequence"),
    [
        ("parent", "site/day/1.jpg", "site/day"),
        (r"(IMG_\d+)_\d+[.]", "x/IMG_7_2.jpg", "IMG_7"),
        (r"IMG_\d+", "x/IMG_7_2.jpg", "IMG_7"),
        (r"(IMG_\d+)_\d+[.]", "x/other.jpg", "x/other.jpg"),
        (r"(a)|b", "b.jpg", "b"),
    ],
)
def test_what_a_sequence_is(rule: str, path: str, sequence: str) -> None:
    assert sequence_key(rule)(path) == sequence


def test_a_broken_expression_is_one_error() -> None:
    with pytest.raises(RecipeError, match="regular expression"):
        sequence_key("(")
