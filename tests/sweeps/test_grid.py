"""Grids: names, order, and all problems at once."""

from __future__ import annotations

import pytest

from housetrain.errors import RecipeError
from housetrain.sweeps.grid import Grid


def test_lists_are_axes_and_single_values_apply_to_all() -> None:
    grid = Grid(conv=(2, 3), nodes=(8,), dense=(0,), learning_rate=(1e-3, 3e-4), epochs=4)
    assert list(grid.recipes()) == [
        "2-conv-8-nodes-0-dense-learning_rate-0.001", "2-conv-8-nodes-0-dense-learning_rate-0.0003",
        "3-conv-8-nodes-0-dense-learning_rate-0.001", "3-conv-8-nodes-0-dense-learning_rate-0.0003",
    ]  # fmt: skip
    assert {recipe.epochs for recipe in grid.recipes().values()} == {4} and len(grid) == 4


def test_seeds_are_innermost_and_in_the_names() -> None:
    grid = Grid(conv=(1,), nodes=(8,), dense=(0, 1), seeds=2, seed=5)
    assert [(recipe.dense, recipe.seed) for recipe in grid.recipes().values()] == [(0, 5), (0, 6), (1, 5), (1, 6)]
    assert [name.rpartition("-seed-")[2] for name in grid.recipes()] == ["5", "6", "5", "6"]


def test_a_grid_survives_json() -> None:
    grid = Grid(model="deep", learning_rate=(1e-3, 1e-4), seeds=(1, 4), epochs=2)
    assert Grid.from_json(grid.to_json()).recipes() == grid.recipes()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"conv": ()}, "conv: an axis without values"),
        ({"seeds": ()}, "seeds: at least one"),
        ({"nodes": (32, 32)}, "the same trial twice"),
        ({"epochs": 0}, "epochs"),
        ({"learningrate": (1e-3, 1e-4)}, "learning_rate"),
    ],
)
def test_every_problem_is_named_before_anything_is_trained(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        Grid(**settings)
