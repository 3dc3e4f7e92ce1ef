"""What is minimized, and the validation numbers beside Keras' own."""

from __future__ import annotations

import keras  # noqa: TID253 - these tests are about Keras
import numpy as np
import pytest

from housetrain.training.batches import targets_of
from housetrain.training.losses import averaged, loss_and_metrics, scores


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_numbers_agree_with_keras(classes: int, smoothing: float) -> None:
    keras.utils.set_random_seed(1)  # some weights give a smoothed loss that equals the plain one by chance
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 200)
    units, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, activation=activation)])
    loss, metrics = loss_and_metrics(classes, smoothed=bool(smoothing))
    model.compile(loss=loss, metrics=metrics)
    x = rng.normal(size=(200, 4)).astype("float32")
    keras_says = model.evaluate(
        x, targets_of(labels, classes, smoothing=smoothing), batch_size=64, verbose=0, return_dict=True
    )
    numbers, confusion = scores(model.predict(x, verbose=0), labels, classes)
    plain = keras_says["crossentropy"] if smoothing else keras_says["loss"]
    assert numbers["val_loss"] == pytest.approx(plain, rel=1e-5)
    assert numbers["val_accuracy"] == pytest.approx(keras_says["accuracy"])
    assert confusion.sum(axis=1).tolist() == np.bincount(labels, minlength=classes).tolist()
    assert np.trace(confusion) == round(numbers["val_accuracy"] * 200)
    if smoothing:
        assert keras_says["loss"] != pytest.approx(plain, rel=1e-3)


def test_certain_and_wrong_costs_much_but_not_infinitely() -> None:
    numbers, _ = scores(np.array([[1.0], [0.0]]), np.array([0, 1]), 2)
    assert numbers["val_loss"] == pytest.approx(-np.log(1e-7))
    assert np.isnan(scores(np.array([[np.nan]]), np.array([0]), 2)[0]["val_loss"])


def test_averages_stand_in_for_the_weights_and_go_again() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.9), "mse")
    rng = np.random.default_rng(0)
    for _ in range(5):
        model.train_on_batch(rng.normal(size=(8, 3)), rng.normal(size=(8, 2)))
    own = model.get_weights()
    with averaged(model):
        inside = model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(own, model.get_weights(), strict=True))
    assert not np.allclose(own[0], inside[0])
