"""The leaderboard: ranks, luck, and what it says of them."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from sweep_by_hand import answers, labels, write_sweep

from housetrain.errors import RecipeError
from housetrain.evaluation.statistics import at_least, expected_maximum
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.system import store

TRUTH = labels()


def cell(right: float, seed: int = 0, **recipe: object) -> dict[str, object]:
    return {"recipe": recipe, "outputs": [answers(TRUTH, right=right, seed=seed)]}


def three(folder: Path) -> Path:
    """A large best one, a small one that is hardly worse, one that is much worse."""
    good = answers(TRUTH, right=0.9, seed=1)
    right = (good[:, 0] > 0.5) == TRUTH
    others = [*np.flatnonzero(right)[:2], *np.flatnonzero(~right)[:1]]  # two answers worse, one better
    nearly = good.copy()
    nearly[others] = 1 - nearly[others]
    return write_sweep(
        folder,
        {
            "poor": cell(0.6, seed=2, nodes=64),
            "large": {"recipe": {"nodes": 128}, "outputs": [good]},
            "small": {"recipe": {"nodes": 32}, "outputs": [nearly]},
        },
        infeasible={"5-conv": "convolution 5 of 5 gets a 1x1 feature map"},
    )


def test_rows_can_be_shown_by_another_column_and_keep_their_rank(tmp_path: Path) -> None:
    board = leaderboard(three(tmp_path / "s"))
    assert [row.name for row in board.rows_by("parameters")] == ["small", "poor", "large"]
    by_accuracy = board.rows_by("val_accuracy")
    accuracies = [row.val_accuracy for row in by_accuracy]
    assert accuracies == sorted(accuracies, reverse=True) and {row.rank for row in by_accuracy} == {1, 2, 3}
    assert next(csv.DictReader(io.StringIO(board.to_csv("parameters"))))["name"] == "small"
    assert board.to_json("parameters")["rows"][0]["name"] == "small" and board.to_json()["best"] == "large"
    with pytest.raises(RecipeError, match="val_loss, val_accuracy"):
        board.rows_by("size")


def test_it_ranks_by_validation_loss_and_names_the_smallest_within_one_standard_error(tmp_path: Path) -> None:
    board = leaderboard(three(tmp_path / "s"))
    assert [(row.rank, row.name) for row in board.rows] == [(1, "large"), (2, "small"), (3, "poor")]
    assert [row.tied for row in board.rows] == [True, True, False]
    assert board.best.name == "large" and board.smallest_within_one_se.name == "small"
    assert board.smallest_within_one_se.parameters < board.best.parameters
    losses = [-np.log(np.where(TRUTH == 1, out[:, 0], 1 - out[:, 0]).astype(float)) for out in outputs_of(board)]
    gap = losses[2] - losses[0]
    assert board.rows[2].behind == pytest.approx(gap.mean())
    assert board.rows[2].behind_error == pytest.approx(gap.std(ddof=1) / math.sqrt(len(gap)))
    assert board.best.val_loss_error == pytest.approx(losses[0].std(ddof=1) / math.sqrt(len(TRUTH)))
    said = board.summary()
    assert "small is not shown to be worse: chance can explain the order" in said
    assert "The smallest within one standard error of the best is small" in said
    assert "1 trial does not fit the images" in said
    assert "Validation accuracy 90.0 %; expected on new images after choosing among 3: " in said and "unbiased" in said


def test_the_best_comes_with_what_it_is_expected_to_give(tmp_path: Path) -> None:
    cells = {f"m{n}": cell(0.8 + 0.01 * n, seed=n, nodes=8 + n) for n in range(6)}
    board = leaderboard(write_sweep(tmp_path / "s", cells))
    kept = json.loads(json.dumps(board.to_json()))["expected"]
    assert kept["chosen_among"] == 6 and 0.8 < kept["val_accuracy"] < 0.85 and kept["val_loss"] > board.best.val_loss
    said = "Validation accuracy 85.5 %; expected on new images after choosing among 6: "
    assert f"{said}{100 * kept['val_accuracy']:.1f} %." in board.summary()
    far = leaderboard(write_sweep(tmp_path / "t", {"good": cell(0.9, seed=1), "poor": cell(0.6, seed=2, nodes=64)}))
    assert far.expected is not None and far.expected.val_accuracy == pytest.approx(0.9), "any images choose it"
    assert leaderboard(write_sweep(tmp_path / "u", {"one": cell(0.9)})).expected is None, "nothing was chosen"


def test_without_kept_outputs_the_luck_is_told_by_the_differences(tmp_path: Path) -> None:
    folder = three(tmp_path / "s")
    (folder / "trials" / "poor" / "validation.npy").unlink()
    board = leaderboard(folder)
    assert board.expected is None and board.to_json()["expected"] is None
    assert "The best of 3 models looks better than it is" in board.summary()


def outputs_of(board: Leaderboard) -> list[np.ndarray]:
    return [np.load(board.run_of(row).folder / "validation.npy") for row in board.rows]


def test_the_optimism_is_the_expected_best_of_as_many(tmp_path: Path) -> None:
    board = leaderboard(three(tmp_path / "s"))
    errors = sorted(row.behind_error for row in board.rows[1:])
    assert board.optimism == pytest.approx(expected_maximum(3) * sum(errors) / 2 / math.sqrt(2))


def test_seeds_of_a_cell_are_one_row_with_their_spread(tmp_path: Path) -> None:
    seeds = [answers(TRUTH, right=share, seed=seed) for seed, share in enumerate((0.8, 0.85, 0.9))]
    others = [answers(TRUTH, right=share, seed=seed) for seed, share in enumerate((0.60, 0.61, 0.62))]
    cells = {"a": {"outputs": seeds}, "b": {"outputs": others, "recipe": {"nodes": 32}}}
    board = leaderboard(write_sweep(tmp_path / "s", cells))
    best = board.best
    losses = [row.history[-1]["val_loss"] for row in map(board_run(board), best.runs)]
    assert best.name == "a" and len(best.runs) == 3 and losses == sorted(losses)
    assert best.val_loss == pytest.approx(np.mean(losses)) and best.spread == pytest.approx(np.std(losses, ddof=1))
    assert board.best_run.name == "a-seed-2"
    assert not board.rows[1].tied and best.epochs == best.planned == 9


def test_seeds_do_not_make_the_validation_images_more(tmp_path: Path) -> None:
    one, three = (
        leaderboard(write_sweep(tmp_path / str(count), {"a": {"outputs": [answers(TRUTH, right=0.8)] * count}}))
        for count in (1, 3)
    )
    assert three.best.val_loss_error == pytest.approx(one.best.val_loss_error), "equal seeds add no variance"
    assert three.best.val_accuracy_error == pytest.approx(math.sqrt(0.8 * 0.2 / len(TRUTH)))


def test_of_many_equal_models_none_is_called_worse(tmp_path: Path) -> None:
    cells = {str(n): cell(0.8 + 0.005 * (n % 3), seed=n, nodes=8 + n) for n in range(12)}
    board = leaderboard(write_sweep(tmp_path / "s", {**cells, "poor": cell(0.55, seed=99, nodes=64)}))
    assert [row.name for row in board.rows if not row.tied] == ["poor"]


def board_run(board: Leaderboard):  # type: ignore[no-untyped-def]
    from housetrain.training.run import Run

    return lambda name: Run.open(board.folder / "trials" / name)


def test_nothing_better_than_the_majority_class_is_said_so(tmp_path: Path) -> None:
    truth = labels(200, share=0.7)
    cells = {str(n): {"recipe": {"nodes": 8 + n}, "outputs": [answers(truth, right=0.68, seed=n)]} for n in range(6)}
    board = leaderboard(write_sweep(tmp_path / "s", cells, truth=truth))
    assert not board.beats_majority
    assert "always predicting “dog” has accuracy 70.0 %" in board.summary()
    assert "looks better than it is" not in board.summary() and "expected on new images" not in board.summary()
    needed = board.needed
    assert needed is not None and f"{needed} correct, {needed / 2:.1f} %" in board.summary()
    enough = [18 * at_least(right, 200, 0.7) <= 0.05 for right in (needed - 1, needed)]
    assert enough == [False, True]
    better = {"one": {"outputs": [answers(truth, right=0.9)]}}
    assert leaderboard(write_sweep(tmp_path / "t", better, truth=truth)).beats_majority


def test_what_was_stopped_early_stands_behind_and_what_failed_last(tmp_path: Path) -> None:
    cells = {
        "failed": {"failed": "out of memory"},
        "early": {**cell(0.95, seed=1, nodes=32), "dropped": "after 1 epoch others were better"},
        "whole": cell(0.8, seed=2, nodes=128),
        "waiting": {},
    }
    board = leaderboard(write_sweep(tmp_path / "s", cells, search="halving"))
    assert [(row.name, row.state) for row in board.rows] == [
        ("whole", "complete"), ("early", "pruned"), ("waiting", "waiting"), ("failed", "failed"),
    ]  # fmt: skip
    assert not board.rows[1].tied, "its loss is one of fewer epochs"
    assert board.epochs_saved == 2
    said = board.summary()
    assert "2 of 4 models are trained, 1 failed, 1 not finished" in said and "saved 2 of 6 epochs" in said


def test_json_and_csv_say_the_same(tmp_path: Path) -> None:
    board = leaderboard(three(tmp_path / "s"))
    value = json.loads(json.dumps(board.to_json()))
    rows = list(csv.DictReader(io.StringIO(board.to_csv())))
    assert [row["name"] for row in rows] == [row["name"] for row in value["rows"]] == ["large", "small", "poor"]
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in value["rows"]]
    assert [row["nodes"] for row in rows] == ["128", "32", "64"]
    assert value["best"] == "large" and value["smallest_within_one_se"] == "small"


def test_it_is_complete_when_its_last_file_is_there(tmp_path: Path) -> None:
    folder = three(tmp_path / "s")
    assert not leaderboard(folder).complete
    store.write_json_atomic(folder / "leaderboard.json", {})
    assert leaderboard(folder).complete


def test_a_notebook_shows_the_ranks(tmp_path: Path) -> None:
    board = leaderboard(three(tmp_path / "s"))
    assert repr(board) == f"Leaderboard({str(tmp_path / 's')!r}, 3 of 3 ranked, not complete, best large)"
    assert "<td>1</td><td>large</td>" in board._repr_html_()
