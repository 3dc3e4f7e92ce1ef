"""The model behind a path: the engine of a bundle or of a training run, with everything a prediction needs.

In: a bundle folder or a run folder. Out: an `OpenedModel`. Does not know: images, or how the model was trained. Nothing
is read from a folder until its format has been checked.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from housetrain.data.split_manifest import SplitManifest
from housetrain.errors import CorruptError, DecodeError, HousetrainError, IncompleteError, ModelError
from housetrain.images.decode import PIXELS
from housetrain.images.input_spec import InputSpec
from housetrain.inference import verify
from housetrain.inference.decision import UNDECIDED, Decision, decide
from housetrain.inference.engine import Engine, Probabilities
from housetrain.inference.formats import format_named
from housetrain.inference.formats import keras as keras_format
from housetrain.inference.model_format import ModelFormat
from housetrain.inference.novelty import FILE as NOVELTY
from housetrain.inference.novelty import Novelty, with_novelty
from housetrain.models.outputs import class_probabilities
from housetrain.system import store
from housetrain.system.arrays import load_npy
from housetrain.system.near_folders import instead_of
from housetrain.system.regular_files import read_bytes

MODEL_FILE = "model.keras"
"""The model in a run folder: the weights of the best epoch."""
ENCODER_FILE = "model.xml"
"""The same where an encoder of the user's own is its backbone; ``model.bin`` holds the weights."""
_MODEL_FILES = (MODEL_FILE, ENCODER_FILE, "model.bin")
_OUTPUTS = "validation.npy"  # its outputs for the validation images
_log = logging.getLogger(__name__)


class HasFolder(Protocol):
    """A run, for example."""

    @property
    def folder(self) -> Path:
        """The folder that holds the model."""


class OpenedModel(NamedTuple):
    """A model that is ready to run.

    Attributes:
        engine: Computes its outputs.
        spec: Its input.
        classes: Class names, in the order of the engine's columns.
        seen: Which images it was made with.
        decision: How its probabilities become predictions.
        about: What is known of it: recipe, metrics, versions.
    """

    engine: Engine
    spec: InputSpec
    classes: tuple[str, ...]
    seen: verify.Seen
    decision: Decision
    about: dict[str, Any]


def open_model(path: Path | str | HasFolder, *, engine: str | None = None) -> OpenedModel:
    """Open a bundle, or a run: its bundle if that holds the run's current model, else the run's model itself.

    Args:
        path: A bundle folder, a run folder, or a run.
        engine: Use the model of this format; by default the first of the bundle's that this machine can run.

    Raises:
        ModelError: There is no model, or it is refused, or its probabilities changed since it was exported.
        CorruptError: A file was changed after it was written.
        MissingExtra: The library that runs this kind of model is not installed.
    """
    folder = Path(path) if isinstance(path, (str, Path)) else path.folder
    if (folder / "recipe.json").is_file():
        bundle = folder / "bundle"
        if engine == "keras" or not _is_current(bundle, folder):
            return _of_run(folder, engine)
        return _of_bundle(bundle, engine)
    if folder.is_dir() and any((folder / name).is_file() for name in (store.MANIFEST, verify.ABOUT)):
        return _of_bundle(folder, engine)
    if folder.is_dir() and (folder / "bundle" / store.MANIFEST).is_file():
        return _of_bundle(folder / "bundle", engine)
    is_folder = folder.is_dir() and not (folder / "saved_model.pb").exists()
    if folder.exists() and not is_folder and folder.suffix.lower() != ".keras":
        keras_format.refuse_other_formats(folder)
    what = "A model file alone has no class names and no input size" if folder.exists() else "There is no such model"
    raise ModelError(
        "There is no model in this folder" if is_folder else what,
        expected=f"a bundle ({verify.ABOUT}) or a run folder (recipe.json) of housetrain",
        do=instead_of(folder, verify.ABOUT, "recipe.json", otherwise="give the folder that holds one of these files"),
        path=str(folder),
    )


def files_of_model(path: Path | str, *, engine: str | None = None) -> tuple[Path, tuple[str, ...]]:
    """Return the folder that `open_model` reads for the same arguments, and the names of its files.

    Raises:
        CorruptError: A bundle has no readable manifest.
    """
    folder = Path(path)
    if (folder / "recipe.json").is_file():
        if engine == "keras" or not _is_current(folder / "bundle", folder):
            names = ("recipe.json", "input.json", "split.json", *_MODEL_FILES, _OUTPUTS, NOVELTY)
            return folder, tuple(name for name in names if (folder / name).is_file())
        folder = folder / "bundle"
    elif not (folder / store.MANIFEST).is_file():
        folder = folder / "bundle"
    return folder, (store.MANIFEST, *store.manifest_files(folder))


def model_file(run_folder: Path) -> Path:
    """Return the model file of a run.

    Raises:
        IncompleteError: No epoch is finished yet.
    """
    for name in (MODEL_FILE, ENCODER_FILE):
        if (run_folder / name).is_file():
            return run_folder / name
    raise IncompleteError(
        "The run has no model yet",
        do="let it finish its first epoch: run the same command again",
        run=str(run_folder),
    )


def model_files(run_folder: Path) -> tuple[Path, ...]:
    """Return the files of a run's model, ``model.keras`` or ``model.xml`` and ``model.bin``; none before one exists."""
    return tuple(run_folder / name for name in _MODEL_FILES if (run_folder / name).is_file())


def own_format(run_folder: Path) -> ModelFormat:
    """Return the format of a run's model: Keras, or OpenVINO where an encoder of the user's own is its backbone.

    Raises:
        IncompleteError: No epoch is finished yet.
    """
    return format_named("keras" if model_file(run_folder).name == MODEL_FILE else "openvino")


