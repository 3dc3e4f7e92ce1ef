"""The fused update is Adam; the schedules are what they say."""

from __future__ import annotations

import itertools

import keras  # noqa: TID253 - these tests are about Keras
import numpy as np
import pytest

from housetrain.models.recipe import Recipe
from housetrain.training.muon import ConvMuon
from housetrain.training.optimizers import FusedAdam, Schedule, exempt_from_decay, optimizer_of


def small_model(seed: int = 0) -> keras.Model:
    initializer = keras.initializers.GlorotUniform(seed=seed)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="tanh", kernel_initializer=initializer),
            keras.layers.Dense(1, kernel_initializer=initializer),
        ]
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"weight_decay": 0.1}, {"clipnorm": 0.5}, {"use_ema": True}, {"amsgrad": True}, {"learning_rate": 0.03}],
)
def test_the_fused_update_is_keras_adam(settings: dict[str, float]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 6)).astype("float32"), rng.normal(size=(64, 1)).astype("float32")
    weights = []
    for kind in (FusedAdam, keras.optimizers.Adam):
        model = small_model()
        model.compile(kind(**settings), "mse")
        model.fit(x, y, batch_size=16, epochs=10, shuffle=False, verbose=0)
        weights.append(model.get_weights())
        assert int(model.optimizer.iterations) == 40
    moved = np.abs(weights[1][0] - small_model().get_weights()[0]).max()
    assert moved > 0.005
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


def rates(kind: str, steps: int, warmup: int = 0) -> list[float]:
    schedule = Schedule(kind, peak=0.1, steps=steps, warmup=warmup)
    return [float(schedule(step)) for step in range(steps)]


def test_schedules() -> None:
    assert rates("constant", 6, warmup=4) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    cosine = rates("cosine", 100)
    assert cosine[0] == pytest.approx(0.1)
    assert cosine[50] == pytest.approx(0.05)
    assert 0 < cosine[99] < 1e-3
    assert all(a >= b for a, b in itertools.pairwise(cosine))
    warm = rates("cosine", 100, warmup=10)
    assert warm[0] == pytest.approx(0.01)
    assert max(warm) == pytest.approx(0.1) == pytest.approx(warm[9])
    cycle = rates("one-cycle", 100)
    assert cycle[0] < 0.01
    assert np.argmax(cycle) in (29, 30)
    assert max(cycle) == pytest.approx(0.1)
    assert cycle[-1] < 1e-3


def test_a_recipe_becomes_an_optimizer() -> None:
    plain = optimizer_of(Recipe.of("cnn"), steps_per_epoch=10)
    assert isinstance(plain, FusedAdam)
    assert float(plain.learning_rate) == pytest.approx(1e-3)
    best = optimizer_of(Recipe.of("best", ema=0.99), steps_per_epoch=10)
    assert isinstance(best, ConvMuon)
    assert best.weight_decay == Recipe.of("best").weight_decay
    assert best.use_ema
    assert best.ema_momentum == 0.99
    sgd = optimizer_of(Recipe.of("cnn", optimizer="sgd"), steps_per_epoch=10)
    assert isinstance(sgd, keras.optimizers.SGD)


def test_only_kernels_decay() -> None:
    model = small_model()
    model.compile(
        optimizer_of(Recipe.of("cnn", optimizer="adamw", weight_decay=0.5, learning_rate=0.1), steps_per_epoch=1), "mse"
    )
    exempt_from_decay(model.optimizer, model)
    for layer in model.layers:
        layer.bias.assign(np.ones(layer.bias.shape))
    before = model.get_weights()
    x = np.zeros((4, 6), "float32")  # no gradient reaches the first kernel
    model.fit(x, model.predict(x, verbose=0), epochs=1, verbose=0)  # nor, without an error, anything else
    after = model.get_weights()
    np.testing.assert_allclose(after[0], before[0] * (1 - 0.5 * 0.1), rtol=1e-5)
    np.testing.assert_allclose(after[1], before[1], atol=1e-6)
