"""One split at several sizes: trials of a sweep get the images they ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sweeps.fakes import Fake, small

import housetrain as ht
from housetrain.data.prepare import Prepared
from housetrain.errors import RecipeError
from housetrain.models.recipe import Recipe
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.preparations import preparations


def test_trials_train_on_images_of_the_size_they_ask_for(digits: Prepared, tmp_path: Path) -> None:
    executor = Fake()
    grid = small(conv=(1,), nodes=(4,), image_size=(12, 24))
    board = sweep(digits, grid, tmp_path / "s", executor=executor)
    assert board.complete and [row.settings for row in board.rows] == [{"image_size": 12}, {"image_size": 24}]
    made = {job["recipe"]["image_size"]: Prepared.open(job["prepared"]) for job in executor.given}
    assert made[12].folder == digits.folder and made[24].spec.shape == (24, 24, 1)
    assert made[24].split.rows == digits.split.rows, "the same images validate both"
    assert {job["data"] for job in executor.given} == {one.fingerprint for one in made.values()}
    again = Fake()
    assert sweep(digits, grid, tmp_path / "s", executor=again) == board and not again.given


def test_images_from_arrays_have_one_size(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = [(random.integers(0, 255, (40, 12, 12), dtype=np.uint8), np.arange(40) % 2) for _ in range(2)]
    prepared = ht.Prepared.from_arrays(arrays[0], arrays[1], folder=tmp_path / "arrays")
    assert list(preparations(prepared, [Recipe.of("mlp"), Recipe.of("mlp", image_size=12)])) == [prepared.spec]
    with pytest.raises(RecipeError, match="one size and color"):
        preparations(prepared, [Recipe.of("mlp", image_size=24)])
