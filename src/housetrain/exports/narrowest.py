"""The narrowest numbers in which a run's model still names the same class for every validation image.

In: a run. Out: the folder to predict with, and the reason in one line. Does not know: the images to predict.

Only forms that this processor is quick at are tried: 8 bits with VNNI or AMX, bfloat16 where it multiplies that
natively. The choice is kept in ``RUN/exports/narrowest.json`` until the model or the machine is another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from housetrain.errors import CorruptError, HousetrainError, IncompleteError
from housetrain.exports.bundle import export
from housetrain.exports.run_images import images_of
from housetrain.inference.engine import Precision
from housetrain.inference.predictor import Predictor
from housetrain.system import machine, store
from housetrain.system.events import Callback, Callbacks
from housetrain.system.files import refuse_links
from housetrain.training.run import Run

CHOICE = "narrowest.json"


class Narrowest(NamedTuple):
    """What to predict with.

    Attributes:
        folder: A bundle with the narrow model, or what was given where float32 stays.
        precision: ``"int8"``, ``"bf16"`` or ``"fp32"``: the bundle's own precision.
        why: One line for people.
    """

    folder: Path
    precision: Precision
    why: str


def narrowest(path: Path | str, *, callbacks: Sequence[Callback] = ()) -> Narrowest:
    """Return the narrowest form of a run's model, made and checked at the first call.

    Args:
        path: A run folder. A bundle without its run stays as it is: it has no validation images to check with.
        callbacks: Receive the reason as a note.

    Raises:
        IncompleteError: The run has no model yet.
        ModelError: The model is refused.
    """
    folder = Path(path)
    if not (folder / "recipe.json").is_file():
        found = Narrowest(folder, "fp32", "the precision is that of the bundle: without its run it cannot be checked")
    else:
        found = _of_run(Run.open(folder))
    Callbacks(callbacks).note(f"Precision {found.precision}: {found.why}")
    return found


def _of_run(run: Run) -> Narrowest:
    refuse_links(run.folder)
    file = run.folder / "exports" / CHOICE
    quick = machine.quick_precisions()
    request = {"model_sha256": run.model_sha256, "quick": list(quick)}
    with contextlib.suppress(IncompleteError, CorruptError, KeyError, TypeError, ValueError):
        kept = store.read_object(file, "request", "precision", "why")
        bits: Precision = kept["precision"]
        folder = _folder(run, bits)
        if kept["request"] == request and (bits == "fp32" or (folder / store.MANIFEST).is_file()):
            return Narrowest(folder, bits, str(kept["why"]))
    found = _tried(run, quick)
    file.parent.mkdir(parents=True, exist_ok=True)
    store.write_json_atomic(file, {"request": request, "precision": found.precision, "why": found.why})
    return found


def _folder(run: Run, precision: Precision) -> Path:
    return run.folder if precision == "fp32" else run.folder / "exports" / f"openvino-{precision}"


def _tried(run: Run, quick: Sequence[Any]) -> Narrowest:
    if not quick:
        return Narrowest(run.folder, "fp32", "this processor is not quicker in 8 bits or bfloat16")
    wanted = list(range(len(run.split.of("validation"))))
    images, kind = images_of(run, "validation", wanted)
    if kind == "noise" or len(images) < len(wanted):
        return Narrowest(run.folder, "fp32", "the validation images are gone, so narrower forms cannot be checked")
    with Predictor.load(run, engine="keras") as own:
        labels = own.probabilities(images).argmax(axis=1)
    reasons = []
    for precision in quick:
        folder = _folder(run, precision)
        try:
            export(run, folder, format="openvino", precision=precision)
            with Predictor.load(folder) as narrow:
                changed = int((narrow.probabilities(images).argmax(axis=1) != labels).sum())
        except HousetrainError as error:
            reasons.append(f"{precision} cannot be used ({error.what[0].lower()}{error.what[1:]})")
            continue
        if not changed:
            reasons.append(f"all {len(images):,} validation images keep their class")
            return Narrowest(folder, precision, "; ".join(reasons))
        reasons.append(f"{precision} changes the class of {changed} of {len(images):,} validation images")
    return Narrowest(run.folder, "fp32", "; ".join(reasons))
