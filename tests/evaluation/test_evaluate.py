"""What an evaluation says, and that the test split is opened when it is said to be."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_results import quick, random_evaluation
from sklearn.metrics import precision_recall_fscore_support  # noqa: TID253

from housetrain.data.prepare import Prepared
from housetrain.data.split_manifest import SplitManifest
from housetrain.errors import DataError, IncompleteError, ModelError, SourceChanged
from housetrain.evaluation.evaluate import LEDGER, Evaluation, evaluate
from housetrain.inference.predictor import Predictor
from housetrain.system import store
from housetrain.system.events import Callback
from housetrain.training.run import Run


def test_an_evaluation_by_hand() -> None:
    given = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7], [0.99, 0.01]]
    result = quick([0, 0, 0, 1, 1], given)
    assert (result.n, result.correct, result.accuracy) == (5, 2, 0.4)
    assert result.confusion == ((1, 2), (1, 1))
    assert (result.baseline.label, result.baseline.accuracy) == ("cat", 0.6)
    assert not result.beats_baseline
    assert [mistake.path for mistake in result.mistakes] == ["4.jpg", "1.jpg", "2.jpg"], "the surest first"
    assert result.mistakes[0].probability == 0.99 and result.mistakes[0].predicted == "cat"
    assert result.per_class["dog"].precision == pytest.approx(1 / 3)
    assert result.per_class["dog"].recall == 0.5
    assert result.top_k == {}
    assert result.loss == pytest.approx(-np.log([0.9, 0.2, 0.4, 0.7, 0.01]).mean())


@pytest.mark.parametrize("classes", [2, 5, 8])
def test_scores_of_each_class_are_those_of_scikit_learn(classes: int) -> None:
    names = tuple(f"class {index}" for index in range(classes))
    labels, probabilities, result = random_evaluation(names)
    expected = precision_recall_fscore_support(labels, probabilities.argmax(1), zero_division=0)
    for index, scores in enumerate(result.per_class.values()):
        assert (scores.precision, scores.recall, scores.f1, scores.support) == pytest.approx(
            tuple(column[index] for column in expected)
        )
        for value, bounds in (
            (scores.precision, scores.precision_interval),
            (scores.recall, scores.recall_interval),
            (scores.f1, scores.f1_interval),
        ):
            assert bounds is not None and value is not None and bounds[0] <= value <= bounds[1]
    assert set(result.top_k) == ({3, 5} if classes > 5 else set())
    assert result.macro_f1 == pytest.approx(expected[2].mean())
    assert np.array(result.confusion).sum(1).tolist() == np.bincount(labels, minlength=classes).tolist()


def test_the_baseline_is_the_best_that_one_class_can_do_on_these_images() -> None:
    given = [[0.9, 0.1]] * 4
    assert quick([1, 1, 1, 0], given).baseline.label == "dog"
    assert quick([1, 1, 1, 0], given).baseline.accuracy == 0.75


def test_chance_alone_does_not_pass_for_skill_where_a_class_is_rare_in_the_test() -> None:
    labels = [0] * 2 + [number % 9 + 1 for number in range(90)]
    given = np.full((92, 10), 0.01)
    given[np.arange(92), [9] * 81 + [1] * 11] = 0.91
    result = quick(labels, given, tuple("0123456789"))
    assert 8 / 92 < result.accuracy < 13 / 92
    assert result.accuracy_interval[0] > 2 / 92, "against guessing 0 it would pass"
    assert not result.beats_baseline


@pytest.mark.parametrize(
    "given",
    [
        [[0.5, float("nan")]],
        [[1.2, -0.2]],
        [[0.5, 0.3]],
        [[1.0]],
        [[0.2, 0.3, 0.5]],
        [0.5],
        [[float("inf"), 0.0]],
    ],
)
def test_what_is_no_probability_is_refused(given: Any) -> None:
    with pytest.raises(ModelError):
        quick([0], given)


def test_the_rounding_of_bfloat16_is_forgiven() -> None:
    assert quick([0, 1], [[0.7031, 0.2949], [0.2, 0.803]]).accuracy == 1.0


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(DataError, match="test split is empty"):
        quick([], np.empty((0, 2)))
    with pytest.raises(ValueError, match="same length"):
        quick([0, 1], [[0.5, 0.5]])
    for labels, classes in (([2], ("a", "b")), ([0], ("a", "a"))):
        with pytest.raises(ValueError, match="distinct classes"):
            quick(labels, [[0.5, 0.5]], classes)


# ------------------------------------------------------------------------------------------------- a run's test
class Brightness:
    """An engine that reads the brightness, which is the class; counts the images it is given."""

    name, precision, parallel = "brightness", "fp32", 1

    def __init__(self) -> None:
        self.seen = 0

    def run(self, images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.uint8 and images.ndim == 4
        self.seen += len(images)
        bright = (images.mean((1, 2, 3)) > 100).astype(np.float32)
        return np.stack([1 - bright, bright], 1) * 0.9 + 0.05

    def close(self) -> None:
        return


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Brightness:
    """No model file has to be trained: a run's predictor is a real one around this engine."""
    engine = Brightness()

    def load(cls: Any, run: Run) -> Predictor:
        return Predictor(engine, run.spec, classes=run.classes)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "load", classmethod(load))
    return engine