def model_sha256(run_folder: Path) -> str:
    """Return the sha256 of a run's model, of both files where it has two; computed once per process and file.

    Raises:
        IncompleteError: No epoch is finished yet.
    """
    file = model_file(run_folder)
    if file.name == MODEL_FILE:
        return store.known_sha256(file)
    both = "".join(store.known_sha256(one) for one in (file, file.with_suffix(".bin")))
    return hashlib.sha256(both.encode()).hexdigest()


def validation_probabilities(run_folder: Path, *, classes: int, images: int) -> Probabilities | None:
    """Return a run's probabilities for its validation images as the model gave them, float32 (``images``, classes).

    ``None`` where the run did not keep them, or kept them for another number of images.
    """
    try:
        outputs = load_npy(run_folder / _OUTPUTS)
        return class_probabilities(outputs, classes) if len(outputs) == images else None
    except (OSError, ValueError, TypeError, EOFError, HousetrainError):
        return None


def decision_of(run_folder: Path, classes: tuple[str, ...], split: SplitManifest) -> Decision:
    """Return how the probabilities of a run become predictions: what its validation images say."""
    rows = split.of("validation")
    given = validation_probabilities(run_folder, classes=len(classes), images=len(rows))
    if given is None or split.classes != classes:
        return UNDECIDED
    place = {label: number for number, label in enumerate(classes)}
    return decide([place[row.label] for row in rows], given)


def _is_current(bundle: Path, run_folder: Path) -> bool:
    """Return whether the bundle in a run holds the run's current model: training may have continued since."""
    if not (bundle / store.MANIFEST).is_file():
        return False
    try:
        about = store.read_json(bundle / verify.ABOUT)
        return bool(about["run"]["model_sha256"] == model_sha256(run_folder))
    except (IncompleteError, CorruptError, KeyError, TypeError):
        return True  # no model in the run, or a damaged bundle: its own check names the problem


def _of_bundle(folder: Path, engine: str | None) -> OpenedModel:
    """Open a bundle; open it again if an export replaced it meanwhile."""
    while True:
        manifest = _bytes_or_none(folder / store.MANIFEST)
        try:
            return _of_checked_bundle(folder, engine)
        except (CorruptError, ModelError):
            if _bytes_or_none(folder / store.MANIFEST) == manifest:
                raise


def _of_checked_bundle(folder: Path, engine: str | None) -> OpenedModel:
    contents = verify.read_bundle(folder, engine=engine)
    about, entry, spec = contents.about, contents.entry, contents.spec
    classes = tuple(about["classes"])
    loaded = contents.format.open(
        folder / entry.file, entry.precision, classes=len(classes), input_shape=spec.shape, trusted=True,
        features=contents.novelty is not None,
    )  # fmt: skip
    verify.check_golden(loaded, contents.golden, tolerance=entry.tolerance)
    _warn_if_pixels_differ(about)
    engine_ = with_novelty(loaded, contents.novelty)
    return OpenedModel(engine_, spec, classes, contents.seen, contents.decision, {**about, "engine": entry.format})


def _of_run(folder: Path, engine: str | None) -> OpenedModel:
    model = store.read_object(folder / "input.json", "spec", "classes")
    made_with = store.read_object(folder / "recipe.json")
    spec, classes = InputSpec.from_json(model["spec"]), tuple(model["classes"])
    file = model_file(folder)
    # Imported here: predicting with a bundle needs neither.
    from housetrain.inference.fastest import keras_engine, serving_engine

    own = own_format(folder)
    if engine not in (None, own.name):
        raise ModelError(
            f"The run has no {engine} model",
            expected=f"{own.name}, or a format that its bundle holds",
            do="export the run in that format, and predict with the folder that export names"
            if own.name == "keras"
            else "train a built-in model for what needs Keras: an encoder of your own runs in OpenVINO alone",
            run=str(folder),
            engine=engine,
        )
    novelty = Novelty.of_run(folder)
    wanted: dict[str, Any] = {"classes": len(classes), "input_shape": spec.shape, "features": novelty is not None}
    if own.name != "keras":
        loaded = own.open(file, **wanted)
    elif engine is None:
        precision, parameters = str(made_with.get("precision", "auto")), _parameters(folder)
        loaded = serving_engine(file, precision=precision, parameters=parameters, **wanted)
    else:
        loaded = keras_engine(file, **wanted)
    about = {
        "classes": list(classes),
        "spec": spec.to_json(),
        "recipe": made_with,
        "engine": "keras" if loaded.name.startswith("Keras") else "openvino",
        "model_sha256": model_sha256(folder),
        "decoder": model.get("decoder"),
    }
    _warn_if_pixels_differ(about)
    split, measured = SplitManifest.load(folder), with_novelty(loaded, novelty)
    return OpenedModel(measured, spec, classes, verify.Seen.of(split), decision_of(folder, classes, split), about)


def _parameters(folder: Path) -> int | None:
    """Return the number of parameters of a run's model; ``None`` if it is not recorded."""
    path = folder / "result.json"
    found = store.read_object(path).get("parameters") if path.is_file() else None
    return found if isinstance(found, int) else None


def _warn_if_pixels_differ(about: dict[str, Any]) -> None:
    """Warn where the current decoder gives other pixels for the same file than at training time."""
    then = (about.get("decoder") or {}).get("housetrain")
    if then is not None and then != str(PIXELS):
        _log.warning(
            "This model was trained on images decoded in another way (%s, now %d): some predictions may differ "
            "from those of its test. Prepare and train again, or use the version of housetrain that made it (%s).",
            then,
            PIXELS,
            about.get("housetrain", "see env.json of the run"),
        )


def _bytes_or_none(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except DecodeError:
        return None
