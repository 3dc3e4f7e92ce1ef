"""Leaderboard: the trials of a sweep, ranked by what the validation images say.

In: a sweep folder, finished or not. Out: ranked rows, and the words that go with them. It never opens the test split,
does not know how trials are chosen or trained, and needs no Keras. A running sweep may be read at any time.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from housetrain.errors import IncompleteError
from housetrain.evaluation import statistics
from housetrain.sweeps.folder import Trial, dropped_in, labels_of, read_sweep, trials_of
from housetrain.sweeps.rows import FINISHED, Cell, Row, differing_in, kept_losses
from housetrain.system import store
from housetrain.training.run import Run

if TYPE_CHECKING:
    import numpy as np

SUSPICION = 0.05
"""How unlikely luck must be, over all epochs of all trials together, before a trial is said to beat the majority."""


@dataclass(frozen=True)
class Leaderboard:
    """A ranked sweep. Make one with `Leaderboard.read`.

    Attributes:
        folder: The sweep folder.
        rows: Ranked cells first, then those that failed or are still to come.
        infeasible: Cell -> why its net does not fit the images.
        images: Validation images.
        majority: The commonest class of the validation images: the best that naming one class can do.
        majority_share: Its share of them.
        search: How trials were chosen: ``grid``, ``halving`` or ``optuna``.
        complete: Whether the sweep has ended.
    """

    folder: Path
    rows: tuple[Row, ...]
    infeasible: dict[str, str]
    images: int
    majority: str
    majority_share: float
    search: str
    complete: bool

    @classmethod
    def read(cls, folder: Path | str) -> Leaderboard:
        """Read a sweep folder as it is now.

        Raises:
            IncompleteError: It is not a sweep folder.
        """
        folder = Path(folder)
        sweep = read_sweep(folder)
        cells: dict[str, list[Trial]] = {}
        for trial in trials_of(folder, sweep):
            cells.setdefault(trial.cell, []).append(trial)
        dropped = dropped_in(folder)
        differing = differing_in([trial.recipe for trials in cells.values() for trial in trials])
        read = [Cell(folder, name, trials, dropped, differing) for name, trials in cells.items()]
        return cls(
            folder,
            _ranked(read, labels_of(folder)),
            {
                **sweep["infeasible"],
                **{a["name"]: a["infeasible"] for a in store.read_lines(folder / "asked.jsonl") if a.get("infeasible")},
            },
            int(sweep["validation"]["images"]),
            str(sweep["validation"]["majority"]),
            float(sweep["validation"]["share"]),
            str(sweep["search"]["kind"]),
            (folder / "leaderboard.json").is_file(),
        )

    # ------------------------------------------------------------------------------------- the choice
    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows that have a rank, best first."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def best(self) -> Row:
        """The row of the best validation loss.

        Raises:
            IncompleteError: No trial is finished.
        """
        if not self.ranked:
            raise IncompleteError(
                "No trial of this sweep is finished", do="run the same sweep again", sweep=str(self.folder)
            )
        return self.ranked[0]

    @property
    def best_run(self) -> Run:
        """The run of the best row; with several seeds the one whose validation loss is lowest."""
        return self.run_of(self.best)

    @property
    def tied(self) -> tuple[Row, ...]:
        """The best row and all that lie within one standard error of it, best first."""
        return tuple(row for row in self.ranked if row.tied)

    @property
    def smallest_within_one_se(self) -> Row:
        """Of the rows within one standard error of the best, the one with the fewest weights.

        The one-standard-error rule: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees (1984),
        3.4.3; Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), 7.10. There the error is
        that of the best model's own score. Here all models answer the same images, so that it can be that of the
        difference, which leaves out the luck they share and is the stricter one.
        """
        return min(self.tied or (self.best,), key=lambda row: (row.parameters or math.inf, row.rank or 0))

    def run_of(self, row: Row) -> Run:
        """Return the run of a row; with several seeds the one whose validation loss is lowest."""
        return Run.open(self.folder / "trials" / row.runs[0])

    # ------------------------------------------------------------------------------------- what luck can do
    @property
    def optimism(self) -> float | None:
        """By how much the best validation loss would flatter if all ranked rows were equally good.

        The expected largest of as many draws of luck, where one draw is the error of a paired difference over the root
        of two (a difference holds the luck of two models). The differences are those to the next best few: models that
        are much worse differ from the best by more than luck.
        """
        errors = [row.behind_error for row in self.ranked[1:6] if row.behind_error]
        if not errors:
            return None
        return statistics.expected_maximum(len(self.ranked)) * median(errors) / math.sqrt(2)

    @property
    def beats_majority(self) -> bool:
        """Whether any row names more validation images rightly than always naming the commonest class would.

        An exact binomial test of the highest accuracy. Every epoch of every trial was one more chance to be lucky, so
        its probability is multiplied by their number (Bonferroni) before it is held against `SUSPICION`.
        """
        found = [row for row in self.ranked if row.val_accuracy is not None]
        if not found:
            return False
        right = max(round((row.val_accuracy or 0.0) * self.images) for row in found)
        return self._chances * statistics.at_least(right, self.images, self.majority_share) <= SUSPICION

    @property
    def needed(self) -> int | None:
        """How many validation images a row must name rightly to beat the majority; ``None`` if all are too few."""
        for right in range(round(self.majority_share * self.images), self.images + 1):
            if self._chances * statistics.at_least(right, self.images, self.majority_share) <= SUSPICION:
                return right
        return None

    @property
    def _chances(self) -> int:
        return max(1, sum(row.epochs for row in self.rows))

    @property
    def epochs_saved(self) -> int:
        """Epochs of the plan that were not trained, because trials were stopped early."""
        return sum(row.planned - row.epochs for row in self.rows if row.state in FINISHED)

    def in_words(self) -> str:
        """Return what a person should know of this sweep, as a few sentences."""
        return " ".join(_sentences(self))

    # ------------------------------------------------------------------------------------- as data
    def to_json(self) -> dict[str, Any]:
        """Return the leaderboard as a JSON-plain dict."""
        chosen = (self.best.name, self.smallest_within_one_se.name) if self.ranked else (None, None)
        return {
            "search": self.search,
            "complete": self.complete,
            "best": chosen[0],
            "smallest_within_one_se": chosen[1],
            "beats_majority": self.beats_majority,
            "majority": {"label": self.majority, "share": self.majority_share},
            "validation_images": self.images,
            "optimism": self.optimism,
            "epochs_saved": self.epochs_saved,
            "in_words": self.in_words(),
            "infeasible": self.infeasible,
            "rows": [asdict(row) for row in self.rows],
        }

    def to_csv(self) -> str:
        """Return one line a row, the settings that differ as columns of their own."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.settings))
        buffer = io.StringIO()
        own = [name for name in Row.__dataclass_fields__ if name not in ("settings", "runs")]
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([*own, *names])
        for row in self.rows:
            values = [getattr(row, name) for name in own]
            writer.writerow(["" if v is None else v for v in (*values, *(row.settings.get(name) for name in names))])
        return buffer.getvalue()


