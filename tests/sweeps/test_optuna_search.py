"""The search with Optuna: resumable, and no invalid space."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeps.fakes import Fake

from housetrain.data.prepare import Prepared
from housetrain.errors import RecipeError
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.executors import Outcome
from housetrain.sweeps.optuna_search import Range
from housetrain.sweeps.plan import plan


@pytest.mark.parametrize("halving", [False, True])
def test_optuna_searches_where_it_is_told_and_goes_on(digits: Prepared, tmp_path: Path, halving: bool) -> None:
    pytest.importorskip("optuna")
    space = {"conv": [1, 2], "nodes": [4, 8, 16], "learning_rate": Range(1e-4, 1e-2)}
    asked = plan(space=space, fixed={"epochs": 9, "dense": 0}, trials=12, halving=halving)
    straight = sweep(digits, asked, tmp_path / "a", executor=Fake(slots=1))
    rates = [row.settings["learning_rate"] for row in straight.rows]
    assert len(straight.rows) == 12 and len(set(rates)) == 12 and min(rates) >= 1e-4 and max(rates) <= 1e-2
    assert (straight.epochs_saved > 0) is halving

    class Stop(Fake):
        def poll(self, timeout_s: float) -> list[Outcome]:
            if len(self.given) == 3:
                raise KeyboardInterrupt
            return super().poll(timeout_s)

    for _ in range(40):
        try:
            board = sweep(digits, asked, tmp_path / "b", executor=Stop(slots=1))
            break
        except KeyboardInterrupt:
            continue
    assert [(row.name, row.settings, row.epochs, row.val_loss) for row in board.rows] == [
        (row.name, row.settings, row.epochs, row.val_loss) for row in straight.rows
    ]


def test_a_space_with_a_wrong_value_is_refused(digits: Prepared, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="dropout"):
        plan(space={"dropout": Range(0.0, 1.5)})
    with pytest.raises(RecipeError, match="learning_rte"):
        plan(space={"learning_rte": [1.0]})
