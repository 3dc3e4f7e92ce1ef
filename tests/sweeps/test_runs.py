"""The list of runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from handmade_runs import MakeRun

import housetrain as ht
from housetrain.errors import FolderError, RecipeError


@pytest.fixture
def folder(make_run: MakeRun, tmp_path: Path) -> Path:
    """Three runs: one tested, one with fewer epochs, one as a trial of a sweep; and what is not a run."""
    first = make_run().folder
    place = tmp_path / "runs"
    place.mkdir()
    for number, (name, epochs) in enumerate([("pets", 40), ("pets-2", 7), ("sweep/trials/a", 40)]):
        to = place / name
        shutil.copytree(first, to)
        recipe = {**ht.Recipe.of("cnn").to_json(), "epochs": epochs}
        (to / "recipe.json").write_text(json.dumps(recipe))
        result = json.loads((to / "result.json").read_text())
        (to / "result.json").write_text(json.dumps({**result, "val_loss": 0.3 - number / 10}))
    (place / "notes").mkdir()
    return place


def test_each_run_is_a_row_with_the_settings_that_differ(folder: Path) -> None:
    usual = ht.Recipe.of("cnn").epochs
    rows = {row.name: row for row in ht.runs(folder)}
    assert set(rows) == {"pets", "pets-2", "sweep/trials/a"}
    assert rows["pets-2"].settings == {"epochs": 7}
    assert rows["pets"].settings == ({} if usual == 40 else {"epochs": 40})
    assert {row.model for row in rows.values()} == {"cnn"} and {row.state for row in rows.values()} == {"complete"}


def test_rows_are_sorted_and_those_without_a_value_come_last(folder: Path) -> None:
    (folder / "pets-2" / "result.json").unlink()
    (folder / "pets-2" / "history.jsonl").unlink()
    assert [row.name for row in ht.runs(folder, sort="val_loss")] == ["sweep/trials/a", "pets", "pets-2"]
    assert [row.name for row in ht.runs(folder, sort="name")] == ["pets", "pets-2", "sweep/trials/a"]
    os.utime(folder / "pets" / "recipe.json", (4e9, 4e9))
    assert ht.runs(folder)[0].name == "pets" and ht.runs(folder)[0].when.startswith("2096-")


def test_a_damaged_run_is_named_and_hides_no_other(folder: Path) -> None:
    (folder / "pets" / "result.json").write_text("{")
    rows = {row.name: row for row in ht.runs(folder)}
    assert rows["pets"].state == "unreadable" and "result.json" in rows["pets"].settings["reason"]
    assert rows["pets-2"].state == "complete"


def test_one_run_and_one_sweep_can_be_listed(folder: Path) -> None:
    assert [row.name for row in ht.runs(folder / "pets")] == ["pets"]
    assert [row.name for row in ht.runs(folder / "sweep")] == ["trials/a"]


def test_bad_input_is_refused(folder: Path) -> None:
    with pytest.raises(FolderError, match="no folder of runs"):
        ht.runs(folder / "none")
    with pytest.raises(RecipeError, match="Unknown sort order"):
        ht.runs(folder, sort="luck")
