"""``bundle.json``: what is known of the model, and when its test result counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import housetrain as ht
from housetrain.exports.about import is_current
from housetrain.system.text import format_percent


def test_the_test_result_is_there_once_the_run_is_tested(digits: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(digits.run.folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    before = ht.export(folder).folder
    assert json.loads((before / "bundle.json").read_bytes())["metrics"]["test"] is None
    assert "Not tested yet" in (before / "README.md").read_text()
    evaluation = ht.evaluate(ht.Run.open(folder))
    after = ht.export(folder).folder
    assert after == before == folder / "bundle"
    kept = json.loads((after / "bundle.json").read_bytes())["metrics"]["test"]
    assert kept["accuracy"] == evaluation.accuracy and kept["n"] == evaluation.n
    assert kept["accuracy_interval"] == list(evaluation.accuracy_interval)
    assert format_percent(evaluation.accuracy) in (after / "README.md").read_text()
    assert json.loads((digits.run.folder / "recipe.json").read_bytes()) == digits.run.recipe_json


def test_a_bundle_is_current_until_the_test_result_the_model_or_a_file_changes(digits: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(digits.run.folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    run = ht.Run.open(folder)
    bundle = folder / "bundle"
    assert not is_current(bundle, run), "there is none"
    ht.export(run)
    assert is_current(bundle, run)
    ht.evaluate(run)
    assert not is_current(bundle, run), "the test result is missing in it"
    ht.export(run)
    assert is_current(bundle, run)
    golden = bundle / "golden.npz"
    golden.write_bytes(golden.read_bytes()[:-1])
    assert not is_current(bundle, run), "a file is damaged"
