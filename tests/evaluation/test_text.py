"""Numbers and verdicts in words."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from housetrain.evaluation import text
from housetrain.evaluation.evaluate import Evaluation, evaluate_probabilities
from housetrain.report.plots import evaluation_plots


def made_up(right: int, wrong: int, sure: float = 0.9, classes: tuple[str, ...] = ("cat", "dog")) -> Evaluation:
    n = right + wrong
    labels = np.arange(n) % 2
    called = np.where(np.arange(n) < right, labels, 1 - labels)
    given = np.full((n, len(classes)), (1 - sure) / (len(classes) - 1))
    given[np.arange(n), called] = sure
    return evaluate_probabilities(labels, given, classes, paths=["p"] * n, sha256=["s"] * n)


def limits(evaluation: Evaluation | None, **more: Any) -> dict[str, str]:
    counts = {"train": {"cat": 50, "dog": 50}, "validation": {}, "test": {}}
    options = {"counts": counts, "findings": {}, "left_out": 0, **more}
    return dict(text.limits(evaluation, options.pop("counts"), **options))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "–"), (0.42, "0.4 s"), (45.2, "45 s"), (372, "6 min 12 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float | None, said: str) -> None:
    assert text.duration(seconds).replace(text.NBSP, " ") == said


def test_small_words() -> None:
    plain = [
        text.percent(0.9012), text.percent(None), text.interval((0.883, 0.917)), text.interval(None),
        text.number(1180), text.number(0.12345), text.plural(1, "class", "classes"), text.plural(1180, "image"),
        text.size(512), text.size(12_345_678), text.listed(["a"]), text.listed(["a", "b", "c"], last="or"),
        text.listed(list("abcdefgh"), limit=3, quote=True), text.listed([]), text.sentence("it is."),
        text.shown("a\u00a0b\nc"),
    ]  # fmt: skip
    assert [one.replace(text.NBSP, " ").replace(text.JOINER, "") for one in plain] == [
        "90.1 %", "–", "88.3–91.7 %", "", "1,180", "0.123", "1 class", "1,180 images", "512 bytes", "12.3 MB", "a",
        "a, b or c", "“a”, “b” and 6 more", "", "It is.", "a b\\nc",
    ]  # fmt: skip


def test_the_headline_says_when_nothing_is_shown() -> None:
    assert text.headline(made_up(90, 10)).endswith("would be right on 50.0\u00a0%.")
    assert "it is not shown" in text.headline(made_up(52, 48))


def test_limits_follow_the_numbers() -> None:
    good = limits(made_up(1900, 100))
    assert list(good) == ["Images from elsewhere", "Something else"], "what always holds"
    assert "A small test" in limits(made_up(45, 5))
    assert "No better than guessing" in limits(made_up(52, 48))
    assert "Certainty" in limits(made_up(1500, 500, sure=0.99))
    assert "Not tested" in limits(None)
    assert (
        "4 times, for 2 different"
        in limits(dataclasses.replace(made_up(90, 10), opened=4, models_tested=2))["The test was opened before"]
    )
    assert "Few test images of some classes" in limits(made_up(1900, 100, classes=("cat", "dog", "rare")))


def test_limits_of_the_images() -> None:
    found = limits(
        None,
        counts={"train": {"cat": 300, "dog": 40}, "validation": {}, "test": {}},
        findings={"near-duplicate": 7},
        left_out=3,
        history=[{"epoch": n, "loss": 1 / n, "val_loss": abs(n - 3) + 1} for n in range(1, 9)],
    )
    assert "“dog” 40" in found["Uneven classes"]
    assert found["Near duplicates"].startswith("7")
    assert found["Left out"].startswith("3")
    assert "epoch 4" in found["Overfitting"]


def test_calibration_in_words() -> None:
    def table(sure: float, right: int) -> tuple[evaluation_plots.Reliability, float]:
        result = made_up(right, 1000 - right, sure=sure)
        return evaluation_plots.reliability_table(result.bins, classes=2), result.ece

    assert "over-confident" in text.calibration_in_words(*table(0.95, 800))
    assert "under-confident" in text.calibration_in_words(*table(0.8, 950))
    assert "at their word" in text.calibration_in_words(*table(0.9, 900))


def test_confusion_and_training_in_words() -> None:
    perfect = evaluation_plots.confusion_table(("a", "b"), ((3, 0), (0, 3)))
    assert text.confusion_in_words(perfect).startswith("No image")
    wrong = evaluation_plots.confusion_table(("a\n", "b"), ((3, 1), (0, 3)))
    assert "“a\\n” called “b”, once" in text.confusion_in_words(wrong)
    rare = evaluation_plots.confusion_table(("a", "b"), ((3, 1), (1, 3)))
    assert text.confusion_in_words(rare) == "2 mistakes, no two of them alike."
    rows = [{"epoch": n, "loss": 1 / n, "val_loss": 1 / n, "accuracy": 0.5, "val_accuracy": 0.6} for n in (1, 2, 3)]
    assert "longer training" in text.training_in_words(evaluation_plots.curve_table(rows), rows)
    assert text.training_in_words(evaluation_plots.curve_table([]), []) == "No epoch is finished yet."
