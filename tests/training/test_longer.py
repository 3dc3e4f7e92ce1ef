"""A finished run is continued to more epochs: exactly, where nothing depends on their number, and safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from events_of import Listener
from prepared_digits import digits

from housetrain.data.prepare import Prepared
from housetrain.errors import StoreError
from housetrain.models.recipe import Recipe
from housetrain.training.longer import FOLDER, continues
from housetrain.training.run import Run
from housetrain.training.train import train
from housetrain.workflow import free_run_folder

SETTINGS: dict[str, Any] = {
    "conv": 1, "nodes": 6, "dropout": 0.2, "shift": 0.1, "ema": 0.9, "optimizer": "adamw", "weight_decay": 0.01,
    "deterministic": True,
}  # fmt: skip
SAME = ("best_epoch", "epochs_run", "loss", "accuracy", "val_loss", "val_accuracy", "reason")


class Broken(BaseException):
    """A crash: nothing may catch it."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return digits(tmp_path_factory.mktemp("few"), classes=3, most=300)


def recipe(epochs: int, **settings: Any) -> Recipe:
    return Recipe.of("cnn", epochs=epochs, **{**SETTINGS, **settings})


def weights(run: Run) -> list[np.ndarray]:
    return [np.array(one) for one in run.load_model().get_weights()]


def numbers(run: Run) -> list[dict[str, Any]]:
    return [{key: row[key] for key in ("epoch", "loss", "accuracy", "val_loss", "lr")} for row in run.history]


def test_it_ends_bit_for_bit_as_a_longer_training_from_the_start(few: Prepared, tmp_path: Path) -> None:
    whole = train(few, recipe(5), tmp_path / "whole")
    train(few, recipe(2), tmp_path / "run")
    notes: list[Any] = []
    longer = train(few, recipe(5), tmp_path / "run", callbacks=[Listener(notes.append)])
    assert longer.recipe_json == whole.recipe_json
    assert numbers(longer) == numbers(whole)
    assert {key: longer.result[key] for key in SAME} == {key: whole.result[key] for key in SAME}  # type: ignore[index]
    assert all(np.array_equal(one, other) for one, other in zip(weights(longer), weights(whole), strict=True))
    assert not (tmp_path / "run" / FOLDER).exists()
    said = next(event["text"] for event in notes if event["event"] == "note")
    assert said == "Continues the finished run after epoch 2"
    again = train(few, recipe(6), tmp_path / "run")  # and once more
    assert [row["epoch"] for row in again.history] == [1, 2, 3, 4, 5, 6]


def test_a_kill_leaves_the_finished_run_and_the_same_call_resumes(few: Prepared, tmp_path: Path) -> None:
    whole = train(few, recipe(4), tmp_path / "whole")
    run = train(few, recipe(2), tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.suffix in (".json", ".keras")}

    def crash(event: Any) -> None:
        if event["event"] == "epoch" and event["epoch"] == 3:
            raise Broken

    with pytest.raises(Broken):
        train(few, recipe(4), tmp_path / "run", callbacks=[Listener(crash)])
    killed = Run(tmp_path / "run")
    assert killed.complete
    assert killed.load_model() is not None
    for name in ("recipe.json", "result.json", "model.keras"):
        assert (run.folder / name).read_bytes() == before[name]
    epochs: list[int] = []
    resumed = train(
        few,
        recipe(4),
        tmp_path / "run",
        callbacks=[Listener(lambda event: epochs.append(event["epoch"]) if event["event"] == "epoch" else None)],
    )
    assert epochs == [4]
    assert numbers(resumed) == numbers(whole)
    assert all(np.array_equal(one, other) for one, other in zip(weights(resumed), weights(whole), strict=True))


def test_a_kill_between_the_files_of_the_end_is_repaired(
    few: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from housetrain.system import store

    train(few, recipe(1), tmp_path / "run")
    write = store.write_bytes_atomic

    def crash(path: Path, data: bytes, **options: Any) -> None:
        if path == tmp_path / "run" / "result.json":
            raise Broken
        write(path, data, **options)

    monkeypatch.setattr(store, "write_bytes_atomic", crash)
    with pytest.raises(Broken):
        train(few, recipe(2), tmp_path / "run")
    monkeypatch.undo()
    assert Run(tmp_path / "run").complete
    found = train(few, recipe(2), tmp_path / "run")
    assert found.result is not None
    assert found.result["epochs_run"] == 2
    assert not (tmp_path / "run" / FOLDER).exists()


def test_a_schedule_that_depends_on_the_number_of_epochs_is_said(few: Prepared, tmp_path: Path) -> None:
    settings = {"schedule": "cosine", "warmup_epochs": 0.5}
    train(few, recipe(2, **settings), tmp_path / "run")
    notes: list[Any] = []
    run = train(few, recipe(4, **settings), tmp_path / "run", callbacks=[Listener(notes.append)])
    said = next(event["text"] for event in notes if event["event"] == "note")
    assert "the learning rate (cosine) depend" in said
    whole = train(few, recipe(4, **settings), tmp_path / "whole")
    assert [row["lr"] for row in run.history][2:] == pytest.approx([row["lr"] for row in whole.history][2:])


def test_early_stopping_is_not_undone(few: Prepared, tmp_path: Path) -> None:
    stopped = train(few, recipe(30, patience=1, learning_rate=0.1), tmp_path / "run")
    assert stopped.result is not None
    assert stopped.result["reason"] == "early stopping"
    longer = train(few, recipe(60, patience=1, learning_rate=0.1), tmp_path / "run")
    assert numbers(longer) == numbers(stopped)
    assert longer.recipe_json["epochs"] == 60


def test_only_more_epochs_of_the_same_recipe_continue(few: Prepared, tmp_path: Path) -> None:
    run = train(few, recipe(2), tmp_path / "run")
    assert continues(run, recipe(3), few)
    assert not continues(run, recipe(2), few)
    assert not continues(run, recipe(1), few)
    assert not continues(run, recipe(3, nodes=7), few)
    with pytest.raises(StoreError, match="another run"):
        train(few, recipe(1), tmp_path / "run")
    for item in run.checkpoints.iterdir():
        item.rename(tmp_path / item.name)
    assert not continues(run, recipe(3), few)
    with pytest.raises(StoreError, match="epochs is 2 there and 3 here"):
        train(few, recipe(3), tmp_path / "run")


def test_the_default_folder_is_that_of_the_shorter_run(
    few: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = free_run_folder(Path("pets"), few, recipe(1))
    train(few, recipe(1), first)
    assert free_run_folder(Path("pets"), few, recipe(2)) == first
    train(few, recipe(2), Path("runs/pets-cnn"))
    assert free_run_folder(Path("pets"), few, recipe(2)) == Path("runs/pets-cnn")
    assert free_run_folder(Path("pets"), few, recipe(1, nodes=9)) == Path("runs/pets-cnn-2")
