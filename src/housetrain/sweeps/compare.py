"""Two runs side by side: curves, costs, what differs in the recipe, and whether luck explains the difference.

In: two runs of the same images. Out: a `Comparison`. It looks at the validation images only; the test stays closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.errors import IncompleteError, SourceChanged
from housetrain.evaluation import statistics
from housetrain.evaluation.evaluate import prepared_of
from housetrain.evaluation.text import NBSP, duration, number, percent, size
from housetrain.sweeps.rows import losses_of

if TYPE_CHECKING:
    from housetrain.training.run import Run

DOUBT = 0.05
"""A difference that luck makes at least so often is not called one."""


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        name: The folder's name.
        folder: The run folder.
        val_loss: Validation loss of the best epoch.
        val_accuracy: Share of the validation images that are right at that epoch.
        best_epoch: That epoch, from 1.
        epochs: Epochs trained.
        parameters: Weights.
        seconds: Time of the training.
        images_per_s: Training images a second, the median of the epochs.
        model_bytes: Size of ``model.keras``.
        history: One row an epoch: epoch, loss, val_loss, val_accuracy.
    """

    name: str
    folder: str
    val_loss: float
    val_accuracy: float
    best_epoch: int
    epochs: int
    parameters: int | None
    seconds: float | None
    images_per_s: float | None
    model_bytes: int | None
    history: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        first: One run.
        second: The other.
        settings: Settings of the recipe that differ: name -> (first's, second's).
        images: Validation images.
        only_first: How many of them only the first run names rightly.
        only_second: How many only the second does.
        p_value: Of McNemar's exact test: how often luck alone would make them differ at least so much.
        loss_difference: The second's validation loss minus the first's.
        loss_error: Standard error of that, from the paired differences of the images.
    """

    first: Side
    second: Side
    settings: dict[str, tuple[Any, Any]]
    images: int
    only_first: int
    only_second: int
    p_value: float
    loss_difference: float
    loss_error: float

    @property
    def better(self) -> Side | None:
        """The run that names more images rightly, or ``None`` when luck explains the difference."""
        if self.p_value >= DOUBT or self.only_first == self.only_second:
            return None
        return self.first if self.only_first > self.only_second else self.second

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON-plain dict."""
        return {**asdict(self), "better": self.better.name if self.better else None, "in_words": self.in_words()}

    def in_words(self) -> str:
        """Return the verdict in two or three sentences."""
        disagreed = self.only_first + self.only_second
        if not disagreed:
            return f"Both are right and wrong on the very same of the {self.images:,} validation images."
        counted = (
            f"Of {self.images:,} validation images, {self.only_first:,} are right only in "
            f"{self.first.name} and {self.only_second:,} only in {self.second.name}"
        )
        if self.better is None:
            return (
                f"{counted}: luck alone would make them differ at least so much {self.p_value:.1%} of the time "
                "(McNemar's exact test). It is not shown that one is better."
            )
        often = f"{self.p_value:.1%}" if self.p_value >= 0.001 else "less than 0.1%"
        return (
            f"{counted}: {self.better.name} is better. Luck alone would make them differ so much {often} of the time "
            "(McNemar's exact test)."
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (what, first, second) for a table: scores, costs, then the settings that differ."""
        pairs: list[tuple[str, Any]] = [
            ("validation loss", lambda side: number(side.val_loss, 4)),
            ("validation accuracy", lambda side: percent(side.val_accuracy)),
            ("best epoch", lambda side: f"{side.best_epoch} of {side.epochs}"),
            ("weights", lambda side: number(side.parameters)),
            ("training time", lambda side: duration(side.seconds)),
            ("images/s", lambda side: number(side.images_per_s, 0)),
            ("model file", lambda side: "–" if side.model_bytes is None else size(side.model_bytes)),
        ]
        rows = [
            (what, str(show(self.first)).replace(NBSP, " "), str(show(self.second)).replace(NBSP, " "))
            for what, show in pairs
        ]
        return [*rows, *((name.replace("_", " "), str(a), str(b)) for name, (a, b) in self.settings.items())]

    def curves(self) -> list[tuple[int, float | None, float | None]]:
        """Return (epoch, first's validation loss, second's) for all epochs that either has."""
        losses = [{int(row["epoch"]): row["val_loss"] for row in side.history} for side in (self.first, self.second)]
        return [(epoch, *(known.get(epoch) for known in losses)) for epoch in sorted({*losses[0], *losses[1]})]  # type: ignore[misc]


def compare(first: Run, second: Run) -> Comparison:
    """Compare two runs on the validation images they share.

    Args:
        first: A run with at least one finished epoch.
        second: Another one of the same prepared images.

    Raises:
        IncompleteError: A run has no model yet.
        SourceChanged: They were not trained on the same prepared images.
    """
    if first.input_json.get("data") != second.input_json.get("data"):
        raise SourceChanged(
            "The two runs were not trained on the same prepared images: their scores cannot be compared",
            do="train both on one prepared folder",
            first=str(first.folder),
            second=str(second.folder),
        )
    place = {name: index for index, name in enumerate(first.classes)}
    labels = np.array([place[row.label] for row in first.split.of("validation")], dtype=np.int64)
    answers = [_probabilities(run, len(labels)) for run in (first, second)]
    right = [given.argmax(axis=1) == labels for given in answers]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    losses = [losses_of(given, labels) for given in answers]
    gap = statistics.paired(losses[0], losses[1])
    return Comparison(
        _side(first),
        _side(second),
        _differing(first.recipe_json, second.recipe_json),
        len(labels),
        only_first,
        only_second,
        statistics.mcnemar(only_first, only_second),
        gap.mean,
        gap.error,
    )


def _probabilities(run: Run, count: int) -> np.ndarray:
    """Return what a run says of the validation images, ``(n, classes)``: kept, or computed anew."""
    path = run.folder / "validation.npy"
    if path.is_file():
        outputs = np.load(path, allow_pickle=False)
        if len(outputs) == count:
            return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs
    from housetrain.inference.predictor import Predictor

    images = prepared_of(run).images("validation")
    return Predictor.load(run.folder, engine="keras").probabilities(images)


def _side(run: Run) -> Side:
    history, result = run.history, run.result or {}
    known = [row for row in history if row.get("val_loss") is not None]
    if not known:
        raise IncompleteError("The run has no finished epoch yet", do="let it train", run=str(run.folder))
    best = min(known, key=lambda row: float(row["val_loss"]))
    model = run.folder / "model.keras"
    keys = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
    return Side(
        run.name,
        str(run.folder),
        float(best["val_loss"]),
        float(best["val_accuracy"]),
        int(best["epoch"]),
        len(history),
        result.get("parameters"),
        result.get("seconds"),
        _median([float(row["images_per_s"]) for row in history if row.get("images_per_s")]),
        model.stat().st_size if model.is_file() else None,
        tuple({key: row.get(key) for key in keys} for row in history),
    )


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*first, *second])
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}
