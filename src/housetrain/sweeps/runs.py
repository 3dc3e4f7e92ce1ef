"""A list of runs: what was tried, with which settings, and what came out.

In: a folder of run folders. Out: one row a run, sorted. It reads JSON files and opens no model and no image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from housetrain.errors import FolderError, HousetrainError, RecipeError
from housetrain.evaluation.evaluate import FOLDER
from housetrain.evaluation.evaluation import Evaluation
from housetrain.models.recipe import Recipe
from housetrain.system import json_text
from housetrain.training.run import Run

SORTS = {"when": True, "name": False, "val_loss": False, "val_accuracy": True, "test_accuracy": True}
"""What rows can be sorted by, and whether large values come first."""


@dataclass(frozen=True)
class RunRow:
    """One run of a list.

    Attributes:
        folder: The run folder.
        name: Its path below the folder that was listed.
        model: The preset or pretrained model.
        state: ``complete``, ``running``, ``failed``, ``stopped``, ``new``, or ``unreadable``.
        settings: The recipe fields that differ from the model's defaults.
        val_loss: Lowest validation loss, in nats an image.
        val_accuracy: Validation accuracy at that point, in [0, 1].
        test_accuracy: Test accuracy, in [0, 1]; ``None`` before the test.
        when: When the run last changed, UTC, ``YYYY-MM-DD HH:MM``.
    """

    folder: Path
    name: str
    model: str
    state: str
    settings: Mapping[str, Any]
    val_loss: float | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    when: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {**asdict(self), "folder": str(self.folder)}


def runs(folder: Path | str = "runs", *, sort: str = "when") -> tuple[RunRow, ...]:
    """List the runs in a folder, those of sweeps in it included.

    Args:
        folder: The folder that run folders are in; also a sweep folder or one run folder.
        sort: A name in `SORTS`. Rows without the value come last.

    Raises:
        FolderError: The folder does not exist.
        RecipeError: ``sort`` is unknown.
    """
    if sort not in SORTS:
        raise RecipeError("Unknown sort order", expected=", ".join(SORTS), sort=sort)
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FolderError("There is no folder of runs", do="train a model, or name the folder", folder=str(folder))
    places = [*folder.glob("recipe.json"), *folder.glob("*/recipe.json")]
    places += [*folder.glob("trials/*/recipe.json"), *folder.glob("*/trials/*/recipe.json")]
    rows = [_row(place.parent, folder) for place in places]
    rows.sort(key=lambda row: row.name)
    valued = [row for row in rows if getattr(row, sort) not in (None, "")]
    valued.sort(key=lambda row: getattr(row, sort), reverse=SORTS[sort])
    return (*valued, *(row for row in rows if row not in valued))


def _row(place: Path, folder: Path) -> RunRow:
    name = place.relative_to(folder).as_posix() if place != folder else place.resolve().name
    try:
        run = Run.open(place)
        recipe, state = run.recipe_json, run.state
        result: Mapping[str, Any] = run.result or min(
            (row for row in run.history if isinstance(row.get("val_loss"), float)),
            key=lambda row: float(row["val_loss"]),
            default={},
        )
        return RunRow(
            place,
            name,
            model=str(recipe.get("model", "")),
            state=state,
            settings=_changed(recipe),
            val_loss=_number(result.get("val_loss")),
            val_accuracy=_number(result.get("val_accuracy")),
            test_accuracy=_test_accuracy(run),
            when=_when(place),
        )
    except (HousetrainError, OSError) as error:
        return RunRow(place, name, "", "unreadable", {"reason": str(error)})


def _changed(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not those of the preset; all of them for a preset that this version lacks."""
    try:
        usual = json_text.plain(Recipe.of(str(recipe.get("model"))).to_json())
    except HousetrainError:
        usual = {}
    return {name: value for name, value in recipe.items() if name != "model" and value != usual.get(name)}


def _test_accuracy(run: Run) -> float | None:
    """Return the kept test accuracy of the run's present model."""
    if not (run.folder / FOLDER).is_dir():
        return None
    try:
        kept = Evaluation.load(run.folder / FOLDER)
    except HousetrainError:  # interrupted, or damaged: the run's own page says so
        return None
    return kept.accuracy if kept.opening and kept.opening.model_sha256 == run.model_sha256 else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _when(place: Path) -> str:
    changed = max(path.stat().st_mtime for path in place.iterdir())
    return datetime.fromtimestamp(changed, UTC).strftime("%Y-%m-%d %H:%M")
