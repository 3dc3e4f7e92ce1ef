"""Cross-validation of a whole training: the recipe of a run, trained once for each fold of its images.

In: a complete run. Out: ``folds.json`` in its folder, and a run folder for each fold in ``folds/``. The test split is
not read. A head on few kept features needs no such trainings: see `housetrain.training.cross_validation`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.data.npy_writer import copy_rows
from housetrain.data.prepared import Prepared
from housetrain.data.prepared_folder import Filled, digest, write_prepared
from housetrain.data.split_manifest import Row, SplitManifest
from housetrain.errors import IncompleteError, RecipeError
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.system.events import Callback, Callbacks
from housetrain.system.lock import Lock
from housetrain.training.cross_validation import fold_interval, kept
from housetrain.training.run import FOLDS_FILE, STAGES_FILE, Run
from housetrain.training.run_data import prepared_of
from housetrain.training.train import train

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = "folds"
"""Folder of a run with a run for each fold."""


def cross_validate(
    run: Run | Path | str, *, folds: int = 5, prepared: Prepared | None = None, callbacks: Sequence[Callback] = ()
) -> dict[str, Any]:
    """Train the recipe of a run once for each fold, and return how well it predicts images that it did not see.

    Training and validation images are divided into stratified folds, groups kept together. Each fold takes the place of
    the validation split once. It chooses the best epoch there, too, so the accuracy is as optimistic as validation
    accuracy is, but less a matter of luck. The same call resumes after an interruption.

    Args:
        run: A complete run.
        folds: Number of folds, from 2.
        prepared: Its images; by default where the run names them.
        callbacks: Follow the trainings.

    Returns:
        ``accuracy``, ``interval`` (95 %, for the overlap of training sets: see `fold_interval`), ``images``, ``folds``,
        ``repeats`` (1) and ``accuracies`` (of each fold).

    Raises:
        IncompleteError: The run is not complete, or its images are gone.
        RecipeError: A class has too few groups of images, the run trained a model of the user's own, or it started from
            the weights of another run, which may have seen the images of every fold.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    recipe = _recipe_of(run)
    prepared = prepared or prepared_of(run)
    rows = [row for row in prepared.split.rows if row.split != "test"]
    held_out = _fold_of(rows, prepared.classes, folds, seed=recipe.seed)
    if (found := kept(run)) is not None and found.get("data") == [prepared.fingerprint, folds]:
        return found
    events = Callbacks(callbacks)
    correct, shares = np.zeros(len(rows), dtype=bool), []
    with Lock(run.folder / FOLDS):
        for fold in range(folds):
            events.note(f"Fold {fold + 1} of {folds}")
            manifest = _manifest(prepared, rows, held_out, fold, folds)
            right = _trained(run, prepared, manifest, f"{fold + 1}-of-{folds}", callbacks)
            correct[held_out == fold] = right
            shares.append(len(right) / (len(rows) - len(right)))
        accuracies = [float(correct[held_out == fold].mean()) for fold in range(folds)]
        groups = [row.group for row in rows]
        result = {
            "accuracy": float(np.mean(accuracies)),
            "interval": fold_interval(accuracies, shares, correct[np.newaxis], groups),
            "images": len(rows),
            "folds": folds,
            "repeats": 1,
            "accuracies": accuracies,
            "data": [prepared.fingerprint, folds],
        }
        store.write_json_atomic(run.folder / FOLDS_FILE, result)
        shutil.rmtree(run.folder / FOLDS / "arrays", ignore_errors=True)
    return result


def possible_folds(run: Run, folds: int | None, callbacks: Sequence[Callback] = ()) -> int | None:
    """Return ``folds``; ``None``, with a note, where the run of a selected stage cannot be trained again for each fold.

    Which stage is selected is not known before, and its test and report are worth more than an error.

    Args:
        run: The selected run.
        folds: What was asked for.
        callbacks: Get the note.
    """
    if folds is None or not (run.folder / STAGES_FILE).is_file():
        return folds
    try:
        _recipe_of(run)
    except RecipeError as error:
        Callbacks(callbacks).note(f"Not cross-validated: {error.what[0].lower()}{error.what[1:]}")
        return None
    return folds


