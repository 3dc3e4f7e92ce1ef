"""Training on real digits: it learns, it stops as it should, and it goes on as if nothing had happened."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from events_of import Listener
from prepared_digits import digits, prepared_of

from housetrain.data.prepare import Prepared
from housetrain.errors import DiskFull, RecipeError, RunLocked, StoreError, TrainingError
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.system.events import Callback, Stage
from housetrain.system.lock import Lock
from housetrain.training import checkpoint
from housetrain.training.interrupt import Interrupted
from housetrain.training.run import Run
from housetrain.training.train import train

# Everything that has a state of its own: dropout, augmentation, schedule, weight decay, averages, smoothing.
STATEFUL: dict[str, Any] = {
    "conv": 1,
    "nodes": 8,
    "epochs": 5,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "learning_rate": 0.003,
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "dropout": 0.2,
    "shift": 0.1,
    "label_smoothing": 0.1,
    "ema": 0.9,
    "patience": 4,
    "deterministic": True,
}


class Broken(BaseException):
    """A crash: nothing may catch it."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """300 digits of three classes."""
    return digits(tmp_path_factory.mktemp("few"), classes=3, most=300)


def fit(prepared: Prepared, folder: Path, *, on_event: Callable[[Any], None] | None = None, **settings: Any) -> Run:
    chosen = {"conv": 1, "nodes": 4, "epochs": 2} | settings
    return train(
        prepared, Recipe.of("cnn", **chosen), folder, callbacks=[] if on_event is None else [Listener(on_event)]
    )


def weights_of(run: Run) -> list[np.ndarray]:
    import keras

    model = keras.models.load_model(run.model_path)
    return [np.array(weight) for weight in model.get_weights()]


# ------------------------------------------------------------------------------------------------- learning
@pytest.mark.parametrize(("shuffled", "epochs", "low", "high"), [(False, 8, 0.9, 1.0), (True, 40, 0.0, 0.25)])
def test_it_learns_digits_and_nothing_from_shuffled_labels(
    tmp_path: Path, shuffled: bool, epochs: int, low: float, high: float
) -> None:
    prepared = digits(tmp_path / "digits", shuffled=shuffled)
    recipe = Recipe.of("mlp", epochs=epochs, learning_rate=3e-3, patience=0)
    run = train(prepared, recipe, tmp_path / "run")
    assert run.result is not None
    assert low <= run.result["val_accuracy"] <= high
    if shuffled:  # it learns them by heart, and that is noticed
        assert run.result["overfitting_epoch"] is not None
        assert "Overfitting began at epoch" in run.result["overfitting"]


def test_two_classes_of_uneven_size_are_weighed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [0] * 360 + [1] * 40  # noise: nothing to learn but how frequent the classes are
    prepared = prepared_of(rng.integers(0, 256, (400, 8, 8, 1), dtype=np.uint8), labels, ["a", "b"], tmp_path / "p")
    events: list[Any] = []
    settings = {"epochs": 8, "learning_rate": 0.01}
    run = fit(prepared, tmp_path / "weighed", on_event=events.append, **settings)
    begin = next(event for event in events if event.get("event") == "begin")
    ratio = begin["weights"]["b"] / begin["weights"]["a"]
    assert ratio == pytest.approx(3, rel=0.1)  # the square root of 360 : 40
    import keras

    plain = replace(prepared, split=replace(prepared.split, options={"balance": "none"}), fingerprint="another")
    unweighed = fit(plain, tmp_path / "unweighed", **settings)
    images = np.array(prepared.test.images)
    means = [
        float(keras.models.load_model(one.model_path).predict(images, verbose=0).mean()) for one in (run, unweighed)
    ]
    assert means[0] > means[1] + 0.1  # the weighed one is undecided, the other says "a"


# ------------------------------------------------------------------------------------------------- what it leaves
def test_a_complete_run_says_everything_in_plain_files(few: Prepared, tmp_path: Path) -> None:
    events: list[Any] = []
    run = train(few, Recipe.of("cnn", conv=1, nodes=4, epochs=3), tmp_path / "run", callbacks=[Listener(events.append)])
    assert run.state == "complete"
    assert [row["epoch"] for row in run.history] == [1, 2, 3]
    keys = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds", "images_per_s"}
    assert all(row.keys() == keys for row in run.history)
    assert run.result is not None
    best = min(run.history, key=lambda row: row["val_loss"])
    assert run.result["best_epoch"] == best["epoch"]
    assert (run.result["val_loss"], run.result["val_accuracy"]) == (best["val_loss"], best["val_accuracy"])
    assert run.result["reason"] == "all epochs"
    assert run.result["parameters"] == 4 * 9 + 4 + 4 * 9 * 3 + 3
    assert run.classes == ("0", "1", "2")
    assert run.spec == few.spec
    assert run.split == few.split
    assert run.recipe_json["nodes"] == 4
    env = store.read_json(run.folder / "env.json")
    assert env["backend"] == "tensorflow" and env["versions"]["keras"]
    assert run.progress is not None
    assert run.progress["phase"] == "complete"
    assert [path.name for path in run.checkpoints.iterdir()] == ["epoch-000003"]  # for a longer training
    assert list((run.folder / "tb" / "train").glob("events*"))
    assert [event["event"] for event in events if event["event"] != "progress"] == ["begin", *["epoch"] * 3, "end"]

    import keras

    model = keras.models.load_model(run.model_path, safe_mode=True)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    assert not model.compiled
    outputs = model.predict(np.array(few.validation.images), verbose=0)
    assert np.mean(outputs.argmax(axis=1) == few.validation.labels) == pytest.approx(best["val_accuracy"], abs=0.05)


def test_the_model_is_the_best_epoch_not_the_last(few: Prepared, tmp_path: Path) -> None:
    class Poison(Callback):
        def begin(self, stage: Stage, **facts: Any) -> None:
            self.model = facts["model"]

        def epoch(self, row: Any, **facts: Any) -> None:
            if row["epoch"] == 2:
                self.kept = [np.array(weight) for weight in self.model.get_weights()]
                self.model.set_weights([weight * 50 for weight in self.kept])

    poison = Poison()
    recipe = Recipe.of("cnn", conv=1, nodes=4, epochs=4, learning_rate=0.01, precision="float32")
    run = train(few, recipe, tmp_path / "run", callbacks=[poison])
    assert run.result is not None
    assert run.result["best_epoch"] == 2
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(run), poison.kept, strict=True))


def test_early_stopping_waits_and_stops(few: Prepared, tmp_path: Path) -> None:
    class Worse(Callback):
        def begin(self, stage: Stage, **facts: Any) -> None:
            self.model = facts["model"]

        def epoch(self, row: Any, **facts: Any) -> None:
            if row["epoch"] == 2:
                self.model.set_weights([weight * 1000 for weight in self.model.get_weights()])

    recipe = Recipe.of("cnn", conv=1, nodes=4, epochs=30, patience=3, learning_rate=1e-5)
    run = train(few, recipe, tmp_path / "run", callbacks=[Worse()])
    assert run.result is not None
    assert (run.result["reason"], run.result["epochs_run"]) == ("early stopping", 5)


# ------------------------------------------------------------------------------------------------- again
def test_a_complete_run_is_returned_at_once_and_another_one_is_refused(few: Prepared, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fit(few, folder)
    before = {item: item.stat().st_mtime_ns for item in folder.rglob("*")}
    events: list[Any] = []
    assert fit(few, folder, on_event=events.append).complete
    assert events == []
    assert {item: item.stat().st_mtime_ns for item in folder.rglob("*")} == before
    with pytest.raises(StoreError, match=r"nodes is 4 there and 5 here.*choose another folder"):
        fit(few, folder, nodes=5)
    others = digits(tmp_path / "others", classes=3, most=250)
    with pytest.raises(StoreError, match="the prepared images differ"):
        fit(others, folder)
    assert {item: item.stat().st_mtime_ns for item in folder.rglob("*")} == before


def test_a_folder_of_something_else_is_left_alone(few: Prepared, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(StoreError, match=r"not empty and is no run.*thesis\.tex"):
        fit(few, tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_net_that_does_not_fit_writes_nothing(few: Prepared, tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        fit(few, tmp_path / "run", conv=5)
    assert not (tmp_path / "run").exists()


def test_the_second_process_is_refused(few: Prepared, tmp_path: Path) -> None:
    with Lock(tmp_path / "run"), pytest.raises(RunLocked, match=f"pid={os.getpid()}"):
        fit(few, tmp_path / "run")


def straight(few: Prepared, folder: Path) -> Run:
    return fit(few, folder, **STATEFUL)


@pytest.fixture(scope="module")
def uninterrupted(few: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return straight(few, tmp_path_factory.mktemp("whole") / "run")


def same(one: Run, other: Run) -> None:
    """Bit-equal weights, and the same history but for the clock."""
    clock = {"seconds", "images_per_s"}
    rows = [[{key: row[key] for key in row.keys() - clock} for row in run.history] for run in (one, other)]
    assert rows[0] == rows[1]
    for a, b in zip(weights_of(one), weights_of(other), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_recipe_gives_the_same_bits(few: Prepared, tmp_path: Path, precision: str) -> None:
    runs = [fit(few, tmp_path / name, **STATEFUL | {"epochs": 2, "precision": precision}) for name in ("a", "b")]
    same(*runs)


@pytest.mark.parametrize(
    "moment", ["before the first epoch ends", "between line and checkpoint", "in an epoch", "at the end"]
)
def test_after_a_crash_it_goes_on_as_if_nothing_had_happened(
    few: Prepared, tmp_path: Path, uninterrupted: Run, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(event: Any) -> None:
        at = (event["event"], event.get("phase"), event.get("epoch"))
        if at in {
            "before the first epoch ends": {("progress", "validate", 1)},
            "in an epoch": {("progress", "validate", 4)},
        }.get(moment, set()) or (moment == "at the end" and event["event"] == "end"):
            raise Broken

    if moment == "between line and checkpoint":
        save = checkpoint.save

        def torn(folder: Path, epoch: int, **values: Any) -> Path:
            if epoch == 3:
                raise Broken
            return save(folder, epoch, **values)

        monkeypatch.setattr(checkpoint, "save", torn)
    if moment == "at the end":
        write = store.write_json_atomic

        def no_result(path: Path, value: Any, **options: Any) -> None:
            if path.name == "result.json":
                raise Broken
            write(path, value, **options)

        monkeypatch.setattr(store, "write_json_atomic", no_result)
    folder = tmp_path / "run"
    with pytest.raises(Broken):
        fit(few, folder, on_event=crash, **STATEFUL)
    monkeypatch.undo()
    run = Run.open(folder)
    assert not run.complete
    assert run.state == ("new" if moment == "before the first epoch ends" else "stopped")
    with (folder / "history.jsonl").open("ab") as file:
        file.write(b'{"epoch": 9, "lo')  # and the line that was being written is torn
    events: list[Any] = []
    again = fit(few, folder, on_event=events.append, **STATEFUL)
    trained = [event["epoch"] for event in events if event["event"] == "epoch"]
    assert (
        trained
        == {
            "before the first epoch ends": [1, 2, 3, 4, 5],
            "between line and checkpoint": [3, 4, 5],
            "in an epoch": [4, 5],
            "at the end": [],
        }[moment]
    )
    assert [row["epoch"] for row in again.history] == [1, 2, 3, 4, 5]
    same(again, uninterrupted)


def test_a_rotten_checkpoint_costs_one_more_epoch(few: Prepared, tmp_path: Path, uninterrupted: Run) -> None:
    def crash(event: Any) -> None:
        if (event["event"], event.get("phase"), event.get("epoch")) == ("progress", "validate", 4):
            raise Broken

    with pytest.raises(Broken):
        fit(few, tmp_path / "run", on_event=crash, **STATEFUL)
    newest = tmp_path / "run" / "checkpoints" / "epoch-000003" / "model.bin"
    newest.write_bytes(newest.read_bytes()[:-1])
    events: list[Any] = []
    again = fit(few, tmp_path / "run", on_event=events.append, **STATEFUL)
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [3, 4, 5]
    same(again, uninterrupted)


# ------------------------------------------------------------------------------------------------- stopping
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_finish_and_keeps_what_there_is(
    few: Prepared, tmp_path: Path, uninterrupted: Run, number: signal.Signals
) -> None:
    def interrupt(event: Any) -> None:
        if (event["event"], event.get("phase"), event.get("epoch")) == ("progress", "train", 3):
            os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        fit(few, tmp_path / "run", on_event=interrupt, **STATEFUL)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.number == number
    assert signal.getsignal(signal.SIGINT) is before
    run = Run.open(tmp_path / "run")
    assert run.state == "stopped"
    assert run.progress is not None
    assert run.progress["phase"] == "stopped"
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert run.model_path.is_file()
    same(fit(few, tmp_path / "run", **STATEFUL), uninterrupted)


def test_a_loss_that_is_not_a_number_stops_with_a_reason_and_the_last_good_weights(
    few: Prepared, tmp_path: Path
) -> None:
    class Poison(Callback):
        def begin(self, stage: Stage, **facts: Any) -> None:
            self.model = facts["model"]

        def epoch(self, row: Any, **facts: Any) -> None:
            if row["epoch"] == 2:
                self.model.set_weights([weight * np.nan for weight in self.model.get_weights()])

    recipe = Recipe.of("cnn", conv=1, nodes=4, epochs=5)
    events: list[Any] = []
    with pytest.raises(TrainingError, match="training loss is not a number in epoch 3") as caught:
        train(few, recipe, tmp_path / "run", callbacks=[Poison(), Listener(events.append)])
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    run = Run.open(tmp_path / "run")
    assert run.state == "failed"
    assert run.failure is not None
    assert "not a number in epoch 3" in run.failure
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert all(np.isfinite(weight).all() for weight in weights_of(run))
    assert (events[-1]["event"], events[-1]["state"]) == ("end", "failed")
    # Tried again, it goes on from the last good epoch.
    again = train(few, recipe, tmp_path / "run")
    assert again.state == "complete"
    assert again.failure is None


def test_a_rate_far_too_large_is_told_as_such(few: Prepared, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not a number.*smaller learning_rate"):
        fit(
            few,
            tmp_path / "run",
            optimizer="sgd",
            learning_rate=100.0,
            epochs=50,
            precision="float32",
            dense=3,
            nodes=32,
        )
    assert Run.open(tmp_path / "run").state == "failed"


def test_a_callback_that_fails_is_reported_once_and_the_training_continues(few: Prepared, tmp_path: Path) -> None:
    class Fails(Callback):
        def epoch(self, row: Any, **facts: Any) -> None:
            raise OSError("disk of the callback is full")

    events: list[Any] = []
    recipe = Recipe.of("cnn", conv=1, nodes=4, epochs=3)
    run = train(few, recipe, tmp_path / "run", callbacks=[Fails(), Listener(events.append)])
    assert run.complete
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert sum("disk of the callback is full" in note for note in notes) == 1, notes


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    few: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    write = checkpoint._write

    def full(path: Path, variables: Any) -> Any:
        if "epoch-000002" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, variables)

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(DiskFull, match=r"checkpoints/epoch-000002.*No space left.*bytes_free"):
        fit(few, tmp_path / "run", epochs=3)
    monkeypatch.undo()
    events: list[Any] = []
    assert fit(few, tmp_path / "run", epochs=3, on_event=events.append).complete
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == [2, 3]


# ------------------------------------------------------------------------------------------------- small promises
def test_images_and_generators_of_others_are_left_as_they_were(few: Prepared, tmp_path: Path) -> None:
    before = hashlib.sha256(few.file.read_bytes()).hexdigest(), few.file.stat().st_mtime_ns
    np.random.seed(7)
    expected = np.random.RandomState(7).random()
    fit(few, tmp_path / "run")
    assert np.random.random() == expected
    assert (hashlib.sha256(few.file.read_bytes()).hexdigest(), few.file.stat().st_mtime_ns) == before
    import keras

    assert keras.config.dtype_policy().name == "float32"


def test_it_trains_outside_the_main_thread(few: Prepared, tmp_path: Path) -> None:
    done: list[Run] = []
    worker = threading.Thread(target=lambda: done.append(fit(few, tmp_path / "run")))
    worker.start()
    worker.join()
    assert done[0].complete
