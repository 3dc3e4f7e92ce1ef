"""Leaderboard: the trials of a sweep, ranked by validation loss.

In: a sweep folder, finished or not. Out: ranked rows and a summary of them. It never opens the test split, does not
know how trials are chosen or trained, and needs no Keras. A running sweep may be read at any time.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from housetrain.errors import IncompleteError, RecipeError
from housetrain.evaluation import statistics
from housetrain.evaluation.selection import Expected, expected_of_best
from housetrain.sweeps.folder import SweepFolder
from housetrain.sweeps.results import COLUMNS, FINISHED, OnImages, Row, TrialGroup, TrialResult, differing_in
from housetrain.sweeps.summary import sentences
from housetrain.sweeps.trial import Trial
from housetrain.system.csv_rows import write_row
from housetrain.system.notebook import html_table
from housetrain.training.history import number_of
from housetrain.training.run import Run

if TYPE_CHECKING:
    import numpy as np

SORTS = {
    "val_loss": False, "val_accuracy": True, "parameters": False, "flops": False, "seconds": False,
    "images_per_s": True, "model_bytes": False, "latency_ms": False,
}  # fmt: skip
"""Columns that rows can be shown by, and whether large values come first."""
SUSPICION = 0.05
"""Significance level of "a model beats the majority class", over all epochs of all trials together."""


@dataclass(frozen=True, repr=False)
class Leaderboard:
    """A ranked sweep, as `leaderboard` returns it.

    Attributes:
        folder: The sweep folder.
        rows: Ranked rows first, then those that failed or are not finished.
        infeasible: Trial name -> why its model does not fit the images.
        images: Validation images.
        majority: The most frequent class of the validation images: the baseline always predicts it.
        majority_share: Its share of them, the accuracy of the baseline.
        search: How trials were chosen: ``grid``, ``halving`` or ``optuna``.
        complete: Whether the sweep has ended.
        expected: What the best row is expected to give on new images, corrected for the luck in choosing it; ``None``
            with fewer than two ranked rows, or where a run did not keep its outputs.
    """

    folder: Path
    rows: tuple[Row, ...]
    infeasible: dict[str, str]
    images: int
    majority: str
    majority_share: float
    search: str
    complete: bool
    expected: Expected | None = None

    def __repr__(self) -> str:
        best = f", best {self.best.name}" if self.ranked else ""
        state = "complete" if self.complete else "not complete"
        return f"Leaderboard({str(self.folder)!r}, {len(self.ranked)} of {len(self.rows)} ranked, {state}{best})"

    def _repr_html_(self) -> str:
        columns = ("rank", "name", "val_loss", "val_accuracy", "parameters")
        return html_table(repr(self), columns, [[getattr(row, name) for name in columns] for row in self.rows])

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
                "No trial of this sweep is finished", do="rerun the same sweep to resume it", sweep=str(self.folder)
            )
        return self.ranked[0]

    @property
    def best_run(self) -> Run:
        """The run of the best row; with several seeds the one whose validation loss is lowest."""
        return self.run_of(self.best)

    @property
    def tied(self) -> tuple[Row, ...]:
        """The rows that may be the best, best first: see `housetrain.evaluation.statistics.confidence_set`."""
        return tuple(row for row in self.ranked if row.tied)

    @property
    def smallest_within_one_se(self) -> Row:
        """Of the rows within one standard error of the best, the one with the fewest parameters.

        The one-standard-error rule: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees (1984),
        3.4.3; Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), 7.10. There the error is
        that of the best model's own score. Here all models predict the same images, so it is the error of the paired
        difference, which cancels the variation they share and is the stricter one.
        """
        near = [row for row in self.tied if (row.behind or 0.0) <= (row.behind_error or 0.0)]
        return min(near or (self.best,), key=lambda row: (row.parameters or math.inf, row.rank or 0))

    def run_of(self, row: Row) -> Run:
        """Return the run of a row; with several seeds the one whose validation loss is lowest."""
        return Run.open(self.folder / "trials" / row.runs[0])

    # ------------------------------------------------------------------------------------- chance
    @property
    def optimism(self) -> float | None:
        """How far below its expectation the best validation loss would be if all ranked rows were equally good.

        The expected maximum of that many standard normal draws, times the standard deviation of one: the error of a
        paired difference over the square root of two (a difference has the variation of two models). The differences
        are those to the next five rows: much worse models differ by more than chance.
        """
        errors = [row.behind_error for row in self.ranked[1:6] if row.behind_error]
        if not errors:
            return None
        return statistics.expected_maximum(len(self.ranked)) * median(errors) / math.sqrt(2)

    @property
    def beats_majority(self) -> bool:
        """Whether any row's validation accuracy is significantly above the majority-class baseline.

        An exact binomial test of the highest accuracy at the level `SUSPICION`, corrected for testing every epoch of
        every trial (Bonferroni).
        """
        found = [row for row in self.ranked if row.val_accuracy is not None]
        if not found:
            return False
        correct = max(round((row.val_accuracy or 0.0) * self.images) for row in found)
        return self._chances * statistics.at_least(correct, self.images, self.majority_share) <= SUSPICION

    @property
    def needed(self) -> int | None:
        """How many correct validation images are significantly above the baseline; ``None`` if all are too few."""
        for correct in range(round(self.majority_share * self.images), self.images + 1):
            if self._chances * statistics.at_least(correct, self.images, self.majority_share) <= SUSPICION:
                return correct
        return None

    @property
    def _chances(self) -> int:
        return max(1, sum(row.epochs for row in self.rows))

    @property
    def epochs_saved(self) -> int:
        """Planned epochs that were not trained because trials were stopped early."""
        return sum(row.planned - row.epochs for row in self.rows if row.state in FINISHED)

    def summary(self) -> str:
        """Return a summary of this sweep in a few sentences."""
        return " ".join(sentences(self))

    # ------------------------------------------------------------------------------------- as data
    def to_json(self, sort: str = "val_loss") -> dict[str, Any]:
        """Return the leaderboard as a JSON-plain dict, its rows in the order of `rows_by`."""
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
            "expected": self.expected._asdict() if self.expected else None,
            "epochs_saved": self.epochs_saved,
            "summary": self.summary(),
            "infeasible": self.infeasible,
            "rows": [asdict(row) for row in self.rows_by(sort)],
        }

    def rows_by(self, sort: str = "val_loss") -> tuple[Row, ...]:
        """Return the rows in the order of a column, rows without a value last; ranks stay those of validation loss.

        Args:
            sort: A name in `SORTS`.

        Raises:
            RecipeError: ``sort`` is unknown.
        """
        if sort not in SORTS:
            raise RecipeError("Unknown sort order", expected=", ".join(SORTS), sort=sort)
        if sort == "val_loss":
            return self.rows
        valued = [row for row in self.rows if getattr(row, sort) is not None]
        valued.sort(key=lambda row: getattr(row, sort), reverse=SORTS[sort])
        return (*valued, *(row for row in self.rows if getattr(row, sort) is None))

    def to_csv(self, sort: str = "val_loss") -> str:
        """Return one line a row in the order of `rows_by`, the settings that differ as columns of their own."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.settings))
        buffer = io.StringIO()
        write_row(buffer, [*COLUMNS, *names])
        for row in self.rows_by(sort):
            values = [getattr(row, name) for name in COLUMNS]
            write_row(buffer, [*values, *(row.settings.get(name) for name in names)])
        return buffer.getvalue()