# ------------------------------------------------------------------------------------------------- ranking
def _ranked(cells: Sequence[Cell], labels: np.ndarray | None) -> tuple[Row, ...]:
    scored = [cell for cell in cells if cell.scored and cell.state in FINISHED]
    # What was stopped early stands behind what was not: its loss is one of fewer epochs.
    scored.sort(key=lambda cell: (cell.state != "complete", cell.val_loss))
    images = len(labels) if labels is not None else 0
    losses = {cell.name: _cell_losses(cell, labels) for cell in scored}
    rows = []
    for number, cell in enumerate(scored, 1):
        best = scored[0]
        own = statistics.of_seeds([float(one.best["val_loss"]) for one in cell.scored])
        accuracy = statistics.of_seeds([float(one.best["val_accuracy"]) for one in cell.scored])
        behind = _behind(best, cell, losses)
        error, of_images = own.error, losses[cell.name]
        if math.isnan(error) and of_images is not None:
            error = float(of_images.std(ddof=1)) / math.sqrt(len(of_images)) if len(of_images) > 1 else math.nan
        share_error = accuracy.error
        if math.isnan(share_error):
            share_error = statistics.share_error(accuracy.mean, images)
        rows.append(
            replace(
                cell.row(),
                rank=number,
                val_loss=own.mean,
                val_loss_error=_known(error),
                behind=behind.mean,
                behind_error=_known(behind.error),
                tied=cell is best or (cell.state == best.state and behind.mean <= (_known(behind.error) or 0.0)),
                val_accuracy=accuracy.mean,
                val_accuracy_error=_known(share_error),
                spread=_known(own.error * math.sqrt(len(cell.scored))),
                best_epoch=int(cell.scored[0].best["epoch"]),
            )
        )
    order = {"running": 0, "stopped": 1, "waiting": 2, "failed": 3}
    rest = [cell.row() for cell in cells if cell not in scored]
    return (*rows, *sorted(rest, key=lambda row: order.get(row.state, 1)))


