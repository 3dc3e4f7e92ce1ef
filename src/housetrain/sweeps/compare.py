"""Two runs side by side: curves, costs, recipe differences, and the significance of the difference.

In: two runs of the same images. Out: a `Comparison`, on the validation images and, where both were tested, on the test
images. It reads results that `evaluate` kept, and never opens the test split.
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
from housetrain.system.text import MISSING, format_bytes, format_count, format_duration, format_number, format_percent
from housetrain.training.history import number_of, unit_of
from housetrain.training.run import Run
from housetrain.training.run_data import prepared_of

DOUBT = 0.05
"""Significance level: with a larger p-value neither run is called better."""


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        name: The folder's name, after those of its parents where the other run's is the same.
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
class Tested:
    """The two runs on the test split, which both have opened.

    Attributes:
        images: Test images.
        only_first: How many of them only the first run predicts correctly.
        only_second: How many only the second does.
        p_value: Of McNemar's exact test, corrected for the choice from several runs.
        smallest: The smallest difference of accuracy that the test finds with a probability of 80 %.
        runs: How many runs had opened this test split, by its record.
    """

    images: int
    only_first: int
    only_second: int
    p_value: float
    smallest: float
    runs: int


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
        test: The same on the test images, where both runs have opened the test split; else ``None``.
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
    test: Tested | None = None

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
        """Return the verdict in a few sentences, with the smallest difference that could have been seen."""
        disagreed = self.only_first + self.only_second
        smallest = statistics.smallest_difference(disagreed, self.images, models=self.chosen_from)
        text = self._verdict("validation", self.images, self.only_first, self.only_second, self.p_value, smallest)
        if self.test is None:
            return text
        one = self.test
        on_test = self._verdict("test", one.images, one.only_first, one.only_second, one.p_value, one.smallest)
        return f"{text} {on_test} The test split has been opened by {format_count(one.runs, 'run')}."

    def _verdict(self, kind: str, images: int, first: int, second: int, p: float, smallest: float) -> str:
        found = f"A difference of {format_percent(smallest)} would have been found with a probability of 80 %."
        if not first + second:
            return f"Both are correct on exactly the same of the {images:,} {kind} images. {found}"
        p_value = f"{p:.3f}" if p >= 0.001 else "< 0.001"
        counted = (
            f"Of {images:,} {kind} images, {first:,} {'is' if first == 1 else 'are'} correct only in {self.first.name} "
            f"and {second:,} only in {self.second.name}"
        )
        better = self.first.name if first > second else self.second.name
        undecided = p >= DOUBT or first == second
        verdict = "the difference is not significant" if undecided else f"{better} is better"
        chosen = f", corrected for a choice from {self.chosen_from} runs" if self.chosen_from > 2 else ""
        return f"{counted}: {verdict} (McNemar's exact test, p = {p_value}{chosen}). {found}"

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (what, first, second) for a table: scores, costs, then the settings that differ."""
        pairs: list[tuple[str, Any]] = [
            ("validation loss", lambda side: format_number(side.val_loss, 4)),
            ("validation accuracy", lambda side: format_percent(side.val_accuracy)),
            ("epoch (or strength) kept", lambda side: f"{side.best_epoch} of {side.epochs}"),
            ("parameters", lambda side: format_number(side.parameters)),
            ("training time", lambda side: format_duration(side.seconds)),
            ("images/s", lambda side: format_number(side.images_per_s, 0)),
            ("model file", lambda side: MISSING if side.model_bytes is None else format_bytes(side.model_bytes)),
        ]
        rows = [(what, str(show(self.first)), str(show(self.second))) for what, show in pairs]
        for name, values in self.settings.items():
            first, second = (MISSING if value is None else str(value) for value in values)
            rows.append((name.replace("_", " "), first, second))
        return rows

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
    chosen_from, names = _chosen_from(first, second), _names(first.folder, second.folder)
    return Comparison(
        _side(first, names[0]),
        _side(second, names[1]),
        {**_differing(*(_input(run) for run in (first, second))), **_differing(first.recipe_json, second.recipe_json)},
        len(labels),
        only_first,
        only_second,
        statistics.corrected(statistics.mcnemar(only_first, only_second), chosen_from),
        gap.mean,
        gap.error,
        chosen_from,
        _tested(first, second, chosen_from),
    )


def _tested(first: Run, second: Run, chosen_from: int) -> Tested | None:
    """Return the comparison on the test images, if both runs keep a test of their current model on the same images."""
    from housetrain.evaluation.evaluate import FOLDER
    from housetrain.evaluation.evaluation import Evaluation

    kept = []
    for run in (first, second):
        try:
            found = Evaluation.load(run.folder / FOLDER)
        except (IncompleteError, CorruptError):
            return None
        if found.opening is None or found.opening.model_sha256 != run.model_sha256:
            return None
        kept.append(found)
    correct = [{row.sha256: row.correct for row in one.rows} for one in kept]
    if correct[0].keys() != correct[1].keys():
        return None
    pairs = [(correct[0][key], correct[1][key]) for key in correct[0]]
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    return Tested(
        len(pairs),
        only_first,
        only_second,
        statistics.corrected(statistics.mcnemar(only_first, only_second), chosen_from),
        statistics.smallest_difference(only_first + only_second, len(pairs), models=chosen_from),
        max(one.opening.runs for one in kept if one.opening is not None),
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


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Return the last parts of two paths, as many as tell them apart."""
    for count in range(1, min(len(first.parts), len(second.parts))):
        names = (Path(*first.parts[-count:]).as_posix(), Path(*second.parts[-count:]).as_posix())
        if names[0] != names[1]:
            return names
    return first.as_posix(), second.as_posix()


def _side(run: Run, name: str) -> Side:
    found = RunResult.read(run)
    if found.best is None:
        raise IncompleteError("The run has no finished epoch yet", do="wait for the first epoch", run=str(run.folder))
    keys = ("loss", "accuracy", "val_loss", "val_accuracy")
    return Side(
        name,
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