def _recipe_of(run: Run) -> Recipe:
    """Return the recipe of a run that can be trained again without what the run has seen."""
    if not run.complete:
        raise IncompleteError("The training is not complete", do="train it to the end first", run=str(run.folder))
    if run.input_json.get("own_model"):
        raise RecipeError(
            "A model of your own is not trained again for each fold", do="give a recipe", run=str(run.folder)
        )
    recipe = Recipe.from_json(run.recipe_json)
    if recipe.weights.endswith(".keras"):
        raise RecipeError(
            "The weights that this run started from may have been trained on the images of every fold",
            expected="a recipe that starts from ImageNet weights or from none",
            do="cross-validate the run that it started from, without fine-tuning", weights=recipe.weights,
        )  # fmt: skip
    return recipe


def _fold_of(rows: Sequence[Row], classes: Sequence[str], folds: int, *, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = {name: len({row.group for row in rows if row.label == name}) for name in classes}
    fewest = min(classes, key=groups.__getitem__)
    found = np.zeros(len(rows), dtype=np.int64)
    if 2 <= folds <= groups[fewest]:
        split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        labels = np.array([row.label for row in rows])
        for fold, (_, chosen) in enumerate(split.split(labels, labels, [row.group for row in rows])):
            found[chosen] = fold
    if folds < 2 or len(np.unique(found)) < folds:  # a fold is empty where one group is most of the images
        raise RecipeError(
            "There cannot be so many folds",
            expected=f"2 to {groups[fewest]}: each fold holds images of every class, groups kept together",
            folds=folds, fewest_groups=f"{groups[fewest]} of {fewest}",
        )  # fmt: skip
    return found


def _manifest(
    prepared: Prepared, rows: Sequence[Row], held_out: NDArray[np.int64], fold: int, folds: int
) -> SplitManifest:
    """Return the split in which one fold validates and the others train."""
    given = prepared.split
    return SplitManifest.of_rows(
        given.root,
        given.classes,
        rows=[
            replace(row, split="validation" if own == fold else "train")
            for row, own in zip(rows, held_out, strict=True)
        ],
        options={**given.options, "fold": [fold + 1, folds]},
    )


def _trained(
    run: Run, prepared: Prepared, manifest: SplitManifest, name: str, callbacks: Sequence[Callback]
) -> NDArray[np.bool_]:
    """Train on all folds but one; return which images of that one are named correctly, in the order of the manifest."""
    place = run.folder / FOLDS
    own = Run(place / name)
    if not (own.complete and own.split.fingerprint == manifest.fingerprint):
        arrays = _arrays(prepared, manifest, place / "arrays")
        train(arrays, Recipe.from_json(run.recipe_json), own.folder, callbacks=callbacks)
    rows = manifest.of("validation")
    outputs = own.validation_probabilities(len(rows))
    if outputs is None:
        raise IncompleteError(
            "A fold kept no predictions", do="remove its folder and run the command again", fold=str(own.folder)
        )
    labels = np.array([manifest.classes.index(row.label) for row in rows])
    named = np.asarray(outputs.argmax(axis=1) == labels)
    at = {(row.path, row.sha256): bool(right) for row, right in zip(rows, named, strict=True)}
    ordered = [at[row.path, row.sha256] for row in prepared.split.rows if (row.path, row.sha256) in at]
    return np.array(ordered, dtype=bool)


def _arrays(prepared: Prepared, manifest: SplitManifest, folder: Path) -> Prepared:
    """Write the images in the order of a manifest. Nothing is decoded."""
    at = {(row.path, row.sha256): number for number, row in enumerate(prepared.split.rows)}

    def fill(part: Path) -> Filled:
        pairs = ((at[row.path, row.sha256], number) for number, row in enumerate(manifest.rows))
        copy_rows(prepared.file, part, pairs, spec=prepared.spec)
        return Filled({}, 0)

    request = {"split": digest("fold", manifest.fingerprint, prepared.spec.to_json())}
    written = write_prepared(folder, manifest, prepared.spec, fill=fill, request=request, decoder=prepared.decoder)
    return Prepared.of_manifest(folder, written)
