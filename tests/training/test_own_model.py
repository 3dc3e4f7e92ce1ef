"""A Keras model of your own: trained as it is, refused with a reason, resumed after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras  # noqa: TID253
import numpy as np
import pytest
from events_of import Event, Listener
from prepared_digits import digits

import housetrain as ht
from housetrain.errors import HousetrainError, ModelError, StoreError
from housetrain.training.own_model import config_sha256
from housetrain.training.run import Run


def sequential(classes: int = 10, *, units: int = 64, activation: str = "softmax") -> Any:
    return keras.Sequential([
        keras.Input((8, 8, 1)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Dense(units, activation="relu"),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(classes, activation=activation),
    ])  # fmt: skip


def residual(classes: int, *, dtype: str = "uint8", size: int | None = 8) -> Any:
    image = keras.Input((size, size, 1), dtype=dtype)
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.RandomTranslation(0.05, 0.05, seed=1)(x)
    x = y = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    y = keras.layers.BatchNormalization()(keras.layers.Conv2D(16, 3, padding="same")(y))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("relu")(x + y))
    return keras.Model(
        image,
        keras.layers.Dense(1 if classes == 2 else classes, activation="sigmoid" if classes == 2 else "softmax")(x),
    )


RECIPE = ht.Recipe.of("mlp", epochs=8, learning_rate=3e-3)


@pytest.mark.parametrize(("shuffled", "epochs", "low", "high"), [(False, 10, 0.9, 1.0), (True, 30, 0.0, 0.25)])
def test_it_learns_digits_and_nothing_from_shuffled_labels(
    tmp_path: Path, shuffled: bool, epochs: int, low: float, high: float
) -> None:
    arrays = digits(tmp_path / "arrays", shuffled=shuffled)
    model = sequential()
    before = model.get_weights()
    run = ht.train(arrays, RECIPE.but(epochs=epochs), tmp_path / "run", model=model)
    assert run.result is not None and low <= run.result["val_accuracy"] <= high
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)), "a copy is trained"
    saved = keras.models.load_model(run.model_path)
    assert saved.input.dtype == "uint8" and saved.input_shape == (None, 8, 8, 1)
    assert saved.count_params() == model.count_params() == run.result["parameters"]
    by_keras = saved.predict(np.asarray(arrays.validation.images), verbose=0)
    assert np.load(run.folder / "validation.npy") == pytest.approx(by_keras, abs=1e-5)


@pytest.mark.parametrize(("dtype", "size", "classes"), [("uint8", 8, 3), ("float32", 8, 2), ("float32", None, 3)])
def test_branches_float_inputs_and_flexible_sizes_go_through_all_stages(
    tmp_path: Path, dtype: str, size: int | None, classes: int
) -> None:
    arrays = digits(tmp_path / "arrays", classes=classes, most=300)
    run = ht.train(arrays, RECIPE.but(epochs=3), tmp_path / "run", model=residual(classes, dtype=dtype, size=size))
    evaluation = ht.evaluate(run, prepared=arrays)
    assert evaluation.n == len(arrays.test)
    bundle = ht.export(run).folder
    assert ht.Predictor.load(bundle).predict(np.asarray(arrays.test.images[0])).top


def test_a_given_weight_is_where_training_starts(tmp_path: Path) -> None:
    arrays = digits(tmp_path / "arrays", classes=3, most=200)
    model = sequential(3)
    outputs: list[np.ndarray] = []

    def listen(event: Event) -> None:
        if event["event"] == "begin":
            outputs.append(event["model"].predict(np.asarray(arrays.validation.images), verbose=0))

    ht.train(arrays, RECIPE.but(epochs=1), tmp_path / "run", model=model, callbacks=[Listener(listen)])
    assert outputs[0] == pytest.approx(model.predict(np.asarray(arrays.validation.images), verbose=0), abs=1e-6)


def test_the_same_architecture_resumes_exactly_and_another_is_refused(tmp_path: Path) -> None:
    arrays = digits(tmp_path / "arrays", classes=3, most=300)
    recipe = RECIPE.but(epochs=4, deterministic=True)
    first = sequential(3)
    whole = ht.train(arrays, recipe, tmp_path / "whole", model=first)

    class Killed(BaseException):
        pass

    def crash(event: Event) -> None:
        if event["event"] == "progress" and (event["phase"], event["epoch"]) == ("validate", 3):
            raise Killed

    with pytest.raises(Killed):
        ht.train(arrays, recipe, tmp_path / "parts", model=first, callbacks=[Listener(crash)])
    again = sequential(3)  # as a script builds it after a kill: other layer names, other weights
    assert again.layers[-1].name != first.layers[-1].name
    assert config_sha256(again) == config_sha256(first) != config_sha256(sequential(3, units=65))
    run = Run.open(tmp_path / "parts")
    assert run.matches(recipe, arrays, own_model=config_sha256(again))
    assert not run.matches(recipe, arrays), "it is not a run of the recipe's own model"
    with pytest.raises(StoreError, match="architecture of your own model differs"):
        ht.train(arrays, recipe, tmp_path / "parts", model=sequential(3, units=65))
    with pytest.raises(StoreError, match="architecture of your own model differs"):
        ht.train(arrays, recipe, tmp_path / "parts")
    parts = ht.train(arrays, recipe, tmp_path / "parts", model=again)
    clock = {"seconds", "images_per_s"}
    rows = [[{k: v for k, v in row.items() if k not in clock} for row in one.history] for one in (whole, parts)]
    assert rows[0] == rows[1] and len(rows[0]) == 4
    assert np.array_equal(np.load(whole.folder / "validation.npy"), np.load(parts.folder / "validation.npy"))


def with_lambda() -> Any:
    return keras.Sequential([
        keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: x / 255), keras.layers.Flatten(),
        keras.layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def large() -> Any:
    return keras.Sequential([
        keras.Input((9, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")
    ])  # fmt: skip


def flat() -> Any:
    return keras.Sequential([keras.Input((64,)), keras.layers.Dense(3, activation="softmax")])


def unbuilt() -> Any:
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sequential(4), r"output does not fit the classes.*\(None, 3\).*classes=3.*output_shape"),
        (lambda: sequential(3, activation="linear"), r"not probabilities.*softmax"),
        (large, r"does not have the shape of the prepared images.*\(None, 8, 8, 1\).*input_shape"),
        (flat, r"does not have the shape of the prepared images"),
        (unbuilt, r"cannot be trained.*built Keras model.*Input layer"),
        (lambda: "model.keras", r"cannot be trained.*model='str'"),
        (with_lambda, r"Lambda.*only built-in Keras layers"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_and_writes_nothing(tmp_path: Path, make: Any, message: str) -> None:
    arrays = digits(tmp_path / "arrays", classes=3, most=100)
    with pytest.raises(ModelError, match=message) as caught:
        ht.train(arrays, RECIPE, tmp_path / "run", model=make())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_two_classes_need_one_sigmoid_unit(tmp_path: Path) -> None:
    arrays = digits(tmp_path / "arrays", classes=2, most=100)
    with pytest.raises(ModelError, match="one sigmoid unit for two classes"):
        ht.train(arrays, RECIPE, tmp_path / "run", model=sequential(2))


# ------------------------------------------------------------------------------------------------- Keras callbacks
def test_keras_callbacks_see_validation_and_may_stop(tmp_path: Path) -> None:
    arrays = digits(tmp_path / "arrays", classes=3, most=300)
    seen: list[dict[str, float]] = []

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(dict(logs))
            self.model.stop_training = epoch == 1

    run = ht.train(arrays, RECIPE, tmp_path / "run", callbacks=[Stop()])
    assert [row["val_loss"] for row in run.history] == [logs["val_loss"] for logs in seen]
    assert run.result is not None
    assert (run.result["epochs_run"], run.result["reason"]) == (2, "stopped by a Keras callback")


def test_what_a_keras_callback_changes_is_kept_for_resuming(tmp_path: Path) -> None:
    arrays = digits(tmp_path / "arrays", classes=3, most=300)
    recipe = RECIPE.but(epochs=4, deterministic=True)

    class Halve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) / 2

    whole = ht.train(arrays, recipe, tmp_path / "whole", callbacks=[Halve()])
    ht.train(arrays, recipe, tmp_path / "parts", callbacks=[Halve()], until=2)
    parts = ht.train(arrays, recipe, tmp_path / "parts", callbacks=[Halve()])
    assert [row["val_loss"] for row in whole.history] == [row["val_loss"] for row in parts.history]
    assert whole.history[-1]["lr"] == pytest.approx(3e-3 / 2**4)


def test_something_else_is_no_callback(tmp_path: Path) -> None:
    arrays = digits(tmp_path / "arrays", classes=3, most=100)
    with pytest.raises(HousetrainError, match=r"wrong type.*keras\.callbacks\.Callback.*function"):
        ht.train(arrays, RECIPE, tmp_path / "run", callbacks=[lambda event: None])  # type: ignore[list-item]
