"""The folder of a sweep: one reader for searches, leaderboard and status."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_by_hand import answers, labels, write_sweep

from housetrain.errors import IncompleteError
from housetrain.sweeps.folder import SweepFolder
from housetrain.system import store


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    outputs = [answers(labels(), right=0.8)]
    cells = {
        "done": {"outputs": outputs, "losses": [0.9, 0.8]},
        "stopped": {"outputs": outputs, "dropped": "others were better"},
        "broken": {"failed": "not a number"},
        "waiting": {},
    }
    return SweepFolder(write_sweep(tmp_path / "s", cells, infeasible={"huge": "too many convolutions"}))


RECIPE = {"epochs": 1, "batch_size": 8}


def test_trials_are_those_of_the_request_then_the_proposed_ones(sweep: SweepFolder) -> None:
    store.append_line(
        sweep.path / "asked.jsonl", {"name": "new", "group": "new", "recipe": RECIPE, "params": {"conv": 1}}
    )
    trials = sweep.trials()
    assert [trial.name for trial in trials] == ["done", "stopped", "broken", "waiting", "huge", "new"]
    assert [trial.name for trial in trials if trial.infeasible] == ["huge"]
    assert sweep.proposed()[0]["params"] == {"conv": 1} and not sweep.complete
    assert (sweep.labels() == labels()).all()


def test_which_trials_need_no_more_training(sweep: SweepFolder) -> None:
    assert [trial.name for trial in sweep.trials() if sweep.finished(trial.name)] == ["done", "stopped", "broken"]
    sweep.drop(2, ["waiting", "stopped"], kept=["done"])
    assert sweep.finished("waiting") and sweep.dropped["waiting"] == "after 2 epochs others were better"
    assert SweepFolder(sweep.path).dropped == sweep.dropped and sweep.dropped["stopped"] == "others were better"


def test_the_best_loss_of_the_first_epochs(sweep: SweepFolder) -> None:
    history = [row["val_loss"] for row in sweep.run("done").history]
    assert sweep.best("done", 1) == 0.9 and sweep.best("done", 2) == 0.8 and sweep.best("done", 3) == min(history)
    assert sweep.best("done", 9) == min(history), "early stopping ended it: its best epoch counts"
    assert sweep.best("stopped", 2) is None, "it has trained one epoch only"
    assert sweep.best("broken", 1) is None and sweep.best("waiting", 1) is None


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="not a sweep folder"):
        SweepFolder(tmp_path).trials()
    with pytest.raises(IncompleteError, match="no such sweep"):
        SweepFolder(tmp_path / "gone").trials()
