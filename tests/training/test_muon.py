"""ConvMuon: an orthogonal update for kernels, Adam for the rest, and faster learning than Adam's."""

from __future__ import annotations

import keras  # noqa: TID253
import numpy as np
import pytest

from housetrain.models.recipe import Recipe
from housetrain.training.muon import ConvMuon
from housetrain.training.optimizers import optimizer_of


@pytest.mark.parametrize("shape", [(72, 16), (16, 72), (32, 32)])
def test_the_update_is_nearly_orthogonal_and_keras_own(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    optimizer = ConvMuon()
    found = np.asarray(optimizer.orthogonal(keras.ops.convert_to_tensor(matrix)))
    # A random square matrix has singular values next to 0, which five steps cannot lift.
    values = np.linalg.svd(found, compute_uv=False)
    assert values.max() < 1.3 and (shape[0] == shape[1] or values.min() > 0.6)
    expected = np.asarray(
        optimizer.zeropower_via_newtonschulz5(keras.ops.convert_to_tensor(matrix), optimizer.ns_steps)
    )
    assert found == pytest.approx(expected, abs=2e-3)


def test_kernels_take_muon_and_the_rest_takes_adam() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="first")(inputs)
    x = keras.layers.Conv2D(4, 3, name="second")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(keras.layers.Flatten()(x)))
    optimizer = ConvMuon()
    optimizer.build(model.trainable_variables)
    by_muon = [variable.path for variable in model.trainable_variables if not optimizer._should_use_adamw(variable)]
    assert by_muon == ["second/kernel"]


def test_the_recipe_asks_for_it() -> None:
    optimizer = optimizer_of(Recipe.of("best"), steps_per_epoch=10)
    assert isinstance(optimizer, ConvMuon)
    assert optimizer.weight_decay == optimizer.adam_weight_decay == Recipe.of("best").weight_decay
    plain = optimizer_of(Recipe.of("cnn", optimizer="muon"), steps_per_epoch=10)
    assert not plain.weight_decay and not plain.adam_weight_decay


def test_it_learns_and_goes_on_from_its_state() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(64, 8, 8, 4)).astype(np.float32)
    labels = (images[:, :4].mean(axis=(1, 2, 3)) > images[:, 4:].mean(axis=(1, 2, 3))).astype(np.float32)[:, None]

    def fresh() -> keras.Model:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 8, 4))
        x = keras.layers.Conv2D(8, 3, activation="relu", padding="same")(inputs)
        x = keras.layers.Conv2D(8, 3, activation="relu", padding="same")(x)
        model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(x)))
        model.compile(ConvMuon(3e-3), "binary_crossentropy")
        return model

    model = fresh()
    before = model.evaluate(images, labels, verbose=0)
    for _ in range(40):
        model.train_on_batch(images, labels)
    assert model.evaluate(images, labels, verbose=0) < before / 2

    again = fresh()
    again.optimizer.build(again.trainable_variables)
    again.set_weights(model.get_weights())
    for own, other in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        own.assign(other)
    for one in (model, again):
        one.train_on_batch(images, labels)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
