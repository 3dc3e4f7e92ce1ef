"""The layer with compiled kernels: its memory, and every optimizer."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from kernels.kernel_arrays import needs_kernels, small_model

from housetrain.kernels import with_kernels
from housetrain.kernels.conv_pool import ConvPool
from housetrain.models.recipe import Recipe
from housetrain.training.optimizers import optimizer_of


@needs_kernels
def test_nets_that_are_gone_leave_nothing_behind() -> None:
    steps = []
    for _ in range(3):
        fast = with_kernels(small_model("float32"))
        fast.compile(loss="binary_crossentropy")
        fast.fit(np.zeros((4, 24, 26, 1), np.uint8), np.zeros((4, 1)), verbose=0)
        layers = [layer for layer in fast.layers if isinstance(layer, ConvPool)]
        steps.append([weakref.ref(step) for layer in layers for step in layer._steps.values()])
    gc.collect()
    assert [len(some) for some in steps] == [2, 2, 2]
    assert [step() for step in steps[0]] == [None, None], "Keras may hold its latest net, but none before"


@needs_kernels
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "muon"])
def test_every_optimizer_takes_the_gradients(optimizer: str) -> None:
    recipe = Recipe.of("cnn", optimizer=optimizer, learning_rate=0.01)
    fast = with_kernels(small_model("float32"))
    before = fast.get_weights()
    fast.compile(optimizer=optimizer_of(recipe, steps_per_epoch=2), loss="binary_crossentropy")
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (8, 24, 26, 1), dtype=np.uint8)
    fast.fit(x, draw.integers(0, 2, (8, 1)), batch_size=5, verbose=0)
    for one, other in zip(before, fast.get_weights(), strict=True):
        assert np.isfinite(other).all() and (one != other).any()
