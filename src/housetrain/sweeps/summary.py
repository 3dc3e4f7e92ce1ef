"""The summary of a leaderboard in sentences, luck included.

In: a `Leaderboard`. Out: text. It computes nothing that the leaderboard does not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from housetrain.sweeps.results import FINISHED, Row
from housetrain.system.text import format_count, format_percent

if TYPE_CHECKING:
    from housetrain.sweeps.leaderboard import Leaderboard


def sentences(board: Leaderboard) -> Iterable[str]:
    """Yield the summary of a sweep, a sentence or two at a time."""
    states = [row.state for row in board.rows]
    done = sum(state in FINISHED for state in states)
    failed, unfinished = states.count("failed"), len(states) - done - states.count("failed")
    counted = f"{done} of {len(states)} models are" if done < len(states) else _plural(done, "model is", "models are")
    counted += " trained"
    counted += f", {failed} failed" if failed else ""
    counted += f", {unfinished} not finished" if unfinished else ""
    if board.infeasible:
        counted += f"; {_plural(len(board.infeasible), 'trial does', 'trials do')} not fit the images"
    yield counted + "."
    if not board.ranked:
        return
    best, tied, small = board.best, board.tied, board.smallest_within_one_se
    yield f"The best by validation loss is {best.name}: {_loss(best)}, accuracy {_accuracy(best)}."
    if len(tied) > 1:
        others = tied[1].name if len(tied) == 2 else f"{len(tied) - 1} others"
        yield f"{others} {'is' if len(tied) == 2 else 'are'} not shown to be worse: chance can explain the order."
    if small.name != best.name and small.parameters and best.parameters:
        counts = f"{small.parameters:,} parameters instead of {best.parameters:,}"
        yield f"The smallest within one standard error of the best is {small.name}, with {counts}."
    yield from _warnings(board)
    if board.epochs_saved and board.search != "grid":
        planned = sum(row.planned for row in board.rows if row.state in FINISHED)
        yield f"Early stopping of weaker trials saved {board.epochs_saved} of {format_count(planned, 'epoch')}."


def _warnings(board: Leaderboard) -> Iterable[str]:
    if not board.beats_majority:
        count = board.needed
        needed = "" if count is None else f" (that takes {count:,} correct, {format_percent(count / board.images)})"
        yield (
            f"No model beats the majority-class baseline: always predicting “{board.majority}” has accuracy "
            f"{format_percent(board.majority_share)} on the {board.images:,} validation images, and no model is "
            f"significantly above it{needed}. Try more epochs, larger images or a pretrained model, and check "
            "the labels."
        )
    elif luck := luck_of(board):
        yield f"{luck}. The test split, which chose nothing, gives an unbiased accuracy."
    elif board.optimism:
        yield (
            f"The best of {len(board.ranked)} models looks better than it is: if all were equally good, chance alone "
            f"would put the lowest validation loss about {board.optimism:.4f} too low. The test split, which chose "
            "nothing, gives an unbiased accuracy."
        )


def luck_of(board: Leaderboard) -> str:
    """Return the best model's validation accuracy with and without the luck in choosing it; empty if not known."""
    if (found := board.expected) is None:
        return ""
    return (
        f"Validation accuracy {format_percent(board.best.val_accuracy)}; expected on new images after choosing among "
        f"{found.chosen_among}: {format_percent(found.val_accuracy)}"
    )


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _loss(row: Row) -> str:
    error = f" ± {row.val_loss_error:.4f}" if row.val_loss_error is not None else ""
    return f"{row.val_loss:.4f}{error}"


def _accuracy(row: Row) -> str:
    error = f" ± {format_percent(row.val_accuracy_error)}" if row.val_accuracy_error is not None else ""
    return f"{format_percent(row.val_accuracy)}{error}"
