"""A run is read from its plain files, whoever writes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from prepared_digits import digits

from housetrain.errors import IncompleteError
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.system.lock import Lock
from housetrain.training.run import History, Run, differences
from housetrain.training.train import train
from housetrain.workflow import free_run_folder


def test_only_a_run_folder_opens(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="no such run"):
        Run.open(tmp_path / "nothing")
    with pytest.raises(IncompleteError, match="not a run folder"):
        Run.open(tmp_path)


def test_a_run_goes_through_its_states(tmp_path: Path) -> None:
    store.write_json_atomic(tmp_path / "recipe.json", {"model": "cnn"})
    store.write_json_atomic(tmp_path / "input.json", {"classes": ["cat", "dog"], "spec": {}})
    run = Run.open(tmp_path)
    assert (run.state, run.history, run.result, run.complete, run.failure, run.progress) == (
        "new",
        [],
        None,
        False,
        None,
        None,
    )
    assert run.recipe_json == {"model": "cnn"}
    assert run.classes == ("cat", "dog")
    with pytest.raises(IncompleteError, match="no model yet"):
        _ = run.model_path
    with Lock(tmp_path):
        assert run.state == "running"
        store.append_line(tmp_path / "history.jsonl", {"epoch": 1})
    assert run.state == "stopped"
    store.write_json_atomic(tmp_path / "failed.json", {"reason": "the loss is not a number"})
    assert (run.state, run.failure) == ("failed", "the loss is not a number")
    store.write_json_atomic(tmp_path / "result.json", {"best_epoch": 1})
    assert run.state == "complete"
    assert run.result == {"best_epoch": 1}


def test_a_run_that_ends_while_it_is_looked_at_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append_line(tmp_path / "history.jsonl", {"epoch": 1})

    def held(folder: Path) -> bool:
        store.write_json_atomic(folder / "result.json", {})  # and the lock is free again
        return False

    monkeypatch.setattr(Lock, "held", held)
    assert Run(tmp_path).state == "complete"


def test_a_run_folder_moves(tmp_path: Path) -> None:
    store.write_json_atomic(tmp_path / "a" / "recipe.json", {})
    (tmp_path / "a").rename(tmp_path / "b")
    assert Run.open(tmp_path / "b").name == "b"


def test_one_decision_whether_it_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe.json without a newer field is the same run for all who ask: it resumes instead of training NAME-2."""
    prepared = digits(tmp_path / "arrays", classes=2, most=40)
    recipe = Recipe.of("cnn", conv=1, nodes=4, epochs=2)
    monkeypatch.chdir(tmp_path)
    folder = Path("runs") / "pets"
    older = {name: value for name, value in recipe.to_json().items() if name != "label_smoothing"}
    store.write_json_atomic(folder / "recipe.json", older)
    store.write_json_atomic(folder / "input.json", {"data": prepared.fingerprint})
    assert Run(folder).matches(recipe, prepared)
    assert free_run_folder(tmp_path / "pets", prepared, recipe) == folder
    longer = recipe.but(epochs=3)
    assert not Run(folder).matches(longer, prepared)
    assert differences(Run(folder), longer, prepared) == ["epochs is 2 there and 3 here"]
    assert free_run_folder(tmp_path / "pets", prepared, longer) == Path("runs") / "pets-cnn"
    store.write_json_atomic(folder / "input.json", {"data": "0" * 64})
    assert differences(Run(folder), recipe, prepared) == ["the prepared images differ"]
    (folder / "recipe.json").write_text("[")
    assert not Run(folder).matches(recipe, prepared)


def test_the_history_is_a_list_and_a_data_frame(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    run = Run(tmp_path)
    assert run.history == [] and len(run.history.to_frame()) == 0
    scores = {"loss": 0.5, "accuracy": 0.5, "val_accuracy": 0.5}
    rows = [{"epoch": epoch, "val_loss": 1 / epoch, **scores} for epoch in (1, 2)]
    for row in rows:
        store.append_line(tmp_path / "history.jsonl", row)
    assert run.history == rows
    frame = run.history.to_frame()
    assert frame.index.name == "epoch" and frame["val_loss"].tolist() == [1.0, 0.5]
    assert isinstance(run.history, History)


def test_a_data_frame_without_pandas_says_how_to_get_it() -> None:
    code = """
import sys
sys.modules["pandas"] = None
from housetrain.training.run import History
assert History([{"epoch": 1}])[0] == {"epoch": 1}
History().to_frame()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HousetrainError: History.to_frame needs pandas" in done.stderr and "pip install pandas" in done.stderr


def test_the_model_of_a_run_is_a_keras_model(tmp_path: Path) -> None:
    prepared = digits(tmp_path / "arrays", most=300)
    run = train(prepared, Recipe.of("mlp", epochs=2), tmp_path / "run")
    model = run.load_model()
    images, labels = prepared.validation.images, prepared.validation.labels
    outputs = model.predict(np.asarray(images), verbose=0)
    assert outputs.shape == (len(images), 10)
    best = run.history[int((run.result or {})["best_epoch"]) - 1]
    assert np.mean(outputs.argmax(axis=1) == labels) == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert repr(run).startswith(f"Run({str(tmp_path / 'run')!r}, complete, best_epoch=2, val_loss=")
    (run.folder / "result.json").write_text("[")
    assert repr(run) == f"Run({str(run.folder)!r}, complete)", "a damaged file breaks no traceback"
    with pytest.raises(IncompleteError, match="no model yet"):
        Run(tmp_path).load_model()
