"""Two runs side by side: curves, costs, recipe differences, and the significance of the difference.

In: two runs of the same images. Out: a `Comparison`. It reads validation results only, never the test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from housetrain.errors import CorruptError, HousetrainError, IncompleteError, SourceChanged
from housetrain.evaluation import statistics
from housetrain.models.outputs import cross_entropy
from housetrain.sweeps.results import RunResult
from housetrain.system.text import format_bytes, format_duration, format_number, format_percent
from housetrain.training.history import number_of, unit_of
from housetrain.training.run import Run
from housetrain.training.run_data import prepared_of

DOUBT = 0.05
"""Significance level: with a larger p-value neither run is called better."""


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        name: The folder's name.
        folder: The run folder.
        val_loss: Validation loss of the best epoch.
        val_accuracy: Validation accuracy at that epoch, in [0, 1].
        best_epoch: That epoch, from 1.
        epochs: Epochs trained.
        parameters: Parameters of the model.
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
        only_first: How many of them only the first run predicts correctly.
        only_second: How many only the second does.
        p_value: Of McNemar's exact test of equal accuracy, corrected for ``chosen_from``.
        loss_difference: The second's validation loss minus the first's.
        loss_error: Standard error of that, from the paired differences of the images.
        chosen_from: Runs of the same images beside the two, these included, among which the two may have been chosen.
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
    chosen_from: int = 2

    @property
    def better(self) -> Side | None:
        """The run with the significantly higher accuracy, or ``None``."""
        if self.p_value >= DOUBT or self.only_first == self.only_second:
            return None
        return self.first if self.only_first > self.only_second else self.second

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON-plain dict."""
        return {**asdict(self), "better": self.better.name if self.better else None, "summary": self.summary()}

    def summary(self) -> str:
        """Return the verdict in two or three sentences."""
        disagreed = self.only_first + self.only_second
        if not disagreed:
            return f"Both are correct on exactly the same of the {self.images:,} validation images."
        p_value = f"{self.p_value:.3f}" if self.p_value >= 0.001 else "< 0.001"
        counted = (
            f"Of {self.images:,} validation images, {self.only_first:,} are correct only in {self.first.name} and "
            f"{self.only_second:,} only in {self.second.name}"
        )
        verdict = "the difference is not significant" if self.better is None else f"{self.better.name} is better"
        chosen = f", corrected for a choice from {self.chosen_from} runs" if self.chosen_from > 2 else ""
        return f"{counted}: {verdict} (McNemar's exact test, p = {p_value}{chosen})."

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (what, first, second) for a table: scores, costs, then the settings that differ."""
        pairs: list[tuple[str, Any]] = [
            ("validation loss", lambda side: format_number(side.val_loss, 4)),
            ("validation accuracy", lambda side: format_percent(side.val_accuracy)),
            ("epoch (or strength) kept", lambda side: f"{side.best_epoch} of {side.epochs}"),
            ("parameters", lambda side: format_number(side.parameters)),
            ("training time", lambda side: format_duration(side.seconds)),
            ("images/s", lambda side: format_number(side.images_per_s, 0)),
            ("model file", lambda side: "–" if side.model_bytes is None else format_bytes(side.model_bytes)),
        ]
        rows = [(what, str(show(self.first)), str(show(self.second))) for what, show in pairs]
        return [*rows, *((name.replace("_", " "), str(a), str(b)) for name, (a, b) in self.settings.items())]

    def curves(self) -> list[tuple[int, float | None, float | None]]:
        """Return (epoch, first's validation loss, second's) for all epochs that either has."""
        losses = [{number_of(row): row["val_loss"] for row in side.history} for side in (self.first, self.second)]
        return [(epoch, *(known.get(epoch) for known in losses)) for epoch in sorted({*losses[0], *losses[1]})]  # type: ignore[misc]


def compare(first: Run | Path | str, second: Run | Path | str) -> Comparison:
    """Compare two runs on the validation images they share.

    Args:
        first: A run with at least one finished epoch, or its folder.
        second: Another one of the same split; the images may be prepared in another size or color.

    Raises:
        IncompleteError: A run has no model yet.
        SourceChanged: They were not trained on the same split of the same images.
    """
    first, second = (run if isinstance(run, Run) else Run.open(Path(run)) for run in (first, second))
    if first.input_json.get("data") != second.input_json.get("data") and first.split.rows != second.split.rows:
        raise SourceChanged(
            "The two runs were not trained on the same split of the same images, so their scores cannot be compared",
            do="train both on one prepared folder, or on two that differ only in size or color",
            first=str(first.folder),
            second=str(second.folder),
        )
    place = {name: index for index, name in enumerate(first.classes)}
    if first.split.classes != first.classes:
        raise CorruptError("The classes of the run are not those of its split", do="train again", run=str(first.folder))
    labels = np.array([place[row.label] for row in first.split.of("validation")], dtype=np.int64)
    given = [_probabilities(run, len(labels)) for run in (first, second)]
    correct = [probabilities.argmax(axis=1) == labels for probabilities in given]
    only_first, only_second = int((correct[0] & ~correct[1]).sum()), int((correct[1] & ~correct[0]).sum())
    losses = [cross_entropy(labels, probabilities) for probabilities in given]
    gap = statistics.paired(losses[0], losses[1])
    chosen_from = _chosen_from(first, second)
    return Comparison(
        _side(first),
        _side(second),
        {**_differing(*(_input(run) for run in (first, second))), **_differing(first.recipe_json, second.recipe_json)},
        len(labels),
        only_first,
        only_second,
        statistics.corrected(statistics.mcnemar(only_first, only_second), chosen_from),
        gap.mean,
        gap.error,
        chosen_from,
    )


def _chosen_from(*runs: Run) -> int:
    """Return how many runs of the same images lie beside these, themselves included, such as the trials of a sweep."""
    data, found = {run.input_json.get("data") for run in runs}, {run.folder.resolve() for run in runs}
    for parent in {folder.parent for folder in found}:
        for path in parent.glob("*/validation.npy"):
            try:
                beside = Run.open(path.parent)
                if beside.input_json.get("data") in data:
                    found.add(path.parent)
            except HousetrainError:  # not a run, or damaged: not one to choose
                continue
    return len(found)


def _probabilities(run: Run, count: int) -> np.ndarray:
    """Return a run's probabilities of the validation images, ``(n, classes)``: kept, or computed."""
    if (kept := run.validation_probabilities(count)) is not None:
        return kept
    from housetrain.inference.predictor import Predictor

    images = prepared_of(run).validation.images
    return Predictor.load(run.folder, engine="keras").probabilities(images)


def _side(run: Run) -> Side:
    found = RunResult.read(run)
    if found.best is None:
        raise IncompleteError("The run has no finished epoch yet", do="wait for the first epoch", run=str(run.folder))
    keys = ("loss", "accuracy", "val_loss", "val_accuracy")
    return Side(
        run.name,
        str(run.folder),
        float(found.best["val_loss"]),
        float(found.best["val_accuracy"]),
        number_of(found.best),
        found.epochs,
        found.parameters,
        found.seconds,
        found.images_per_s,
        found.model_bytes,
        tuple({unit_of([row]): number_of(row)} | {key: row.get(key) for key in keys} for row in found.history),
    )


def _input(run: Run) -> dict[str, str]:
    """Return how the images of a run were prepared."""
    if "spec" not in run.input_json:  # of an early version
        return {}
    spec = run.spec
    return {"input": f"{spec.height}x{spec.width} {spec.color_mode}, {spec.resize}"}


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*first, *second])
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}
