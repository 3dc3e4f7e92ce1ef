"""A run is read from its plain files, whoever writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from prepared_digits import digits

from housetrain.errors import IncompleteError
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.system.lock import Lock
from housetrain.training.run import Run
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
    assert Run(folder).differences(longer, prepared) == ["epochs is 2 there and 3 here"]
    assert free_run_folder(tmp_path / "pets", prepared, longer) == Path("runs") / "pets-2"
    store.write_json_atomic(folder / "input.json", {"data": "0" * 64})
    assert Run(folder).differences(recipe, prepared) == ["the prepared images differ"]
    (folder / "recipe.json").write_text("[")
    assert not Run(folder).matches(recipe, prepared)
