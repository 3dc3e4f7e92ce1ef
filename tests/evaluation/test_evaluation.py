"""The value of a test result: derived numbers, sentences, files."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_up_results import made_up, quick, random_evaluation

from housetrain.errors import CorruptError, IncompleteError
from housetrain.evaluation.evaluate import evaluate_probabilities
from housetrain.evaluation.evaluation import MISTAKES, Evaluation, Opening
from housetrain.inference.decision import UNDECIDED, Decision
from housetrain.models.outputs import at_temperature
from housetrain.system import store

HOSTILE = ("<script>", 'a"b,c', "line\nfeed", "re\rturn", "caf\udce9", "'; drop --")


# ------------------------------------------------------------------------------------------------- sentences
def test_what_learned_beats_guessing_and_what_guesses_does_not() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    knows = np.where(random.uniform(size=400) < 0.9, labels, 1 - labels)
    guesses = random.integers(0, 2, 400)

    def answers(called: np.ndarray) -> np.ndarray:
        return np.eye(2)[called] * 0.8 + 0.1

    good, poor = quick(labels, answers(knows)), quick(labels, answers(guesses))
    assert good.beats_baseline and "Not significantly" not in good.summary()
    assert not poor.beats_baseline and "Not significantly better than always predicting" in poor.summary()
    share = f"{good.accuracy * 100:.1f} %"
    assert good.summary().startswith(f"Test accuracy {share} ({good.correct} of 400 unseen images; 95 % interval ")
    assert poor.summary().count("(") == poor.summary().count(")") == 1


def test_the_summary_is_one_line_whatever_the_class_is_called() -> None:
    poor = quick([0, 0, 1], [[0.1, 0.9]] * 3, ("line\nfeed", "b. c"))
    assert poor.summary() == (
        "Test accuracy 33.3 % (1 of 3 unseen images; 95 % interval 6.1–79.2 %; majority-class baseline 66.7 %). "
        "Not significantly better than always predicting “line\\nfeed”."
    )


def test_a_notebook_shows_the_result_and_each_class() -> None:
    found = evaluate_probabilities(
        [0, 0, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], ("cat", "<dog>"), paths=["a", "b", "c"], sha256=["", "", ""]
    )
    assert repr(found).startswith("Evaluation(accuracy=0.6667, loss=") and ", n=3, " in repr(found)
    assert len(repr(found)) < 100
    html = found._repr_html_()
    assert "Test accuracy 66.7 %" in html and "<td>&lt;dog&gt;</td><td>1</td><td>0.5</td><td>1</td>" in html


# ------------------------------------------------------------------------------------------------- mistakes
def test_only_the_most_confident_mistakes_are_kept(tmp_path: Path) -> None:
    wrong = MISTAKES + 15
    sure = np.linspace(0.6, 0.99, wrong)
    result = quick([0] * wrong, np.stack([1 - sure, sure], 1))
    assert len(result.mistakes) == MISTAKES and len(result.rows) == wrong
    assert [row.path for row in result.mistakes[:2]] == [f"{wrong - 1}.jpg", f"{wrong - 2}.jpg"]
    result.save(tmp_path / "evaluation")
    assert len(store.read_json(tmp_path / "evaluation" / "evaluation.json")["mistakes"]) == MISTAKES
    assert len(Evaluation.load(tmp_path / "evaluation").rows) == wrong


def test_equally_confident_mistakes_are_in_the_order_of_their_paths() -> None:
    result = evaluate_probabilities(
        [0, 0, 0], [[0.1, 0.9]] * 3, ("a", "b"), paths=["z.jpg", "x.jpg", "y.jpg"], sha256=[""] * 3
    )
    assert [row.path for row in result.mistakes] == ["x.jpg", "y.jpg", "z.jpg"]


# ------------------------------------------------------------------------------------------------- files
def test_saved_and_loaded_it_is_the_same_whatever_the_names(tmp_path: Path) -> None:
    labels, probabilities, _ = random_evaluation(HOSTILE, 60)
    paths = [f"{HOSTILE[label]}/{HOSTILE[index % 6]}{index}.jpg" for index, label in enumerate(labels)]
    result = evaluate_probabilities(labels, probabilities, HOSTILE, paths=paths, sha256=["ab"] * 60)
    result = dataclasses.replace(result, opening=Opening(2, 1, "w", "d", "now"))
    result.save(tmp_path / "evaluation")
    assert Evaluation.load(tmp_path / "evaluation") == result
    result.save(tmp_path / "evaluation")  # once more, over the old one
    assert Evaluation.load(tmp_path / "evaluation") == result


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError):
        Evaluation.load(tmp_path / "evaluation")
    quick([0], [[0.9, 0.1]]).save(tmp_path / "evaluation")
    rows = tmp_path / "evaluation" / "predictions.csv"
    rows.write_text(rows.read_text().replace("cat", "dog"))
    with pytest.raises(CorruptError):
        Evaluation.load(tmp_path / "evaluation")


def test_json_and_csv_say_the_same_as_the_value(tmp_path: Path) -> None:
    _, probabilities, result = random_evaluation(tuple("abcdefg"), 80)
    result.save(tmp_path / "evaluation")
    value = store.read_json(tmp_path / "evaluation" / "evaluation.json")
    for name in ("n", "correct", "accuracy", "ece", "macro_f1", "macro_recall", "beats_baseline"):
        assert value[name] == getattr(result, name), name
    assert "rows" not in value and value["top_k"].keys() == {"3", "5"}
    with (tmp_path / "evaluation" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["p(c)"]) for row in rows] == pytest.approx(probabilities[:, 2].tolist())
    assert sum(row["label"] == row["predicted"] for row in rows) == result.correct


def test_an_evaluation_of_another_version_says_to_evaluate_again(tmp_path: Path) -> None:
    result = quick([0], [[0.9, 0.1]])
    with store.commit_folder(tmp_path, "evaluation") as inside:
        store.write_json_atomic(inside / "evaluation.json", {**result.to_json(), "per_class": {"cat": {"hits": 1}}})
        (inside / "predictions.csv").write_text("path\n")
    with pytest.raises(CorruptError, match=r"Another version of housetrain.*run housetrain evaluate RUN again"):
        Evaluation.load(tmp_path / "evaluation")


def test_a_result_below_what_validation_promised_says_so() -> None:
    promised = Opening(1, 1, "m", "d", "now", validation_accuracy=0.95, validation_images=100, validation_tries=20)
    low, level = (dataclasses.replace(made_up(right, 100 - right), opening=promised) for right in (70, 90))
    assert "Validation is far from the test: 95.0 % of the 100 validation images" in low.summary()
    assert "Validation is far" not in level.summary()
    old = dataclasses.replace(made_up(70, 30), opening=Opening(1, 1, "m", "d", "now"))
    assert "Validation is far" not in old.summary(), "nothing is known of its validation"


def test_the_calibration_before_is_that_of_the_probabilities_at_temperature_1() -> None:
    random = np.random.default_rng(0)
    raw = random.dirichlet((0.3, 0.3, 0.3), 300)
    labels = [int(random.integers(3)) if random.random() < 0.4 else int(row.argmax()) for row in raw]
    scaled = dataclasses.replace(
        quick(labels, at_temperature(raw, 2.5).tolist(), ("a", "b", "c")), decision=Decision(temperature=2.5)
    )
    plain = quick(labels, raw.tolist(), ("a", "b", "c"))
    assert plain.calibration_before is None
    assert scaled.calibration_before is not None
    assert scaled.calibration_before.ece == pytest.approx(plain.ece, abs=1e-4)
    assert scaled.to_json()["calibration_before"]["ece"] > scaled.to_json()["calibration"]["ece"]


def test_a_result_of_an_earlier_version_has_temperature_1() -> None:
    value = quick([0, 1], [[0.9, 0.1], [0.2, 0.8]], ("a", "b")).to_json()
    del value["decision"], value["calibration_before"]
    assert Evaluation.from_json(value, rows=()).decision == UNDECIDED