def _cell_losses(cell: Cell, labels: np.ndarray | None) -> np.ndarray | None:
    """Return the loss of each validation image, the mean over the seeds."""
    if labels is None:
        return None
    found = [kept_losses(one.run, labels) for one in cell.scored]
    kept = [losses for losses in found if losses is not None]
    return sum(kept[1:], kept[0]) / len(kept) if kept and len(kept) == len(found) else None


def _behind(best: Cell, cell: Cell, losses: Mapping[str, np.ndarray | None]) -> statistics.Difference:
    """Return by how much a cell's loss lies above the best one's, and the standard error of that."""
    gap = cell.val_loss - best.val_loss
    if cell is best:
        return statistics.Difference(0.0, 0.0)
    errors = [
        statistics.of_seeds([float(one.best["val_loss"]) for one in which.scored]).error for which in (best, cell)
    ]
    if not any(math.isnan(error) for error in errors):
        return statistics.Difference(gap, math.hypot(*errors))
    first, second = losses[best.name], losses[cell.name]
    if first is None or second is None:
        return statistics.Difference(gap, math.nan)
    return statistics.Difference(gap, statistics.paired(first, second).error)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


# ------------------------------------------------------------------------------------------------- words
def _sentences(board: Leaderboard) -> Iterable[str]:
    states = [row.state for row in board.rows]
    done = sum(state in FINISHED for state in states)
    failed, unfinished = states.count("failed"), len(states) - done - states.count("failed")
    counted = f"{done} of {len(states)} models are" if done < len(states) else _plural(done, "model is", "models are")
    counted += " trained"
    counted += f", {failed} failed" if failed else ""
    counted += f", {unfinished} to go" if unfinished else ""
    if board.infeasible:
        counted += f"; {_plural(len(board.infeasible), 'cell does', 'cells do')} not fit the images"
    yield counted + "."
    if not board.ranked:
        return
    best = board.best
    yield f"The best by validation loss is {best.name}: {_loss(best)}, accuracy {_accuracy(best)}."
    tied = board.tied
    small = board.smallest_within_one_se
    if len(tied) == 2:
        yield f"{tied[1].name} lies within one standard error of it: luck alone may have put these two in this order."
    elif len(tied) > 2:
        yield (
            f"{len(tied) - 1} others lie within one standard error of it: luck alone may have put them in this order."
        )
    if small.name != best.name and small.parameters and best.parameters:
        yield (
            f"The smallest of them is {small.name}, with {small.parameters:,} weights instead of {best.parameters:,}."
        )
    if not board.beats_majority:
        yield (
            f"Nothing beats the majority class: always naming “{board.majority}” would be right on "
            f"{board.majority_share:.1%} of the {board.images:,} validation images, and no model is right on more "
            f"than luck explains{_needed(board)}. Do not use any of them: look at the labels, and get more images."
        )
    elif board.optimism:
        yield (
            f"The best of {len(board.ranked)} looks better than it is: were they all equally good, luck alone would "
            f"put the smallest validation loss about {board.optimism:.4f} too low. Only the test, on images that "
            "chose nothing, says how good it is."
        )
    if board.epochs_saved and board.search != "grid":
        planned = sum(row.planned for row in board.rows if row.state in FINISHED)
        yield f"Stopping the weaker ones early saved {board.epochs_saved} of {planned} epochs."


def _needed(board: Leaderboard) -> str:
    """Return how many it would take, after so many tries."""
    needed = board.needed
    return "" if needed is None else f" (after so many tries {needed:,}, {needed / board.images:.1%}, would be more)"


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _loss(row: Row) -> str:
    error = f" ± {row.val_loss_error:.4f}" if row.val_loss_error is not None else ""
    return f"{row.val_loss:.4f}{error}"


def _accuracy(row: Row) -> str:
    error = f" ± {row.val_accuracy_error:.1%}" if row.val_accuracy_error is not None else ""
    return f"{row.val_accuracy:.1%}{error}"
