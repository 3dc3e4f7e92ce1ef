"""Terminal output of the verbs that train: what came out, where it is, and the next command.

In: an `Outcome`, a leaderboard, a run. Out: lines on standard output. See `housetrain.cli.terminal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from housetrain.cli import terminal
from housetrain.cli.table import table
from housetrain.data.split_manifest import NO_TEST
from housetrain.system.text import format_percent

if TYPE_CHECKING:
    from housetrain.sweeps.leaderboard import Leaderboard
    from housetrain.training.run import Run
    from housetrain.workflow import Outcome


def outcome(found: Outcome) -> None:
    """Print the test result of `housetrain run` and the paths of its outputs."""
    if found.leaderboard is not None:
        terminal.leaderboard(found.leaderboard)
    if found.stages:
        columns = ("stage", "seconds", "val_loss", "val_accuracy", "gain", "")
        rows = [
            (
                row.name,
                f"{row.seconds:.0f}",
                f"{row.val_loss:.4f}",
                format_percent(row.val_accuracy),
                f"{row.gain:+.4f} ± {row.gain_error:.4f}" if number else "",
                "selected" if row.best else "",
            )
            for number, row in enumerate(found.stages)
        ]
        table("", columns, rows, right=columns[1:5])
        terminal.out("val_loss of a stage is calibrated: at the temperature that suits the validation images.")
    terminal.out("")
    terminal.out(found.evaluation.summary() if found.evaluation else validation_only(found.run))
    cross_validation(found.run)
    terminal.out("")
    if board := found.leaderboard:
        terminal.out(f"Chosen   {board.best.name}, by validation loss: {found.run.folder}")
        _sweep_places(board)
    terminal.out(f"Report   {found.report}")
    terminal.out(f"Model    {found.bundle}")
    terminal.out(f"Next     housetrain predict {terminal.quoted(found.run.folder)} PHOTO.jpg")
    terminal.out(f"         housetrain board {terminal.quoted(found.run.folder)}")


def cross_validation(run: Run) -> None:
    """Print the cross-validated accuracy, if there is one."""
    from housetrain.training.cross_validation import describe, kept

    if crossed := kept(run):
        terminal.out(f"{describe(crossed)}.")


def validation_only(run: Run) -> str:
    """Return the result of a run without test images, with the warning that belongs to it."""
    result = run.result or {}
    accuracy = format_percent(result.get("val_accuracy"))
    return f"Validation accuracy {accuracy}, loss {terminal.loss_text(result.get('val_loss'))}. {NO_TEST}."


def sweep_result(board: Leaderboard) -> None:
    """Print the leaderboard of a sweep and the paths of its outputs."""
    terminal.leaderboard(board)
    terminal.out("")
    _sweep_places(board)
    if board.ranked:
        next_step(board.best_run)
        terminal.out(f"         housetrain board {terminal.quoted(board.folder)}")


def next_step(run: Run) -> None:
    """Print the command that follows a training: the test, or a prediction where nothing was set aside for a test."""
    if run.split.of("test"):
        terminal.out(f"Next     housetrain evaluate {terminal.quoted(run.folder)}")
        return
    terminal.out(f"Note     {NO_TEST}")
    terminal.out(f"Next     housetrain evaluate {terminal.quoted(run.folder)} --on OTHER_IMAGES")


def _sweep_places(board: Leaderboard) -> None:
    terminal.out(f"Sweep    {board.folder}")
    terminal.out(f"Page     {board.folder / 'leaderboard.html'}")
