"""A longer training of a finished run: it continues after the last epoch instead of starting over.

In: a complete run, the same recipe with more epochs. Out: the same run folder, with the longer history and the model of
its best epoch. It does not know how a model is fitted.

The continuation is a run of its own in ``RUN/longer/``, which starts from a copy of the last checkpoint. The finished
run stays as it is, and usable, until that one is complete; then its files replace those of the run, ``result.json`` and
``recipe.json`` last. After a kill at any moment the same call resumes.

Where nothing depends on the number of epochs, the result is bit for bit that of the longer training from the start. A
learning-rate schedule, a warm-up that keeps its share, and progressive resizing do depend on it: the further epochs
then follow those of the longer training.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from housetrain.errors import HousetrainError
from housetrain.inference.novelty import FILE as NOVELTY
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.training import checkpoint
from housetrain.training.run import Run, differences

if TYPE_CHECKING:
    from housetrain.data.prepared import Prepared

FOLDER = "longer"
_STRETCHED = frozenset({"epochs", "warmup_epochs", "patience"})  # what a preset fills in follows the epochs
_COPIED = ("input.json", "split.json", "history.jsonl", "own_model.keras")
_ADOPTED = ("env.json", "history.jsonl", "model.keras", "validation.npy", "result.json", "recipe.json")


def continues(run: Run, recipe: Recipe, prepared: Prepared, *, own_model: str = "") -> bool:
    """Return whether a complete run can be continued to more epochs: the same recipe but for their number.

    Args:
        run: The run.
        recipe: What is asked for.
        prepared: The images.
        own_model: See `Run.matches`.
    """
    if not run.complete or not store.committed(run.checkpoints, checkpoint.PREFIX):
        return False
    if differences(run, recipe, prepared, own_model=own_model, apart_from=_STRETCHED):
        return False
    try:
        return Recipe.from_json(run.recipe_json).epochs < recipe.epochs
    except HousetrainError:  # written by another version
        return False


def is_wanted(run: Run, recipe: Recipe, prepared: Prepared, *, own_model: str = "") -> bool:
    """Return whether a complete run is to be continued, or what an interrupted continuation left is to be removed."""
    return (run.folder / FOLDER).exists() or continues(run, recipe, prepared, own_model=own_model)


def begin(run: Run, recipe: Recipe, prepared: Prepared, *, own_model: str = "") -> Run:
    """Return the run that continues ``run``, in its state after an interruption if it was begun before.

    Args:
        run: A complete run for which `continues`, locked by this process.
        recipe: The recipe with more epochs.
        prepared: The images.
        own_model: See `Run.matches`.
    """
    longer = Run(run.folder / FOLDER)
    if (longer.folder / "recipe.json").is_file() and longer.matches(recipe, prepared, own_model=own_model):
        return longer
    found = checkpoint.newest(run.checkpoints)
    assert found is not None  # it continues
    with store.commit_folder(run.folder, FOLDER) as folder:
        for name in _COPIED:
            if (run.folder / name).is_file():
                shutil.copyfile(run.folder / name, folder / name)
        shutil.copytree(found.folder, folder / "checkpoints" / found.folder.name)
        store.write_json_atomic(folder / "recipe.json", recipe.to_json())
    return Run(run.folder / FOLDER)


def finish(longer: Run, run: Run) -> Run:
    """Replace the files of the run by those of its complete continuation, one by one, and remove that.

    Returns:
        The run, whose settings are read again.

    Raises:
        DiskFull: They cannot be written; the same call repeats it.
    """
    with store.disk_errors(run.folder):
        for item in store.committed(longer.checkpoints, checkpoint.PREFIX):
            if not (run.checkpoints / item.name).exists():
                shutil.copytree(item, run.checkpoints / item.name)
        for name in (*_ADOPTED, *([NOVELTY] if (longer.folder / NOVELTY).is_file() else [])):
            store.write_bytes_atomic(run.folder / name, (longer.folder / name).read_bytes())
    checkpoint.keep_last(run.checkpoints)
    remove_leftover(run.folder)
    return Run(run.folder)


def remove_leftover(folder: Path) -> None:
    """Remove a continuation that is no longer needed."""
    if not (folder / FOLDER).is_symlink():
        shutil.rmtree(folder / FOLDER, ignore_errors=True)


def note(before: Recipe, recipe: Recipe, epochs: int) -> str:
    """Return what to say when a run is continued.

    Args:
        before: Recipe of the finished run.
        recipe: Recipe with more epochs.
        epochs: Number of finished epochs.
    """
    parts = {
        f"the learning rate ({recipe.schedule})": recipe.schedule != "constant",
        "the warm-up": recipe.warmup_epochs != before.warmup_epochs,
        "the image size while training": recipe.progressive != 1,
    }
    text = f"Continues the finished run after epoch {epochs:,}"
    if depends := [name for name, does in parts.items() if does]:
        text += (
            f"; {' and '.join(depends)} depend on the number of epochs: the further epochs follow a training of "
            f"{recipe.epochs:,}, so the result differs from one of {recipe.epochs:,} epochs from the start"
        )
    return text
