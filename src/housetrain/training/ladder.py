"""Several ways to train a model on the same split, cheap ones first; validation loss selects one of them.

In: a run folder, the stages, a function that prepares images. Out: a run for each stage in ``RUN/stages/NAME``, their
table in ``RUN/stages.json``, and the selected run's files in the run folder itself, ``result.json`` last. It does not
know which stages there are, how one is trained, or the test split.

Every decision follows from files, so the same call after a kill continues where it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import StoreError
from housetrain.inference.novelty import FILE as NOVELTY
from housetrain.models.outputs import cross_entropy, tempered
from housetrain.models.recipe import Recipe
from housetrain.system import json_text, store
from housetrain.system.events import Callback, Callbacks
from housetrain.system.json_types import must_fit
from housetrain.system.text import format_percent
from housetrain.training.run import STAGES_FILE, Run
from housetrain.training.run_types import Stages
from housetrain.training.train import train

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared

_COPIED = ("recipe.json", "input.json", "split.json", "env.json", "history.jsonl", "model.keras", "validation.npy")


class Stage(NamedTuple):
    """One way to train.

    Attributes:
        name: Name of its folder.
        recipe: Returns its recipe, given what the stages before gave.
        wanted: Returns whether it is trained, given the same. The first stage is trained in any case.
        whole: Whether it is trained to its end even when the time is over.
        dearer: Whether its predictions cost more, so that it is selected only if it improves by more than the standard
            error.
    """

    name: str
    recipe: Callable[[Standing], Recipe]
    wanted: Callable[[Standing], bool]
    whole: bool = False
    dearer: bool = False


@dataclass(frozen=True)
class StageRow:
    """What a stage gave.

    Attributes:
        name: See `Stage`.
        seconds: Preparing and training.
        val_loss: Validation loss at the temperature that suits the validation images: label smoothing and class
            weights change how sure a model is, and ways that differ in them are compared here.
        val_accuracy: Validation accuracy of the same weights.
        gain: How much lower the validation loss is than the best before; 0 for the first stage.
        gain_error: Standard error of ``gain``, from the differences image by image.
        best: Whether it is selected: the lowest validation loss, unless its predictions cost more for too little.
    """

    name: str
    seconds: float
    val_loss: float
    val_accuracy: float
    gain: float = 0.0
    gain_error: float = 0.0
    best: bool = False

    @property
    def improved(self) -> bool:
        """Whether the gain is larger than its standard error."""
        return self.gain > self.gain_error


class Standing(NamedTuple):
    """What the stages so far gave.

    Attributes:
        rows: Their rows.
        runs: Stage name -> its run.
        best: The run that would be selected now.
        prepared: The images of that run.
        limit_s: Seconds for all stages together, or ``None``.
    """

    rows: tuple[StageRow, ...]
    runs: Mapping[str, Run]
    best: Run
    prepared: Prepared
    limit_s: float | None

    @property
    def left_s(self) -> float:
        """Seconds that are left; infinity without a limit."""
        return math.inf if self.limit_s is None else self.limit_s - sum(row.seconds for row in self.rows)

    @property
    def error(self) -> float:
        """Share of the validation images that the best run classifies wrongly."""
        return 1 - float((self.best.result or {})["val_accuracy"])

    @property
    def mistakes(self) -> int:
        """Number of validation images that the best run classifies wrongly."""
        return round(self.error * len(self.prepared.validation))

    @property
    def majority(self) -> float:
        """Share of the most frequent class in the validation images."""
        labels = self.prepared.validation.labels
        return float(np.bincount(labels).max() / len(labels))

    def beats_majority(self, run: Run) -> bool:
        """Return whether the validation accuracy is two standard errors above the share of the largest class."""
        accuracy, images = float((run.result or {})["val_accuracy"]), len(self.prepared.validation)
        return accuracy - 2 * math.sqrt(accuracy * (1 - accuracy) / images) > self.majority


class Selected(NamedTuple):
    """The outcome: the selected run in the run folder, its images, and the table."""

    run: Run
    prepared: Prepared
    rows: tuple[StageRow, ...]


def holds(folder: Path, request: dict[str, Any]) -> bool:
    """Return whether a folder holds the stages of this request, finished or not."""
    path = folder / STAGES_FILE
    return path.is_file() and store.read_object(path).get("request") == json_text.plain(request)


def _rows_in(path: Path) -> list[StageRow]:
    return [StageRow(**row) for row in must_fit(store.read_json(path), Stages, path)["rows"]]


def climb(
    folder: Path,
    stages: Sequence[Stage],
    prepare: Callable[[Recipe], Prepared],
    *,
    first: Recipe,
    request: dict[str, Any],
    time_limit_s: float | None = None,
    callbacks: Sequence[Callback] = (),
) -> Selected:
    """Train the wanted stages in order, and select the one with the lowest validation loss.

    Args:
        folder: The run folder.
        stages: In the order of training. No stage is begun when the time is over, except the first.
        prepare: Returns the images for a recipe; each of the same split.
        first: The recipe of the first stage.
        request: JSON-plain: what was asked for. Another request needs another folder.
        time_limit_s: Seconds for all stages together.
        callbacks: Follow the training.

    Raises:
        StoreError: The folder holds something else.
    """
    _claim(folder, request)
    events, rows = Callbacks(callbacks), _rows_in(folder / STAGES_FILE)
    standing: Standing | None = None
    for stage in stages:
        target = folder / "stages" / stage.name
        if standing is not None and not target.exists() and (standing.left_s <= 0 or not stage.wanted(standing)):
            continue
        start = time.monotonic()
        recipe = first if standing is None else _recipe_of(stage, target, standing)
        prepared = prepare(recipe)
        run = train(prepared, recipe, target, callbacks=callbacks)
        known = next((row.seconds for row in rows if row.name == stage.name), 0.0)
        seconds = known or round(max(time.monotonic() - start, float((run.result or {})["seconds"])), 1)
        standing = _with(standing, stage, run, prepared, seconds, time_limit_s)
        if not known:  # else the file has this row and perhaps later ones
            plain = [asdict(row) for row in standing.rows]
            store.write_json_atomic(folder / STAGES_FILE, {"request": request, "rows": plain})
        row = standing.rows[-1]
        events.note(
            f"Stage {stage.name}: {seconds:.0f} s, calibrated validation loss {row.val_loss:.4f}, "
            f"accuracy {format_percent(row.val_accuracy)}"
            f"{', best so far' if row.best and len(standing.rows) > 1 else ''}"
        )
    assert standing is not None
    _copy(standing.best, folder)
    return Selected(Run(folder), standing.prepared, standing.rows)


def _with(
    before: Standing | None, stage: Stage, run: Run, prepared: Prepared, seconds: float, limit_s: float | None
) -> Standing:
    """Return the standing after a stage."""
    name = stage.name
    losses, accuracy = _losses(run, prepared), float((run.result or {})["val_accuracy"])
    if before is None:
        row = StageRow(name, seconds, float(losses.mean()), accuracy, best=True)
        return Standing((row,), {name: run}, run, prepared, limit_s)
    lower = _losses(before.best, before.prepared) - losses
    gain = float(lower.mean())
    error = float(lower.std(ddof=1) / math.sqrt(len(lower))) if len(lower) > 1 else math.inf
    better = gain > (error if stage.dearer else 0)
    best, images = (run, prepared) if better else (before.best, before.prepared)
    rows = (*before.rows, StageRow(name, seconds, float(losses.mean()), accuracy, gain, error))
    marked = tuple(replace(row, best=row.name == best.folder.name) for row in rows)
    return Standing(marked, {**before.runs, name: run}, best, images, limit_s)


def _claim(folder: Path, request: dict[str, Any]) -> None:
    """Write the request into a new folder, or check that it is that of the folder."""
    if holds(folder, request):
        return
    if folder.is_dir() and any(not item.name.startswith(".") for item in folder.iterdir()):
        raise StoreError(
            "The folder is not empty and holds another run",
            expected="a new folder, or that of the same run",
            do="choose another folder, or remove that run",
            folder=str(folder),
        )
    folder.mkdir(parents=True, exist_ok=True)
    store.write_json_atomic(folder / STAGES_FILE, {"request": request, "rows": []})


def _recipe_of(stage: Stage, target: Path, standing: Standing) -> Recipe:
    """Return the recipe that the stage was started with, else a new one that ends when the time is over."""
    if (target / "recipe.json").is_file():
        return Recipe.from_json(Run(target).recipe_json)
    recipe = stage.recipe(standing)
    if standing.limit_s is None or stage.whole:
        return recipe
    return recipe.but(time_limit_s=round(max(1.0, min(standing.left_s, recipe.time_limit_s or math.inf)), 1))


def _losses(run: Run, prepared: Prepared) -> NDArray[np.float64]:
    """Return the cross-entropy of each validation image, at the temperature that suits them all."""
    labels = prepared.validation.labels
    found = run.validation_probabilities(len(labels))
    if found is None:
        raise StoreError(
            "The validation outputs of a stage are missing", do="remove its folder", folder=str(run.folder)
        )
    return cross_entropy(labels, tempered(labels, found))


def _copy(run: Run, folder: Path) -> None:
    """Make the selected run the run of the folder; ``result.json`` last, so that a kill leaves an unfinished run."""
    if (folder / "result.json").is_file() and Run(folder).model_sha256 == run.model_sha256:
        return
    with store.disk_errors(folder):
        for name in ("result.json", NOVELTY):
            (folder / name).unlink(missing_ok=True)
        for name in (*_COPIED, *([NOVELTY] if (run.folder / NOVELTY).is_file() else []), "result.json"):
            store.write_bytes_atomic(folder / name, (run.folder / name).read_bytes())
