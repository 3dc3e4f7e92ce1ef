"""The scores that follow from counts."""

from __future__ import annotations

import dataclasses
import json

import pytest
from made_up_results import made_up, quick

from housetrain.evaluation.scores import ClassScores


def test_scores_follow_from_three_counts() -> None:
    scores = ClassScores.of(6, support=10, predicted=8)
    assert (scores.precision, scores.recall, scores.f1) == (0.75, 0.6, pytest.approx(2 * 0.75 * 0.6 / 1.35))
    assert scores.recall_interval is not None and scores.recall_interval == pytest.approx((0.3127, 0.8318), abs=1e-4)
    assert ClassScores.from_json(json.loads(json.dumps(dataclasses.asdict(scores)))) == scores
    missed = ClassScores.of(0, support=10, predicted=0)
    assert (missed.precision, missed.recall, missed.f1) == (None, 0.0, 0.0)
    absent = ClassScores.of(0, support=0, predicted=0)
    assert {*dataclasses.asdict(absent).values()} == {0, None}
    assert ClassScores.from_json(dataclasses.asdict(absent)) == absent


def test_a_score_without_a_denominator_is_none_and_plain_json() -> None:
    result = quick([0, 0, 1], [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.7, 0.3, 0]], ("a", "b", "c"))
    assert result.per_class["b"].precision is None and result.per_class["b"].recall == 0.0
    assert result.per_class["c"].f1 is None and result.per_class["c"].f1_interval is None
    json.dumps(result.to_json(), allow_nan=False)
    assert result.macro_recall == 0.5


def test_means_leave_out_a_class_that_never_occurs() -> None:
    result = made_up(80, 20, classes=("cat", "dog", "absent"))
    assert result.macro_recall == result.macro_f1 == pytest.approx(0.8)
    assert result.per_class["absent"].support == 0 and result.confusion[2] == (0, 0, 0)