class Events(Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def begin(self, stage: str, **facts: Any) -> None:
        self.seen.append(("begin", facts["total"]))

    def progress(self, stage: str, done: int, total: int, **facts: Any) -> None:
        self.seen.append(("progress", done))

    def end(self, stage: str, state: str = "complete", **facts: Any) -> None:
        self.seen.append(("end", state))


def openings(run: Run) -> list[dict[str, Any]]:
    return store.read_lines(run.folder / "evaluations.jsonl")


def test_a_run_is_tested_once_and_the_opening_is_on_record(make_run: Any, model: Brightness) -> None:
    run = make_run(with_arrays=True)
    events = Events()
    result = evaluate(run, callbacks=[events])
    assert (result.n, result.accuracy, model.seen) == (8, 1.0, 8)
    assert events.seen == [("begin", 8), ("progress", 8), ("end", "complete")]
    assert {row.path for row in result.rows} == {row.path for row in run.split.of("test")}
    [line] = openings(run)
    assert line["model_sha256"] == store.file_sha256(run.model_path) == result.opening.model_sha256
    assert (line["images"], line["data"]) == (8, run.input_json["data"])
    assert result.opening is not None and (result.opening.count, result.opening.models_tested) == (1, 1)
    assert Evaluation.load(run.folder / "evaluation") == result

    assert evaluate(run) == result, "kept: nothing is opened again"
    assert (model.seen, len(openings(run))) == (8, 1)

    again = evaluate(run, again=True)
    assert again.opening is not None and (again.opening.count, again.opening.models_tested, model.seen) == (2, 1, 16)


def test_other_weights_are_another_opening(make_run: Any, model: Brightness) -> None:
    run = make_run(with_arrays=True)
    first = evaluate(run)
    run.model_path.write_bytes(b"other weights")
    second = evaluate(run)
    assert first.opening is not None and second.opening is not None
    assert (second.opening.count, second.opening.models_tested) == (2, 2)
    assert second.opening.model_sha256 != first.opening.model_sha256


def test_a_test_that_several_runs_open_says_so(make_run: Any, model: Brightness, tmp_path: Path) -> None:
    run = make_run(with_arrays=True)
    prepared = Prepared.open(run.input_json["prepared"])
    first = evaluate(run, prepared=prepared).opening
    other = Run.open(Path(shutil.copytree(run.folder, tmp_path / "other")))
    shutil.rmtree(other.folder / "evaluation")
    second = evaluate(other, prepared=prepared).opening
    again = evaluate(other, prepared=prepared, again=True).opening
    assert [one.runs for one in (first, second, again)] == [1, 2, 2]
    lines = store.read_lines(prepared.folder / LEDGER)
    assert len(lines) == 3 and {line["split"] for line in lines} == {prepared.split.fingerprint}
    assert Prepared.open(prepared.folder).fingerprint == prepared.fingerprint, "the ledger is no damage to the folder"


def test_a_look_that_was_interrupted_counts(make_run: Any, model: Brightness, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(with_arrays=True)
    with monkeypatch.context() as patch:
        patch.setattr(Brightness, "run", lambda self, images: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            evaluate(run, callbacks=[events := Events()])
    assert events.seen[-1] == ("end", "stopped")
    assert len(openings(run)) == 1 and not (run.folder / "evaluation").exists()
    opening = evaluate(run).opening
    assert opening is not None and opening.count == 2


def test_an_unfinished_run_is_not_tested(make_run: Any, model: Brightness) -> None:
    run = make_run(with_arrays=True, finished=False)
    with pytest.raises(IncompleteError, match="not finished"):
        evaluate(run)
    assert openings(run) == [] and model.seen == 0


def test_other_images_are_refused_before_they_are_looked_at(make_run: Any, model: Brightness) -> None:
    run = make_run(with_arrays=True)
    prepared = Prepared.open(Path(run.input_json["prepared"]))
    with pytest.raises(SourceChanged, match="not those the run was trained on"):
        evaluate(run, prepared=dataclasses.replace(prepared, fingerprint="another"))
    assert openings(run) == [] and model.seen == 0


def test_prepared_images_that_are_gone_are_named(make_run: Any, model: Brightness) -> None:
    run = make_run(with_arrays=True)
    Path(run.input_json["prepared"], "prepared.json").unlink()
    with pytest.raises(IncompleteError, match="prepared"):
        evaluate(run)
    assert openings(run) == []


def test_an_empty_test_split_is_said(make_run: Any, model: Brightness) -> None:
    run = make_run(with_arrays=True)
    prepared = Prepared.open(Path(run.input_json["prepared"]))
    rows = [row for row in prepared.split.rows if row.split != "test"]
    empty = SplitManifest.of_rows(prepared.split.root, prepared.classes, rows=rows, options=prepared.split.options)
    with pytest.raises(DataError, match=r"validation only.*--on FOLDER"):
        evaluate(run, prepared=dataclasses.replace(prepared, split=empty))
    assert openings(run) == []


def test_evaluating_imports_nothing_heavy_until_it_is_needed() -> None:
    code = (
        "import sys, housetrain.evaluation.evaluate, housetrain.report.report\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'jinja2', 'cv2'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
