"""The status of a sweep: done, running, time left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sweep_by_hand import SPEC, answers, labels, write_sweep

from housetrain.models.recipe import Recipe
from housetrain.sweeps.status import look, work
from housetrain.sweeps.trial import Trial
from housetrain.system import store
from housetrain.system.lock import Lock


def cell(right: float, *, seed: int, **recipe: Any) -> dict[str, Any]:
    return {"recipe": recipe, "outputs": [answers(labels(), right=right, seed=seed)]}


def test_the_time_left_is_that_of_the_work_left(tmp_path: Path) -> None:
    cells = {name: cell(0.8, seed=n, nodes=32) for n, name in enumerate("abc")}
    folder = write_sweep(tmp_path / "s", {**cells, "d": {"recipe": {"nodes": 32}}})
    snapshot = look(folder)
    assert (snapshot.done, snapshot.total, snapshot.live) == (3, 4, ())
    assert snapshot.eta_s == pytest.approx(6.0), "three trials took 2 s an epoch"
    whole = look(write_sweep(tmp_path / "t", cells))
    assert whole.eta_s == 0.0 and whole.done == whole.total == 3


def test_work_orders_trials_as_they_take_time() -> None:
    def trial(**settings: int) -> Trial:
        return Trial.of("x", Recipe.of("cnn", **settings), spec=SPEC, classes=2)

    order = [trial(conv=1, nodes=32), trial(conv=1, nodes=64), trial(conv=3, nodes=64), trial(conv=3, nodes=128)]
    seconds = [work(one, 5600) for one in order]
    assert seconds == sorted(seconds)
    assert work(trial(conv=1, nodes=128, dense=2), 5600) > work(trial(conv=1, nodes=128), 5600), "9.4 million weights"


def test_a_running_trial_shows_how_far_it_is(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", {"a": cell(0.8, seed=0), "b": {"recipe": {}}})
    run = folder / "trials" / "b"
    progress = {"epoch": 2, "step": 5, "steps": 20, "images_per_s": 123.0, "time": time.time()}
    with Lock(run):
        row = {"epoch": 1, "loss": 0.6, "accuracy": 0.7, "val_loss": 0.5, "val_accuracy": 0.75, "seconds": 2.0}
        store.append_line(run / "history.jsonl", row)
        store.write_json_atomic(run / "progress.json", progress)
        [live] = look(folder).live
        assert live == ("b", 2, 3, 0.25, 0.5, 123.0)
        store.write_json_atomic(run / "progress.json", {**progress, "time": time.time() - 60})
        assert look(folder).live == (), "a progress file that is out of date"
    store.write_json_atomic(run / "progress.json", progress)
    assert look(folder).live == (), "no process holds the run"
