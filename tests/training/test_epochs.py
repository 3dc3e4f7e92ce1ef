"""Fitting by epochs: steps, sizes, limits, and when it ends."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from prepared_digits import digits, prepared_of

from housetrain.data.prepare import Prepared
from housetrain.models.recipe import Recipe
from housetrain.training.clock import Clock
from housetrain.training.epochs import Epochs, steps_per_execution
from housetrain.training.history import HistoryFile
from housetrain.training.run import Run
from housetrain.training.train import train


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """300 digits of three classes."""
    return digits(tmp_path_factory.mktemp("few"), classes=3, most=300)


def fit(prepared: Prepared, folder: Path, **settings: object) -> Run:
    return train(prepared, Recipe.of("cnn", **{"conv": 1, "nodes": 4, "epochs": 2} | settings), folder)


def history(path: Path, losses: list[float]) -> HistoryFile:
    found = HistoryFile(path)
    found.restore([{"epoch": number, "val_loss": loss} for number, loss in enumerate(losses, 1)])
    return found


@pytest.mark.parametrize(
    ("losses", "settings", "seconds", "reason"),
    [
        ([0.5, 0.4], {}, 0.0, ""),
        ([0.5, 0.4, 0.3], {}, 0.0, "all epochs"),
        ([0.3, 0.4], {"patience": 1}, 0.0, "early stopping"),
        ([0.3, 0.4], {"patience": 2}, 0.0, ""),
        ([0.5, 0.4], {"time_limit_s": 10.0}, 9.0, ""),
        ([0.5, 0.4], {"time_limit_s": 10.0}, 11.0, "time limit"),
    ],
)
def test_why_a_training_ends(
    tmp_path: Path, losses: list[float], settings: dict[str, float], seconds: float, reason: str
) -> None:
    recipe = Recipe.of("cnn", epochs=3, **settings)

    def material(*_: object) -> None:
        raise AssertionError("nothing is built")

    epochs = Epochs(recipe, ["a", "b"], weighted=False, material=material)  # type: ignore[arg-type]
    clock = Clock(time.monotonic(), recipe.time_limit_s)
    clock.before = seconds
    assert epochs.reason(history(tmp_path / "history.jsonl", losses), clock) == reason


def test_images_grow_while_it_trains_and_a_pause_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = digits(tmp_path / "few", classes=2, most=150, enlarged=3)
    recipe = Recipe.of("best", epochs=4, warmup_epochs=1, progressive=0.5, deterministic=True)
    assert [recipe.side(epoch, 24) for epoch in range(4)] == [16, 16, 16, 24]
    traced: list[int] = []
    resize = Epochs.resize

    def spy(self: Epochs, epoch: int) -> None:
        resize(self, epoch)
        traced.append(self.model.get_layer("augment").side)

    monkeypatch.setattr(Epochs, "resize", spy)
    whole = train(few, recipe, tmp_path / "whole")
    assert traced == [16, 16, 16, 24]
    train(few, recipe, tmp_path / "parts", until=2)
    parts = train(few, recipe, tmp_path / "parts")
    assert traced[4:] == [16, 16, 16, 24]
    assert [row["val_loss"] for row in whole.history] == [row["val_loss"] for row in parts.history]
    assert np.array_equal(np.load(whole.folder / "validation.npy"), np.load(parts.folder / "validation.npy"))


def test_the_time_limit_ends_an_epoch_early_and_the_run_is_complete(few: Prepared, tmp_path: Path) -> None:
    many = prepared_of(
        np.repeat(np.array(few.train.images), 40, axis=0),
        np.repeat(few.train.labels, 40).tolist(),
        few.classes,
        tmp_path / "many",
    )
    run = fit(many, tmp_path / "run", epochs=1000, time_limit_s=0.001, batch_size=4)
    assert run.result is not None
    assert (run.result["reason"], run.result["epochs_run"]) == ("time limit", 1)
    assert run.history[0]["steps"] == steps_per_execution(10**6)
    assert np.isfinite(run.result["val_loss"])
    assert run.model_path.is_file()


def test_the_step_is_traced_once_not_once_an_epoch(
    few: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    traced = []
    step = keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda self, data: traced.append(1) or step(self, data))
    assert len(few.train.labels) % 16, "the test needs a partial batch"
    fit(few, tmp_path / "run", epochs=4, batch_size=16)
    assert 1 <= len(traced) <= 2


def test_python_is_called_between_steps() -> None:
    assert [steps_per_execution(steps) for steps in (1, 7, 16, 40, 10_000)] == [1, 1, 2, 5, 10]
