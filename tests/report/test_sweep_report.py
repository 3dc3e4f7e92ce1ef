"""The page of a sweep: its tables, and that it holds everything it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sweep_by_hand import answers, labels, write_sweep

from housetrain.report.sweep_report import section_of, write_leaderboard
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.system import store
from housetrain.training.run import Run

TRUTH = labels()


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    """Six cells; more nodes do better, dense does nothing."""
    cells = {
        f"{nodes}-{dense}": {
            "recipe": {"nodes": nodes, "dense": dense},
            "outputs": [answers(TRUTH, right=0.6 + nodes / 500, seed=nodes)],
        }
        for nodes in (32, 64, 128)
        for dense in (0, 1)
    }
    cells["<b>&"] = {"recipe": {"nodes": 16}, "failed": "the loss is <not> a number"}
    return leaderboard(write_sweep(tmp_path / "s", cells, infeasible={"9-conv": "too many"}))


def test_the_page_is_self_contained_and_agrees_with_the_leaderboard(board: Leaderboard) -> None:
    page = write_leaderboard(board).read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page) and "<b>&" not in page
    for row in board.ranked:
        assert f"{row.val_loss:.4f}" in page and row.name in page
    for words in ("Parallel coordinates", "Effect of each setting", "9-conv", "too many", "&lt;not&gt; a number"):
        assert words in page
    assert page.count('class="thread') >= len(board.ranked)
    assert "The test split was not opened" in page
    assert "Validation loss of all 6" in page and "Validation accuracy of all 6" in page


def test_a_run_of_a_finished_sweep_says_why_it_was_chosen(board: Leaderboard) -> None:
    run = board.best_run
    assert section_of(run) is None, "the sweep is not finished"
    store.write_json_atomic(board.folder / "leaderboard.json", {})
    found = section_of(run)
    assert "lowest validation loss of the 6 models" in found["why"] and len(found["top"]) == 5
    other = section_of(board.run_of(board.ranked[2]))
    assert "ranks 3 of 6" in other["why"]
    assert section_of(Run(board.folder)) is None
