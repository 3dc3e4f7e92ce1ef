"""The trainer around a strategy: what it keeps, when it stops, what it reports."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras  # noqa: TID253
import numpy as np
import pytest
from events_of import Event, Listener

from housetrain.errors import TrainingError
from housetrain.models.recipe import Recipe
from housetrain.system.events import Callbacks
from housetrain.training.clock import Clock
from housetrain.training.interrupt import Interrupted, Signals
from housetrain.training.run import Run
from housetrain.training.trainer import Trainer


class Guessing:
    """A strategy whose model is a constant, without checkpoints: losses are given."""

    unit = "step"
    precision, uses_kernels = "float32", False

    def __init__(self, losses: list[float], error: BaseException | None = None) -> None:
        self.losses, self.error = losses, error
        self.best: int | None = None

    @property
    def total(self) -> int:
        return len(self.losses)

    def prepare(self, trainer: Trainer, found: object) -> Any:
        image = keras.Input((4, 4, 1), dtype="uint8", name="image")
        x = keras.layers.Flatten()(keras.layers.Rescaling(0.0)(image))
        self.model = keras.Model(image, keras.layers.Dense(1, activation="sigmoid", name="probability")(x))
        self.parameters = 17
        return self.model

    def facts(self) -> Mapping[str, Any]:
        return {"images": 5, "validation": 3, "weights": None}

    def fit(self, trainer: Trainer) -> None:
        for number, loss in enumerate(self.losses, 1):
            if self.error is not None and number == 2:
                raise self.error
            if loss < min([*self.losses[: number - 1], 9.0]):
                self.best = number
            row = {"step": number, "l2": 1.0, "loss": loss, "accuracy": 0.5, "val_loss": loss, "val_accuracy": 0.5,
                   "seconds": 0.1, "images_per_s": 10.0 * number}  # fmt: skip
            trainer.keep(row, confusion=np.eye(2))
            if trainer.reason:
                return

    def reason(self, history: Any, clock: Clock) -> str:
        return "enough" if len(history) == self.total else ""

    def best_model(self, found: object) -> Any | None:
        if self.best is None:
            return None
        kernel = np.zeros((16, 1), np.float32)
        self.model.get_layer("probability").set_weights([kernel, np.array([float(self.best)], np.float32)])
        return self.model

    def best_outputs(self, found: object) -> np.ndarray:
        return np.full((3, 1), self.best, np.float64)

    def keep_beside(self, run: Run) -> None:
        assert (run.folder / "model.keras").is_file() and not (run.folder / "result.json").exists()
        (run.folder / "beside").write_text("kept")

    def summary(self) -> Mapping[str, Any]:
        return {"l2": 1.0}


def trained(folder: Path, strategy: Guessing, events: list[Event]) -> None:
    folder.mkdir(exist_ok=True)
    recipe = Recipe.of("mlp")
    told = Callbacks([Listener(events.append)])
    clock = Clock(time.monotonic())
    Trainer(Run(folder), recipe, strategy, callbacks=told, signals=Signals(), clock=clock).train()  # type: ignore[arg-type]


def test_the_best_row_is_in_every_file(tmp_path: Path) -> None:
    events: list[Event] = []
    trained(tmp_path, Guessing([0.5, 0.2, 0.4]), events)
    run = Run(tmp_path)
    assert run.complete and [row["val_loss"] for row in run.history] == [0.5, 0.2, 0.4]
    result = run.result
    assert result is not None
    assert (result["best_step"], result["steps_run"], result["val_loss"]) == (2, 3, 0.2)
    assert (result["reason"], result["parameters"], result["images_per_s"], result["l2"]) == ("enough", 17, 20.0, 1.0)
    assert (tmp_path / "beside").read_text() == "kept"
    assert "best_epoch" not in result and result["overfitting"] == ""
    assert np.load(tmp_path / "validation.npy").tolist() == [[2.0], [2.0], [2.0]]
    assert keras.models.load_model(run.model_path).get_layer("probability").get_weights()[1].tolist() == [2.0]
    assert json.loads((tmp_path / "env.json").read_text())["precision"] == "float32"


def test_events_tell_the_same_story(tmp_path: Path) -> None:
    events: list[Event] = []
    trained(tmp_path, Guessing([0.5, 0.2, 0.4]), events)
    assert [event["event"] for event in events] == ["begin", *["progress"] * 3, "end"]
    begin, *rows, end = events
    assert (begin["steps"], begin["first_step"], begin["parameters"]) == (3, 1, 17) and begin["model"] is not None
    assert [(event["done"], event["total"], event["best"]) for event in rows] == [
        (1, 3, True),
        (2, 3, True),
        (3, 3, False),
    ]
    assert [event["row"] for event in rows] == Run(tmp_path).history
    assert (end["state"], end["reason"], end["result"]) == ("complete", "enough", Run(tmp_path).result)


def test_a_training_error_is_kept_with_the_best_model(tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(TrainingError):
        trained(tmp_path, Guessing([0.5, 0.2], TrainingError("The loss is not a number")), events)
    failed = json.loads((tmp_path / "failed.json").read_text())
    assert (failed["reason"], failed["step"]) == ("The loss is not a number", 2)
    assert (tmp_path / "model.keras").is_file() and not Run(tmp_path).complete
    assert (events[-1]["event"], events[-1]["state"]) == ("end", "failed")


@pytest.mark.parametrize(
    ("error", "state", "kept"),
    [(Interrupted(signal.SIGINT), "stopped", True), (OSError("disk"), "failed", False)],
)
def test_whatever_stops_it_the_stage_ends(tmp_path: Path, error: BaseException, state: str, kept: bool) -> None:
    events: list[Event] = []
    with pytest.raises(type(error)):
        trained(tmp_path, Guessing([0.5, 0.2], error), events)
    assert (events[-1]["event"], events[-1]["state"]) == ("end", state)
    assert (tmp_path / "model.keras").is_file() == kept
    assert not (tmp_path / "failed.json").exists()


def test_without_a_row_there_is_no_model(tmp_path: Path) -> None:
    class Stopped(Guessing):
        def fit(self, trainer: Trainer) -> None:
            raise Interrupted(signal.SIGTERM)

    with pytest.raises(Interrupted):
        trained(tmp_path, Stopped([0.5]), [])
    assert not (tmp_path / "model.keras").exists()
