"""Training one model: the folder it goes into, and how it is fitted.

In: prepared images, a `Recipe`, a run folder. Out: a `Run` whose ``model.keras`` holds the weights of the best epoch.
It does not know the command line, the page, how images are decoded, or what is done with the model afterwards.

    train(Prepared.open("prepared/PetImages-50x50-grayscale"), Recipe.of("cnn"), "runs/cats")

A run is exact at epoch boundaries: the same call after a kill -9 resumes after the last finished epoch, and with
``deterministic=True`` it ends in the same weights, bit for bit, as an uninterrupted one. An epoch that was interrupted,
by a kill or by Ctrl-C, is trained again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import HousetrainError, RecipeError, StoreError
from housetrain.models.nets import check_feasible
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.system.backend import load_keras
from housetrain.system.events import Callback, Callbacks
from housetrain.system.lock import Lock
from housetrain.training import longer
from housetrain.training.clock import Clock
from housetrain.training.interrupt import Signals
from housetrain.training.progress import RunProgressFile
from housetrain.training.run import Run, differences
from housetrain.training.tensorboard import TensorBoard
from housetrain.training.trainer import Strategy, Trainer

if TYPE_CHECKING:
    import keras

    from housetrain.data.prepare import Prepared

_SAMPLES_PER_CLASS = 4


def train(
    prepared: Prepared,
    recipe: Recipe,
    folder: Path | str | None = None,
    *,
    model: keras.Model | None = None,
    callbacks: Sequence[Callback | keras.callbacks.Callback] = (),
    until: int | None = None,
) -> Run:
    """Train one model, or resume a training that was interrupted, or return the run if it is complete.

    A complete run of the recipe with fewer epochs is continued: see `housetrain.training.longer`.

    Args:
        prepared: The images. Training uses the train and validation splits only.
        recipe: The settings.
        folder: The run folder; ``runs/<name of the recipe>`` by default.
        model: Train a copy of this built Keras model instead of the recipe's: images with values 0 to 255 in, uint8 or
            float32 ``(batch, height, width, channels)``; probabilities out, ``(batch, 1)`` for two classes, else
            ``(batch, classes)``. To resume, give the same architecture. See `housetrain.training.own_model`.
        callbacks: Follow the training, such as `housetrain.ProgressBar`; ``begin`` receives the Keras ``model``, and
            ``epoch`` the validation ``confusion`` counts, a row for each true class. Keras callbacks are passed to
            ``fit``: their logs have ``val_loss`` and ``val_accuracy``, they may stop the training, and so do their
            errors; their own state is not kept for resuming.
        until: Pause after this epoch, from 1. The same call with a later epoch, or without, resumes from there.

    Returns:
        The complete `Run`; a paused one is not complete.

    Raises:
        StoreError: The folder holds another run, or something that is no run.
        RunLocked: Another process trains into this folder.
        TrainingError: The loss is not a number. The last good weights are kept.
        RecipeError: The model does not fit the images.
        ModelError: ``model`` does not fit the images or the classes, or cannot be loaded safely from a file.
        DiskFull: The run folder cannot be written.
        MissingExtra: No Keras backend is installed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same call resumes.
    """
    start = time.monotonic()
    run, own = Run(Path(folder) if folder is not None else Path("runs") / recipe.name), _own_model(model, prepared)
    if run.complete and not longer.is_wanted(run, recipe, prepared, own_model=own):
        _check_same(run, prepared, recipe, own)
        return run
    if model is None:
        check_feasible(recipe, prepared.spec)
    _check_ours(run.folder)
    with Lock(run.folder), Signals() as signals:  # before the seconds that importing Keras takes
        target = run = Run(run.folder)  # nothing that was read before the lock
        if run.complete:  # also where the process that held the lock has just finished it
            target = _continuation(run, prepared, recipe, own, callbacks)
        if not target.complete:
            _write_inputs(target, prepared, recipe, own, model)
            _load_keras(signals, callbacks)
            listeners, others = _sorted(callbacks)
            events = _events(run.folder, prepared, recipe, listeners)
            strategy = _strategy_of(recipe, prepared, target, own=bool(own), callbacks=others)
            clock = Clock(start, recipe.time_limit_s)
            Trainer(target, recipe, strategy, callbacks=events, signals=signals, clock=clock, until=until).train()
        return longer.finish(target, run) if target is not run and target.complete else target


def _continuation(run: Run, prepared: Prepared, recipe: Recipe, own: str, callbacks: Sequence[Any]) -> Run:
    """Return the run that continues a complete one to more epochs, or the complete run where there are no more."""
    if not longer.continues(run, recipe, prepared, own_model=own):
        _check_same(run, prepared, recipe, own)
        longer.remove_leftover(run.folder)
        return run
    target = longer.begin(run, recipe, prepared, own_model=own)
    _ours(callbacks).note(longer.note(Recipe.from_json(run.recipe_json), recipe, len(target.history)))
    return target


def _load_keras(signals: Signals, callbacks: Sequence[Any]) -> None:
    with signals.importing():
        load_keras("training", _ours(callbacks))


def _ours(callbacks: Sequence[Any]) -> Callbacks:
    """Return the callbacks of this package, before Keras is there to tell its own."""
    return Callbacks([one for one in callbacks if isinstance(one, Callback)])


def _own_model(model: Any, prepared: Prepared) -> str:
    """Check a model that was given. Return the hash of its architecture, or an empty string where there is none."""
    if model is None:
        return ""
    from housetrain.training.own_model import check_model, config_sha256

    check_model(model, spec=prepared.spec, classes=len(prepared.classes))
    return config_sha256(model)


def samples(prepared: Prepared) -> dict[str, Any]:
    """Return some training images of each class by name, for TensorBoard: uint8 ``(n, height, width, channels)``."""
    images, labels = prepared.train.images, prepared.train.labels
    return {
        name: images[(labels == number).nonzero()[0][:_SAMPLES_PER_CLASS]]
        for number, name in enumerate(prepared.classes)
    }


def _events(folder: Path, prepared: Prepared, recipe: Recipe, listeners: Sequence[Callback]) -> Callbacks:
    """Return what follows the training: the files of the run folder, and who was given."""
    board = TensorBoard(folder / "tb", recipe=recipe, classes=prepared.classes, samples=samples(prepared))
    return Callbacks([RunProgressFile(folder / "progress.json"), board, *listeners])


def _sorted(callbacks: Sequence[Any]) -> tuple[list[Callback], list[Any]]:
    """Return the callbacks of this package, and those of Keras."""
    import keras

    ours = [one for one in callbacks if isinstance(one, Callback)]
    theirs = [one for one in callbacks if isinstance(one, keras.callbacks.Callback)]
    if len(ours) + len(theirs) < len(callbacks):
        kinds = sorted({type(one).__name__ for one in callbacks if one not in ours and one not in theirs})
        raise HousetrainError(
            "A callback has the wrong type",
            expected="instances of housetrain.Callback or keras.callbacks.Callback",
            callbacks=", ".join(kinds),
        )
    return ours, theirs


def _strategy_of(recipe: Recipe, prepared: Prepared, run: Run, *, own: bool, callbacks: Sequence[Any]) -> Strategy:
    """Return how the model is fitted."""
    from housetrain.training.epochs import Epochs, recipe_material

    if own:
        from housetrain.training.own_model import own_material

        material = partial(own_material, run.folder, prepared, recipe.seed)
    elif recipe.frozen:
        from housetrain.training.head_fit import HeadFit, dense_material

        if recipe.head == "logistic":
            if callbacks:
                raise RecipeError(
                    "Keras callbacks need a model that is trained by epochs",
                    do="set head to dense, or leave them out",
                    head=recipe.head,
                )
            return HeadFit(recipe, prepared)
        material = partial(dense_material, recipe, prepared)
    else:
        material = partial(recipe_material, recipe, prepared)
    weighted = prepared.balance == "weights"
    return Epochs(recipe, prepared.classes, weighted=weighted, material=material, callbacks=callbacks)


# ------------------------------------------------------------------------------------------------- the folder
def _check_ours(folder: Path) -> None:
    """Refuse to fill a folder that holds something else, such as the current one."""
    if (folder / "recipe.json").exists() or not folder.is_dir():
        return
    ours = {
        "input.json", "split.json", "env.json", "progress.json", "findings.csv", "report.html", "own_model.keras"
    }  # fmt: skip
    foreign = sorted(item.name for item in folder.iterdir() if item.name not in ours and not item.name.startswith("."))
    if foreign:
        raise StoreError(
            "The folder is not empty and is no run",
            expected="a new folder, or one of an earlier run",
            do="name another one",
            folder=str(folder),
            holds=", ".join(foreign[:3]),
        )


def _check_same(run: Run, prepared: Prepared, recipe: Recipe, own: str) -> None:
    """Refuse to resume a run of other settings or other images, naming what differs."""
    if different := differences(run, recipe, prepared, own_model=own):
        raise StoreError(
            f"The folder holds another run: {'; '.join(different)}",
            do="choose another folder, or remove that run",
            folder=str(run.folder),
        )


def _write_inputs(run: Run, prepared: Prepared, recipe: Recipe, own: str, model: Any) -> None:
    """Write the request; each file only once, so that a run never changes."""
    folder = run.folder
    if (folder / "recipe.json").exists():
        _check_same(run, prepared, recipe, own)
    elif model is not None:
        from housetrain.training.own_model import save_model

        save_model(model, folder)
    if not (folder / "recipe.json").exists():
        store.write_json_atomic(folder / "recipe.json", recipe.to_json())
    if not (folder / "input.json").exists():
        with store.disk_errors(folder):
            prepared.split.save(folder)
        value = {
            "spec": prepared.spec.to_json(),
            "classes": prepared.classes,
            "data": prepared.fingerprint,
            "decoder": dict(prepared.decoder),
            "prepared": str(prepared.folder.absolute()),
            "counts": prepared.counts(),
            "balance": prepared.balance,
            "own_model": own,
        }
        store.write_json_atomic(folder / "input.json", value)
    (folder / "failed.json").unlink(missing_ok=True)  # the training continues from the last good epoch