def leaderboard(folder: Path | str) -> Leaderboard:
    """Rank the trials of a sweep by validation loss, as they are now; a running sweep may be read at any time.

    Args:
        folder: The sweep folder.

    Raises:
        IncompleteError: It is not a sweep folder.
    """
    sweep = SweepFolder(Path(folder))
    trials = sweep.trials()
    return ranked(sweep, trials, [TrialResult.read(sweep, trial) for trial in trials if not trial.infeasible])


def ranked(sweep: SweepFolder, trials: Sequence[Trial], results: Sequence[TrialResult]) -> Leaderboard:
    """Return the leaderboard of a sweep whose trials have been read.

    Args:
        sweep: The sweep.
        trials: All of its trials.
        results: What the run folders of the feasible ones say.
    """
    grouped: dict[str, list[TrialResult]] = {}
    for result in results:
        grouped.setdefault(result.trial.group, []).append(result)
    differing = differing_in([result.trial.recipe for result in results])
    groups = [TrialGroup(name, own, differing) for name, own in grouped.items()]
    validation = sweep.request["validation"]
    scored = [group for group in groups if group.scored and group.state in FINISHED]
    # Trials that were stopped early rank behind the others: their loss is one of fewer epochs.
    scored.sort(key=lambda group: (group.state != "complete", fmean(group.val_losses)))
    labels = sweep.labels()
    found = {group.name: group.on_images(labels) for group in scored}
    losses = {name: one.losses if one else None for name, one in found.items()}
    return Leaderboard(
        sweep.path,
        _rows(groups, scored, losses, 0 if labels is None else len(labels)),
        {trial.name: trial.infeasible for trial in trials if trial.infeasible},
        int(validation["images"]),
        str(validation["majority"]),
        float(validation["share"]),
        str(sweep.request["search"]["kind"]),
        sweep.complete,
        _expected([one for one in found.values() if one], len(scored)),
    )


