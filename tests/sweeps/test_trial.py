"""Trials: what is known before, what is kept, and errors that are outcomes."""

from __future__ import annotations

import json
from pathlib import Path

from sweep_by_hand import SPEC
from sweeps.fakes import small

from housetrain.data.prepare import Prepared
from housetrain.models.recipe import Recipe
from housetrain.sweeps.trial import Trial, fail, run_trial
from housetrain.training.run import Run


def test_feasibility_and_cost_are_part_of_a_trial_and_survive_json() -> None:
    fits = Trial.of("a", Recipe.of("cnn", conv=2), spec=SPEC, classes=2, group="g")
    assert fits.group == "g" and not fits.infeasible and fits.parameters > 0 and fits.flops > 0
    unfit = Trial.of("b", Recipe.of("cnn", conv=7), spec=SPEC, classes=2)
    assert "7" in unfit.infeasible and unfit.parameters is None and unfit.group == "b"
    for trial in (fits, unfit):
        assert Trial.from_json({**json.loads(json.dumps(trial.to_json())), "params": {}}) == trial
    assert "infeasible" not in fits.to_json() and "flops" not in unfit.to_json()


def test_an_error_is_an_outcome_and_kept_in_the_run(digits: Prepared, tmp_path: Path) -> None:
    recipe = next(iter(small().recipes().values()))
    request = {"name": "x", "prepared": str(digits.folder), "recipe": recipe.to_json(), "until": None}
    changed = run_trial({**request, "data": "other images", "folder": str(tmp_path / "changed")})
    assert changed["state"] == "failed" and "have changed" in changed["reason"]
    assert Run(tmp_path / "changed").failure == changed["reason"]
    wrong = run_trial(
        {**request, "data": digits.fingerprint, "recipe": {"model": "none"}, "folder": str(tmp_path / "w")}
    )
    assert wrong["state"] == "failed" and "none" in wrong["reason"]
    fail(tmp_path / "w", "a second reason")
    assert Run(tmp_path / "w").failure == wrong["reason"], "the first reason is kept"
