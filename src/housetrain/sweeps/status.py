"""The status of a sweep: what is training, how far it is, how long the rest will take.

In: a sweep folder. Out: a `Snapshot`. It only reads, so any process may watch a sweep that another one drives.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from housetrain.sweeps.folder import Trial, read_sweep, trials_of
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.training.run import Run

_FLOPS_A_SECOND = 60e9  # of one core; only the ratio to the next line matters, and only for the order and the time left
_WEIGHTS_A_SECOND = 0.35e9  # weights that one core's Adam updates
_TRIAL_S = 2.0  # to build a model, trace it, save it
_FRESH_S = 30.0  # a progress.json older than this is out of date


class Live(NamedTuple):
    """A running trial.

    Attributes:
        name: The trial's.
        epoch: The current epoch, from 1.
        epochs: Planned.
        share: Finished share of that epoch, in [0, 1].
        val_loss: Best so far, ``None`` before the first epoch is done.
        images_per_s: Now.
    """

    name: str
    epoch: int
    epochs: int
    share: float
    val_loss: float | None
    images_per_s: float


class Snapshot(NamedTuple):
    """A sweep at one moment.

    Attributes:
        board: The leaderboard so far.
        live: The running trials.
        done: Trials that need no more training.
        total: Trials planned.
        eta_s: Seconds to the end, ``None`` before anything is known.
    """

    board: Leaderboard
    live: tuple[Live, ...]
    done: int
    total: int
    eta_s: float | None


def work(trial: Trial, images: int) -> float:
    """Return an estimate of the seconds that a trial takes one core, to order trials and to estimate the time left.

    Args:
        trial: With its cost; a typical one is assumed where it is not known.
        images: Training images.
    """
    epochs, batch = int(trial.recipe["epochs"]), int(trial.recipe["batch_size"])
    # A backward pass costs twice a forward one.
    a_image = 3 * (trial.flops or 20_000_000) / _FLOPS_A_SECOND
    a_step = (trial.parameters or 100_000) / _WEIGHTS_A_SECOND
    return _TRIAL_S + epochs * images * (a_image + a_step / batch)


def look(folder: Path | str) -> Snapshot:
    """Read a sweep folder as it is now.

    Raises:
        IncompleteError: It is not a sweep folder.
    """
    folder = Path(folder)
    sweep, board = read_sweep(folder), leaderboard(folder)
    trials = trials_of(folder, sweep)
    total = max(len(trials), int(sweep["search"].get("count") or 0) - len(board.infeasible))
    over = {name for row in board.rows if row.state in ("complete", "pruned", "failed") for name in row.runs}
    live, worked, seconds, left = [], 0.0, 0.0, 0.0
    for trial in trials:
        run = Run(folder / "trials" / trial.name)
        whole = work(trial, int(sweep["images"]))
        history = run.history
        share = 1.0 if trial.name in over and run.complete else len(history) / int(trial.recipe["epochs"])
        worked += whole * share
        seconds += sum(float(row["seconds"]) for row in history)
        if trial.name not in over and not run.complete:
            left += whole * (1 - share)
            if (now := _live(trial, run, history)) is not None:
                live.append(now)
    if len(trials) < total:
        left += (total - len(trials)) * (worked + left) / max(1, len(trials))
    eta = left * seconds / worked / max(1, len(live)) if worked and seconds else None
    return Snapshot(board, tuple(live), len(over), total, eta)


def _live(trial: Trial, run: Run, history: Sequence[Mapping[str, Any]]) -> Live | None:
    progress = run.progress
    if progress is None or time.time() - float(progress.get("time", 0.0)) > _FRESH_S or run.state != "running":
        return None
    losses = [float(row["val_loss"]) for row in history if row.get("val_loss") is not None]
    return Live(
        trial.name,
        int(progress.get("epoch", 1)),
        int(trial.recipe["epochs"]),
        float(progress.get("step", 0)) / max(1, int(progress.get("steps", 1))),
        min(losses) if losses else None,
        float(progress.get("images_per_s") or 0.0),
    )