# ------------------------------------------------------------------------------------------------- ranking
def _rows(
    groups: Sequence[TrialGroup],
    scored: Sequence[TrialGroup],
    losses: Mapping[str, np.ndarray | None],
    images: int,
) -> tuple[Row, ...]:
    tied = _tied(scored, losses)
    rows = [_score(group, scored[0], rank, losses, images, group.name in tied) for rank, group in enumerate(scored, 1)]
    order = {"running": 0, "stopped": 1, "waiting": 2, "failed": 3}
    rest = [group.row() for group in groups if group not in scored]
    return (*rows, *sorted(rest, key=lambda row: order.get(row.state, 1)))


def _expected(found: Sequence[OnImages], count: int) -> Expected | None:
    """Return the expectation of the first of the models, ``None`` if some of ``count`` did not keep their outputs."""
    import numpy as np

    if count < 2 or len(found) < count:
        return None
    return expected_of_best(np.stack([one.losses for one in found]), np.stack([one.correct for one in found]))


def _tied(scored: Sequence[TrialGroup], losses: Mapping[str, np.ndarray | None]) -> set[str]:
    """Return the names of the groups that may be the best; trials that were stopped early are not compared."""
    import numpy as np

    whole = [group for group in scored if group.state == scored[0].state]
    known = [(group, found) for group in whole if (found := losses[group.name]) is not None]
    if len(known) < len(whole):  # a run did not keep its outputs
        behind = {group.name: _behind(scored[0], group, losses) for group in whole}
        return {name for name, gap in behind.items() if gap.mean <= (_known(gap.error) or 0.0)}
    seeds = [_known(statistics.of_seeds(group.val_losses).error) or 0.0 for group in whole]
    kept = statistics.confidence_set(np.stack([found for _, found in known]), seed_errors=seeds) if known else ()
    best = {group.name for group in scored[:1]}
    return best | {group.name for (group, _), keep in zip(known, kept, strict=True) if keep}


def _score(
    group: TrialGroup,
    best: TrialGroup,
    rank: int,
    losses: Mapping[str, np.ndarray | None],
    images: int,
    tied: bool,
) -> Row:
    """Return the row of a finished group with its score and the uncertainty of it."""
    own, accuracy = statistics.of_seeds(group.val_losses), statistics.of_seeds(group.val_accuracies)
    behind = _behind(best, group, losses)
    error, of_images = own.error, losses[group.name]
    if of_images is not None and len(of_images) > 1:
        error = statistics.joint_error(error, float(of_images.std(ddof=1)) / math.sqrt(len(of_images)))
    share_error = statistics.joint_error(accuracy.error, statistics.share_error(accuracy.mean, images))
    return group.row(
        rank=rank,
        val_loss=own.mean,
        val_loss_error=_known(error),
        behind=behind.mean,
        behind_error=_known(behind.error),
        tied=tied,
        val_accuracy=accuracy.mean,
        val_accuracy_error=_known(share_error),
        spread=_known(own.error * math.sqrt(len(group.scored))),
        best_epoch=number_of(group.scored[0][1]),
    )


def _behind(best: TrialGroup, group: TrialGroup, losses: Mapping[str, np.ndarray | None]) -> statistics.Difference:
    """Return a group's validation loss minus the best one's, and the standard error of the difference."""
    if group is best:
        return statistics.Difference(0.0, 0.0)
    ours, theirs = statistics.of_seeds(group.val_losses), statistics.of_seeds(best.val_losses)
    gap = ours.mean - theirs.mean
    of_seeds = math.hypot(ours.error, theirs.error)
    first, second = losses[best.name], losses[group.name]
    of_images = math.nan if first is None or second is None else statistics.paired(first, second).error
    return statistics.Difference(gap, statistics.joint_error(of_seeds, of_images))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
