"""The status of a sweep: what is training, how far it is, how long the rest will take.

In: a sweep folder. Out: a `Snapshot`. It only reads, so any process may watch a sweep that another one drives.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from housetrain.sweeps.folder import SweepFolder
from housetrain.sweeps.leaderboard import Leaderboard, ranked
from housetrain.sweeps.results import OVER, TrialResult
from housetrain.sweeps.trial import Trial

_FLOPS_PER_SECOND = 60e9  # of one core; only the ratio to the next line matters
_PARAMETERS_PER_SECOND = 0.35e9  # parameters that one core's Adam updates
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
    a_image = 3 * (trial.flops or 20_000_000) / _FLOPS_PER_SECOND
    a_step = (trial.parameters or 100_000) / _PARAMETERS_PER_SECOND
    return _TRIAL_S + epochs * images * (a_image + a_step / batch)


def look(folder: Path | str) -> Snapshot:
    """Read a sweep folder as it is now.

    Raises:
        IncompleteError: It is not a sweep folder.
    """
    sweep = SweepFolder(Path(folder))
    trials = sweep.trials()
    results = [TrialResult.read(sweep, trial) for trial in trials if not trial.infeasible]
    board = ranked(sweep, trials, results)
    total = max(len(results), int(sweep.request["search"].get("count") or 0) - len(board.infeasible))
    live, done, worked, seconds, left = [], 0, 0.0, 0.0, 0.0
    for result in results:
        whole = work(result.trial, int(sweep.request["images"]))
        finished = result.state in OVER
        done += finished
        share = 1.0 if result.state == "complete" else len(result.result.history) / result.result.planned
        worked += whole * share
        seconds += sum(float(row.get("seconds", 0.0)) for row in result.result.history)
        if not finished:
            left += whole * (1 - share)
            if (now := _live(result)) is not None:
                live.append(now)
    if len(results) < total:
        left += (total - len(results)) * (worked + left) / max(1, len(results))
    eta = left * seconds / worked / max(1, len(live)) if worked and seconds else None
    return Snapshot(board, tuple(live), done, total, eta)


def _live(result: TrialResult) -> Live | None:
    progress = result.result.run.progress
    if result.state != "running" or progress is None or time.time() - float(progress.get("time", 0.0)) > _FRESH_S:
        return None
    best = result.result.best
    return Live(
        result.trial.name,
        int(progress.get("epoch", 1)),
        result.result.planned,
        float(progress.get("step", 0)) / max(1, int(progress.get("steps", 1))),
        float(best["val_loss"]) if best else None,
        float(progress.get("images_per_s") or 0.0),
    )
