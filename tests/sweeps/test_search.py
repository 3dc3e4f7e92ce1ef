"""Searches: the order of a grid, and successive halving that does not depend on speed."""

from __future__ import annotations

from pathlib import Path

from sweeps.fakes import Fake, small

from housetrain.data.prepare import Prepared
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.executors import Outcome
from housetrain.sweeps.plan import plan
from housetrain.sweeps.search import rungs


def test_the_longest_trials_begin_first_and_no_more_than_there_are_slots(digits: Prepared, tmp_path: Path) -> None:
    executor = Fake(slots=3)
    sweep(digits, small(), tmp_path / "s", executor=executor)
    names = [job["name"] for job in executor.given]
    assert names[0] == "2-conv-8-nodes-0-dense" and names[-1] == "1-conv-4-nodes-0-dense"
    assert executor.most == 3


def test_rungs() -> None:
    assert rungs(10) == [1, 3, 10]
    assert rungs(10, first=2) == [3, 10]
    assert rungs(1) == [1]
    assert rungs(27) == [1, 3, 9, 27]


def test_halving_finds_the_same_best_with_a_fraction_of_the_epochs(digits: Prepared, tmp_path: Path) -> None:
    grid = small(conv=(1, 2), nodes=(4, 8, 16), epochs=9)
    whole = sweep(digits, grid, tmp_path / "all", executor=Fake())
    executor = Fake()
    board = sweep(digits, plan(grid, halving=True), tmp_path / "half", executor=executor)
    assert board.best.name == whole.best.name
    assert [row.state for row in board.rows].count("pruned") == 5
    trained = sum(row.epochs for row in board.rows)
    assert trained == 6 * 1 + 2 * 2 + 1 * 6
    assert board.epochs_saved == 6 * 9 - trained and f"saved {board.epochs_saved} of 54 epochs" in board.summary()
    again = Fake()
    assert sweep(digits, plan(grid, halving=True), tmp_path / "half", executor=again) == board and not again.given


def test_halving_decides_the_same_whoever_is_quicker_and_however_often_it_is_stopped(
    digits: Prepared, tmp_path: Path
) -> None:
    grid = plan(small(conv=(1, 2), nodes=(4, 8, 16), epochs=9), halving=True)
    straight = sweep(digits, grid, tmp_path / "a", executor=Fake(slots=1))

    class Last(Fake):
        """Ends the last of its jobs first, and is stopped again and again."""

        def poll(self, timeout_s: float) -> list[Outcome]:
            if len(self.given) == 5:
                raise KeyboardInterrupt
            return [self.script(self._waiting.pop())]

    for _ in range(12):
        try:
            board = sweep(digits, grid, tmp_path / "b", executor=Last(slots=3))
            break
        except KeyboardInterrupt:
            continue
    facts = [(row.name, row.state, row.epochs, row.val_loss) for row in board.rows]
    assert facts == [(row.name, row.state, row.epochs, row.val_loss) for row in straight.rows]
