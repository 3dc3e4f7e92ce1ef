"""The summary of a leaderboard: one sentence each, and no luck where there was no choice."""

from __future__ import annotations

from pathlib import Path

from sweep_by_hand import answers, labels, write_sweep

from housetrain.sweeps.leaderboard import leaderboard
from housetrain.sweeps.summary import luck_of, sentences


def test_the_luck_is_a_sentence_of_its_own(tmp_path: Path) -> None:
    cells = {f"m{n}": {"recipe": {"nodes": 8 + n}, "outputs": [answers(labels(), right=0.8, seed=n)]} for n in range(3)}
    board = leaderboard(write_sweep(tmp_path / "s", cells))
    lines = list(sentences(board))
    assert lines[0] == "3 models are trained." and " ".join(lines) == board.summary()
    assert [line for line in lines if line.startswith(luck_of(board))] != [] and "among 3" in luck_of(board)


def test_one_model_was_not_chosen(tmp_path: Path) -> None:
    board = leaderboard(write_sweep(tmp_path / "s", {"one": {"outputs": [answers(labels(), right=0.8)]}}))
    assert luck_of(board) == "" and "new images" not in board.summary()
