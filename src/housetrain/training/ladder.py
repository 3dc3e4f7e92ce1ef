"""Several ways to train a model on the same split, cheap ones first; validation loss selects one of them.

In: a run folder, the stages, a function that prepares images. Out: a run for each stage in ``RUN/stages/NAME``, their
table in ``RUN/stages.json``, and the selected run's files in the run folder itself, ``result.json`` last. It does not
know which stages there are, how one is trained, or the test split.

Every decision follows from files, so the same call after a kill continues where it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import StoreError
from housetrain.models.outputs import cross_entropy
from housetrain.models.recipe import Recipe
from housetrain.system import json_text, store
from housetrain.system.events import Callback, Callbacks
from housetrain.training.run import STAGES_FILE, Run
from housetrain.training.train import train

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared

_COPIED = ("recipe.json", "input.json", "split.json", "env.json", "history.jsonl", "model.keras", "validation.npy")


class Stage(NamedTuple):
    """One way to train.

    Attributes:
        name: Name of its folder.
        recipe: Returns its recipe, given the best run so far; ``None`` for the first stage.
        cheap: Whether it is trained without a time limit, too.
        rescue: Whether it is trained in any case where the best run is not clearly better than the majority class.
    """

    name: str
    recipe: Callable[[Run | None], Recipe]
    cheap: bool = False
    rescue: bool = False


@dataclass(frozen=True)
class StageRow:
    """What a stage gave.

    Attributes:
        name: See `Stage`.
        seconds: Preparing and training.
        val_loss: Lowest validation loss.
        val_accuracy: Validation accuracy of the same weights.
        gain: How much lower the validation loss is than the best before; 0 for the first stage.
        gain_error: Standard error of ``gain``, from the differences image by image.
        best: Whether it has the lowest validation loss of all.
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


class Selected(NamedTuple):
    """The outcome: the selected run in the run folder, its images, and the table."""

    run: Run
    prepared: Prepared
    rows: tuple[StageRow, ...]


def holds(folder: Path, request: dict[str, Any]) -> bool:
    """Return whether a folder holds the stages of this request, finished or not."""
    path = folder / STAGES_FILE
    return path.is_file() and store.read_json(path).get("request") == json_text.plain(request)


def climb(
    folder: Path,
    stages: Sequence[Stage],
    prepare: Callable[[Recipe], Prepared],
    *,
    request: dict[str, Any],
    time_limit_s: float | None = None,
    callbacks: Sequence[Callback] = (),
) -> Selected:
    """Train the stages in order, as long as it pays, and select the one with the lowest validation loss.

    Without a time limit these are the cheap stages. With one, the next stage is trained while time is left and the
    last one lowered the validation loss by more than its standard error. A ``rescue`` stage is also trained where the
    best run is not clearly better than the majority class.

    Args:
        folder: The run folder.
        stages: The first one is always trained to its end.
        prepare: Returns the images for a recipe; each of the same split.
        request: JSON-plain: what was asked for. Another request needs another folder.
        time_limit_s: Seconds for all stages together.
        callbacks: Follow the training.

    Raises:
        StoreError: The folder holds something else.
    """
    _claim(folder, request)
    events, rows = Callbacks(callbacks), [StageRow(**row) for row in store.read_json(folder / STAGES_FILE)["rows"]]
    best: tuple[Run, Prepared] | None = None
    done: list[StageRow] = []
    for stage in stages:
        target = folder / "stages" / stage.name
        used = sum(row.seconds for row in done)
        if best is not None and not target.exists() and not _wanted(stage, done, best, used, time_limit_s):
            continue
        start = time.monotonic()
        recipe = _recipe_of(stage, target, best, None if time_limit_s is None else time_limit_s - used)
        prepared = prepare(recipe)
        run = train(prepared, recipe, target, callbacks=callbacks)
        result = run.result or {}
        known = next((row.seconds for row in rows if row.name == stage.name), 0.0)
        gain, error = (0.0, 0.0) if best is None else _gain(*best, run, prepared)
        seconds = known or round(max(time.monotonic() - start, float(result["seconds"])), 1)
        done.append(StageRow(stage.name, seconds, result["val_loss"], result["val_accuracy"], gain, error))
        if best is None or gain > 0:
            best = run, prepared
        done = [replace(row, best=row.name == best[0].folder.name) for row in done]
        if not known:  # else the file has this row and perhaps later ones
            store.write_json_atomic(folder / STAGES_FILE, {"request": request, "rows": [asdict(row) for row in done]})
        events.note(
            f"Stage {stage.name}: {seconds:.0f} s, validation loss {result['val_loss']:.4f}, "
            f"accuracy {result['val_accuracy']:.1%}{', best so far' if done[-1].best and len(done) > 1 else ''}"
        )
    assert best is not None
    _copy(best[0], folder)
    return Selected(Run(folder), best[1], tuple(done))


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


def _recipe_of(stage: Stage, target: Path, best: tuple[Run, Prepared] | None, left_s: float | None) -> Recipe:
    """Return the recipe that the stage was started with, else a new one that ends when the time is over."""
    if (target / "recipe.json").is_file():
        return Recipe.from_json(Run(target).recipe_json)
    recipe = stage.recipe(best[0] if best else None)
    return recipe if left_s is None or stage.cheap else recipe.but(time_limit_s=round(max(1.0, left_s), 1))


def _wanted(
    stage: Stage, done: Sequence[StageRow], best: tuple[Run, Prepared], used_s: float, limit_s: float | None
) -> bool:
    if limit_s is not None and used_s >= limit_s:
        return False
    if stage.rescue and not _beats_majority(*best):
        return True
    return stage.cheap if limit_s is None else len(done) == 1 or done[-1].improved


def _beats_majority(run: Run, prepared: Prepared) -> bool:
    """Return whether the validation accuracy is two standard errors above the share of the largest class."""
    labels = prepared.validation.labels
    majority = np.bincount(labels).max() / len(labels)
    accuracy = float((run.result or {})["val_accuracy"])
    return bool(accuracy - 2 * math.sqrt(accuracy * (1 - accuracy) / len(labels)) > majority)


def _gain(before: Run, images: Prepared, after: Run, other: Prepared) -> tuple[float, float]:
    """Return how much lower the loss of ``after`` is, and the standard error of that, over the same images."""
    lower = _losses(before, images) - _losses(after, other)
    return float(lower.mean()), float(lower.std(ddof=1) / math.sqrt(len(lower))) if len(lower) > 1 else math.inf


def _losses(run: Run, prepared: Prepared) -> NDArray[np.float64]:
    """Return the cross-entropy of each validation image."""
    labels = prepared.validation.labels
    found = run.validation_probabilities(len(labels))
    if found is None:
        raise StoreError(
            "The validation outputs of a stage are missing", do="remove its folder", folder=str(run.folder)
        )
    return cross_entropy(labels, found)


def _copy(run: Run, folder: Path) -> None:
    """Make the selected run the run of the folder; ``result.json`` last, so that a kill leaves an unfinished run."""
    if (folder / "result.json").is_file() and Run(folder).model_sha256 == run.model_sha256:
        return
    with store.disk_errors(folder):
        (folder / "result.json").unlink(missing_ok=True)
        for name in (*_COPIED, "result.json"):
            store.write_bytes_atomic(folder / name, (run.folder / name).read_bytes())
