"""A checkpoint brings everything back, or says that it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import keras  # noqa: TID253 - these tests are about Keras
import numpy as np
import pytest

from housetrain.errors import CorruptError
from housetrain.training import checkpoint


def model_of(units: int = 4, *, ema: bool = False) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(units),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05, use_ema=ema, ema_momentum=0.5), "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


def step(model: keras.Model, times: int = 1) -> None:
    rng = np.random.default_rng(0)
    for _ in range(times):
        model.train_on_batch(rng.normal(size=(8, 3)), rng.normal(size=(8, 1)))


def everything(model: keras.Model) -> list[np.ndarray]:
    return [v.numpy() for v in [*checkpoint._state_variables(model), *model.optimizer.variables]]


def test_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    model = model_of(ema=True)
    step(model, 3)
    checkpoint.save(tmp_path, 1, model=model, improved=True, state={"history": [1], "best": {}})
    step(model, 4)
    other = model_of(ema=True)
    step(other, 1)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert (found.epoch, found.state) == (1, {"history": [1], "best": {}})
    found.restore(other)
    step(other, 4)
    pairs = list(zip(everything(model), everything(other), strict=True))
    assert len(pairs) > 20  # weights, statistics, the dropout's generator, moments, averages, step count
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@pytest.mark.parametrize("ema", [False, True])
def test_the_best_weights_are_carried_along(tmp_path: Path, ema: bool) -> None:
    model = model_of(ema=ema)
    step(model, 2)
    best = model.get_weights()
    if ema:
        averages = [v.numpy() for v in model.optimizer._model_variables_moving_average]
        best = [*averages[:4], *best[4:6], *averages[4:]]
    checkpoint.save(tmp_path, 1, model=model, improved=True, state={})
    for epoch in (2, 3, 4):
        step(model)
        checkpoint.save(tmp_path, epoch, model=model, improved=False, state={})
    assert [folder.name for folder in sorted(tmp_path.iterdir())] == ["epoch-000003", "epoch-000004"]
    found = checkpoint.newest(tmp_path)
    assert found is not None
    other = model_of()
    found.restore_best(other)
    for got, wanted in zip(other.get_weights(), best, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    model = model_of()
    for epoch in (1, 2):
        checkpoint.save(tmp_path, epoch, model=model, improved=epoch == 1, state={})
    data = bytearray((tmp_path / "epoch-000002" / "optimizer.bin").read_bytes())
    data[5] ^= 1
    (tmp_path / "epoch-000002" / "optimizer.bin").write_bytes(data)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.epoch == 1
    assert (tmp_path / "epoch-000002.corrupt").is_dir()


def test_another_net_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, model=model_of(4), improved=True, state={})
    found = checkpoint.newest(tmp_path)
    assert found is not None
    with pytest.raises(CorruptError, match="another model"):
        found.restore(model_of(5))


def test_nothing_in_it_needs_pickle(tmp_path: Path) -> None:
    folder = checkpoint.save(tmp_path, 1, model=model_of(), improved=True, state={})
    assert sorted(item.name for item in folder.iterdir()) == [
        "best.bin",
        "manifest.json",
        "model.bin",
        "optimizer.bin",
        "state.json",
    ]
    index = json.loads((folder / "state.json").read_text())["index"]
    for name, entries in index.items():
        size = sum(int(np.prod(e["shape"])) * np.dtype(e["dtype"]).itemsize for e in entries)
        assert size == (folder / f"{name}.bin").stat().st_size


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.link", refuse)
    model = model_of()
    for epoch in (1, 2):
        checkpoint.save(tmp_path, epoch, model=model, improved=epoch == 1, state={})
        step(model)
    assert (tmp_path / "epoch-000002" / "best.bin").read_bytes() == (
        tmp_path / "epoch-000001" / "best.bin"
    ).read_bytes()
