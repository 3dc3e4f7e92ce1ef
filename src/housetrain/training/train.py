"""Training one model: the folder it goes into, and who listens. The epochs themselves are in ``session.py``.

In: prepared images, a `Recipe`, a run folder. Out: a `Run` whose ``model.keras`` holds the weights of the best epoch.
It does not know the command line, the page, how images are decoded, nor what is done with the model afterwards.

    train(Prepared.open("prepared/PetImages-50x50-grayscale"), Recipe.of("cnn"), "runs/cats")

A run is exact at epoch boundaries: the same call after a kill -9 goes on from the last finished epoch, and with
``deterministic=True`` it ends in the same weights, bit for bit, as if nothing had happened. An epoch that was
interrupted, by a kill or by Ctrl-C, is trained anew.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from housetrain.errors import StoreError
from housetrain.models.nets import check_feasible
from housetrain.system import store
from housetrain.system.backend import load_keras
from housetrain.system.events import Callbacks
from housetrain.system.lock import Lock
from housetrain.training.interrupt import Signals
from housetrain.training.progress import ProgressFile
from housetrain.training.run import Run, differences
from housetrain.training.tensorboard import TensorBoard
from housetrain.training.trainer import Session, samples

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.models.recipe import Recipe
    from housetrain.system.events import Callback


def train(
    prepared: Prepared,
    recipe: Recipe,
    folder: Path | str | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    until: int | None = None,
) -> Run:
    """Train one model, or go on with a training that was interrupted, or return it if it is complete.

    Args:
        prepared: The images. Training sees the train and validation splits only.
        recipe: The settings.
        folder: The run folder; ``runs/<name of the recipe>`` by default.
        callbacks: Follow the training, such as `housetrain.ProgressBar`. ``progress.json`` and the TensorBoard files
            in ``folder/tb`` are always written. `Callback.begin` receives, among other facts, ``model``, the Keras
            model that is about to be trained; `Callback.epoch` receives ``confusion``, the validation counts
            ``(classes, classes)`` with a row for each true class.
        until: Pause after this epoch, counted from 1, for a search that looks who shall go on. The same call with a
            later epoch, or without, goes on from there.

    Returns:
        The complete `Run`; a paused one is not complete.

    Raises:
        StoreError: The folder holds another run, or something that is no run.
        RunLocked: Another process trains into this folder.
        TrainingError: The loss is not a number. The last good weights are kept.
        RecipeError: The net does not fit the images.
        DiskFull: The run folder cannot be written.
        MissingExtra: No Keras backend is installed.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the step is finished; what is kept lets the same call go on.
    """
    start = time.monotonic()
    folder = Path(folder) if folder is not None else Path("runs") / recipe.name
    run = Run(folder)
    if run.complete:
        _check_same(run, prepared, recipe)
        return run
    check_feasible(recipe, prepared.spec)
    _check_ours(folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Lock(folder))  # before the seconds that importing Keras takes
        if run.complete:  # the process that held the lock has just finished it
            _check_same(run, prepared, recipe)
            return run
        signals = stack.enter_context(Signals())
        _write_inputs(run, prepared, recipe)
        load_keras("training")  # takes seconds: only now that the folder is ours
        kind = Session
        if recipe.frozen:
            from housetrain.training.head_fit import session_of

            kind = session_of(recipe)
        board = TensorBoard(folder / "tb", recipe=recipe, classes=prepared.classes, samples=samples(prepared))
        told = Callbacks([ProgressFile(folder / "progress.json"), board, *callbacks])
        kind(run, prepared, recipe, callbacks=told, signals=signals, start=start, until=until).train()
    return run


# ------------------------------------------------------------------------------------------------- the folder
def _check_ours(folder: Path) -> None:
    """Refuse to fill a folder that holds something else, such as the current one."""
    if (folder / "recipe.json").exists() or not folder.is_dir():
        return
    own = {"input.json", "split.json", "env.json", "progress.json", "findings.csv", "report.html"}
    foreign = sorted(item.name for item in folder.iterdir() if item.name not in own and not item.name.startswith("."))
    if foreign:
        raise StoreError(
            "The folder is not empty and is no run",
            expected="a new folder, or one of an earlier run",
            do="name another one",
            folder=str(folder),
            holds=", ".join(foreign[:3]),
        )


def _check_same(run: Run, prepared: Prepared, recipe: Recipe) -> None:
    """Refuse to resume a run of other settings or other images, naming what differs."""
    if different := differences(run, recipe, prepared):
        raise StoreError(
            f"The folder holds another run: {'; '.join(different)}",
            do="choose another folder, or remove that run",
            folder=str(run.folder),
        )


def _write_inputs(run: Run, prepared: Prepared, recipe: Recipe) -> None:
    """Write what was asked for; each file only once, so that a run never changes its mind."""
    folder = run.folder
    if (folder / "recipe.json").exists():
        _check_same(run, prepared, recipe)
    else:
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
        }
        store.write_json_atomic(folder / "input.json", value)
    (folder / "failed.json").unlink(missing_ok=True)  # it is tried again from the last good epoch
