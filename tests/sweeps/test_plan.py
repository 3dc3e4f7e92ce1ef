"""Plans: what is asked, whether it fits the images, and whether a folder holds the same sweep."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeps.fakes import Fake, small

from housetrain.data.prepare import Prepared
from housetrain.errors import RecipeError, StoreError
from housetrain.models.recipe import Recipe
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.plan import differences, free_folder, plan, request
from housetrain.system import store


def test_the_tutorials_grid_has_27_names_and_order(digits: Prepared, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="None of the 4"):
        sweep(digits, small(conv=(3, 4)), tmp_path / "s", executor=Fake())
    assert not (tmp_path / "s").exists()
    asked = plan()
    assert len(asked.recipes) == 27
    assert list(asked.recipes)[:4] == [
        "1-conv-32-nodes-0-dense", "2-conv-32-nodes-0-dense", "3-conv-32-nodes-0-dense", "1-conv-64-nodes-0-dense",
    ]  # fmt: skip


def test_a_bad_recipe_stops_it_before_the_first_trial(digits: Prepared, tmp_path: Path) -> None:
    executor = Fake()
    for what in ({"a": Recipe.of("cnn", conv=3)}, []):
        with pytest.raises(RecipeError):
            sweep(digits, what, tmp_path / "s", executor=executor)
    assert not executor.given and not (tmp_path / "s").exists()


def test_another_sweep_in_the_same_folder_is_refused(digits: Prepared, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    sweep(digits, small(), folder, executor=Fake())
    with pytest.raises(StoreError, match="another sweep"):
        sweep(digits, small(nodes=(4, 16)), folder, executor=Fake())
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"chapter\.tex"):
        sweep(digits, small(), tmp_path / "thesis", executor=Fake())


def test_it_is_the_same_sweep_whatever_an_upgrade_changes(
    digits: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that an older recipe lacks has its default, and what is derived from the recipes does not count."""
    monkeypatch.chdir(tmp_path)
    asked, other = request(plan(small()), digits).value, request(plan(small(epochs=3)), digits).value
    folder = free_folder(digits, asked)
    board = sweep(digits, small(), executor=Fake())
    assert board.folder == folder == free_folder(digits, asked)
    kept = store.read_json(folder / "sweep.json")
    for trial in kept["trials"]:
        del trial["recipe"]["label_smoothing"]
        trial["flops"] += 1
    store.write_json_atomic(folder / "sweep.json", kept)
    assert differences(folder, asked) == [] and free_folder(digits, asked) == folder
    assert sweep(digits, small(), executor=Fake()).folder == folder
    assert "recipe of" in differences(folder, other)[0]
    assert free_folder(digits, other).name == f"{digits.folder.name}-2"
    assert differences(folder, {**asked, "data": "other"}) == ["the data differ"]
