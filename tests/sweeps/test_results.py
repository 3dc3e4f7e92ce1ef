"""Results: what run folders say of trials, and the losses of their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sweep_by_hand import answers, labels, write_sweep

from housetrain.sweeps.folder import SweepFolder
from housetrain.sweeps.results import RunResult, TrialGroup, TrialResult, differing_in


def read(folder: Path) -> list[TrialResult]:
    sweep = SweepFolder(folder)
    return [TrialResult.read(sweep, trial) for trial in sweep.trials()]


def test_a_run_is_its_best_epoch_and_its_costs(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", {"a": {"outputs": [answers(labels(), right=0.8)], "losses": [0.1, 0.9]}})
    [one] = read(folder)
    result = one.result
    assert (one.state, one.reason, result.best["epoch"], result.epochs, result.planned) == ("complete", "", 1, 3, 3)
    assert (result.seconds, result.images_per_s, result.model_bytes, result.latency_ms) == (7.0, 500.0, 1000, 1.5)
    assert result.parameters == one.trial.parameters, "what is known before counts more than the run's own"
    empty = RunResult.read(SweepFolder(folder).run("gone"))
    assert empty.best is None and empty.epochs == 0 and empty.seconds is None


def test_seeds_are_one_group(tmp_path: Path) -> None:
    outputs = [answers(labels(), right=right, seed=seed) for seed, right in enumerate((0.7, 0.9))]
    results = read(write_sweep(tmp_path / "s", {"a": {"outputs": outputs}}))
    group = TrialGroup("a", results, ["nodes"])
    assert [run.name for run, _ in group.scored] == ["a-seed-1", "a-seed-0"], "the best seed first"
    row = group.row()
    assert row.runs == ("a-seed-1", "a-seed-0") and row.epochs == 6 and row.seconds == 14.0
    given = [np.where(labels() == 1, one[:, 0], 1 - one[:, 0]) for one in outputs]
    found = group.on_images(labels())
    assert found is not None
    assert found.losses == pytest.approx(np.mean([-np.log(one) for one in given], axis=0), rel=1e-5)
    assert found.correct.mean() == pytest.approx(0.8) and set(found.correct) <= {0.0, 0.5, 1.0}
    (results[0].result.run.folder / "validation.npy").unlink()
    assert group.on_images(labels()) is None, "not of one seed only"


def test_the_group_is_as_far_as_its_slowest_trial(tmp_path: Path) -> None:
    cells = {"a": {"outputs": [answers(labels(), right=0.8)]}, "b": {}, "c": {"failed": "NaN"}}
    done, waiting, failed = read(write_sweep(tmp_path / "s", cells))
    assert [one.state for one in (done, waiting, failed)] == ["complete", "waiting", "failed"]
    assert TrialGroup("x", [done, waiting], []).state == "waiting"
    assert TrialGroup("x", [done, failed], []).state == "complete"
    assert TrialGroup("x", [failed, done], []).row().reason == "NaN"


def test_settings_that_differ() -> None:
    recipes = [
        {"conv": 1, "nodes": 8, "seed": 0},
        {"conv": 2, "nodes": 8, "seed": 1},
        {"conv": 2, "nodes": 8, "new": 1},
    ]
    assert differing_in(recipes) == ["conv", "new"]
