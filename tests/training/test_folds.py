"""Cross-validation of whole trainings: every image predicted once by a net that did not see it, the test never read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from events_of import Event, Listener
from prepared_digits import digits

import housetrain as ht
from housetrain.data.prepare import Prepared
from housetrain.errors import RecipeError
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.training.cross_validation import kept
from housetrain.training.folds import cross_validate, possible_folds
from housetrain.training.run import Run
from housetrain.training.train import train

RECIPE = Recipe.of("cnn", conv=1, nodes=16, epochs=8, batch_size=16, learning_rate=3e-3, patience=0, seed=3)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return digits(tmp_path_factory.mktemp("few"), classes=3, most=240)


@pytest.fixture(scope="module")
def run(few: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(few, RECIPE, tmp_path_factory.mktemp("runs") / "run")


def test_every_image_is_predicted_once_by_a_net_that_did_not_see_it(few: Prepared, run: Run) -> None:
    found = cross_validate(run, folds=3, prepared=few)
    seen = {row.sha256 for name in ("train", "validation") for row in few.split.of(name)}  # type: ignore[arg-type]
    held_out: list[str] = []
    right: list[float] = []
    for number in range(3):
        fold = Run(run.folder / "folds" / f"{number + 1}-of-3")
        rows, fitted = fold.split.of("validation"), {row.group for row in fold.split.of("train")}
        assert not fold.split.of("test") and not fitted & {row.group for row in rows}
        held_out += [row.sha256 for row in rows]
        outputs = fold.validation_probabilities(len(rows))
        assert outputs is not None
        labels = np.array([few.classes.index(row.label) for row in rows])
        right.append(float(np.mean(outputs.argmax(axis=1) == labels)))
        assert fold.result is not None and right[-1] == pytest.approx(fold.result["val_accuracy"], abs=1e-6)
    assert sorted(held_out) == sorted(seen)
    assert found["accuracies"] == pytest.approx(right) and found["accuracy"] == pytest.approx(np.mean(right))
    assert found["accuracy"] > 0.8  # of three digits: it learns
    low, high = found["interval"]
    assert 0 < low < found["accuracy"] < high <= 1
    assert not (run.folder / "folds" / "arrays").exists()
    assert kept(run) == json.loads((run.folder / "folds.json").read_text())


def test_the_same_call_trains_nothing_again(few: Prepared, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ht.cross_validate(run.folder, folds=3, prepared=few)

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("it trained")

    monkeypatch.setattr("housetrain.training.folds.train", fail)
    assert ht.cross_validate(run.folder, folds=3, prepared=few) == first


def test_an_interrupted_cross_validation_resumes(few: Prepared, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def counted(prepared: Prepared, recipe: Recipe, folder: Path, **options: object) -> Run:
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(folder.name)
        return train(prepared, recipe, folder)

    monkeypatch.setattr("housetrain.training.folds.train", counted)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(run, folds=2, prepared=few)
    monkeypatch.setattr("housetrain.training.folds.train", train)
    found = cross_validate(run, folds=2, prepared=few)
    assert trained == ["1-of-2"] and found["folds"] == 2 and len(found["accuracies"]) == 2


def test_labels_that_mean_nothing_are_at_chance(tmp_path: Path) -> None:
    mixed = digits(tmp_path / "mixed", classes=3, most=240, shuffled=True)
    found = cross_validate(train(mixed, RECIPE, tmp_path / "run"), folds=2, prepared=mixed)
    low, high = found["interval"]
    assert low < 1 / 3 < high and found["accuracy"] < 0.55


def test_more_folds_than_groups_of_a_class_are_refused(few: Prepared, run: Run) -> None:
    with pytest.raises(RecipeError, match=r"so many folds.*Received: folds=1000"):
        cross_validate(run, folds=1000, prepared=few)


def test_a_run_that_started_from_the_weights_of_another_is_refused(run: Run, few: Prepared) -> None:
    """Those weights may have been fitted to the images of every fold: the accuracy would be too high."""
    started = Run(run.folder)
    started.recipe_json.clear()  # of this object only
    started.recipe_json.update(Recipe.of("efficientnet-lite0", weights="base/model.keras", unfreeze=2).to_json())
    with pytest.raises(RecipeError, match="started from may have been trained on the images of every fold"):
        cross_validate(started, folds=2, prepared=few)
    heard: list[Event] = []
    assert possible_folds(started, 2, [Listener(heard.append)]) == 2, "what a person asked for alone is refused"
    store.write_json_atomic(run.folder / "stages.json", {"request": {}, "rows": []})
    assert possible_folds(started, 2, [Listener(heard.append)]) is None, "of a selected stage nobody could know"
    assert any("Not cross-validated: the weights that this run started from" in event["text"] for event in heard)
    assert possible_folds(Run(run.folder), 2) == 2 and possible_folds(started, None) is None
    (run.folder / "stages.json").unlink()
