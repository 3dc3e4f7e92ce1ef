"""Run -> bundle: one folder with the model, its class names and everything needed to use and to check it.

In: a run with a model. Out: a folder that `housetrain.inference.predictor.Predictor.load` opens on any machine::

    model.keras    the best epoch, for use: no augmentation, no optimizer; or model.xml, model.onnx, model.tflite, ...
    bundle.json    class names, what the model eats, how and on what it was made, how good it was, when it is unsure
    golden.npz     a dozen real validation images and the model's answers: still the same when it is loaded?
    seen.npz       which files it was made with (8 bytes of each sha256), so that a prediction can say so
    README.md      how to use it
    manifest.json  size and sha256 of each file; written last

The folder appears at once, or the old one stays as it was. Nothing in it is pickled, nothing names a path of this
machine, and the same run gives the same bytes. Every form of the model but Keras's own was compared with it on real
images before the folder appeared. It does not know how the model was trained.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import DecodeError, HousetrainError, IncompleteError, MissingExtra, ModelError
from housetrain.exports import model_card
from housetrain.exports.convert import convert
from housetrain.exports.formats import (
    FORMATS,
    NAMES,
    PRECISIONS,
    TOLERANCES,
    Form,
    Format,
    Precision,
    is_installed,
    need,
)
from housetrain.exports.parity import IMAGES, Parity, Yardstick, compare, in_batches
from housetrain.inference import abstain, verify
from housetrain.inference.engine import Engine, Images, KerasEngine, Probabilities, class_probabilities
from housetrain.inference.runtimes import ENGINES, load_saved_model_engine
from housetrain.system import store
from housetrain.training.run import Run

if TYPE_CHECKING:
    from housetrain.data.split_manifest import SplitName

GOLDEN_IMAGES = 12
CALIBRATION_IMAGES = 300
"""Training images that find the ranges of 8-bit numbers; more did not change the accuracy of the nets here."""
_FEW = 32  # images that the second form of a run's own bundle is compared on
_LARGE = 4_000_000  # parameters above which a net is worth computing in bfloat16
_METRICS = ("n", "accuracy", "accuracy_interval", "loss", "auc", "ece")


@dataclass(frozen=True)
class Exported:
    """A deployed model, and how it compares with the Keras model it was made from.

    Attributes:
        folder: The bundle.
        parity: One row per form: the Keras model first, then the exported one.
    """

    folder: Path
    parity: tuple[Parity, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-plain."""
        return {"bundle": str(self.folder), "parity": [row.to_json() for row in self.parity]}


def export_bundle(run: Run | Path | str, folder: Path | str | None = None) -> Path:
    """Write the bundle of a run, checked before it counts.

    It holds the Keras model, and where OpenVINO is installed the same model for it: such a bundle predicts without
    TensorFlow, with a start of a fraction of a second. `export` makes bundles for other libraries.

    Args:
        run: A run, or its folder; it needs a model, not a finished training.
        folder: The folder to make, or to replace if it is a bundle; by default ``bundle`` inside the run.

    Returns:
        The bundle's folder.

    Raises:
        IncompleteError: The run has no model yet.
        ModelError: The model is refused, or ``folder`` holds something else than a bundle.
        DiskFull: There is no room or no permission; what was there before is intact.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    target = Path(folder) if folder is not None else run.folder / "bundle"
    _refuse_to_replace_anything_else(target)
    source = _Source.of(run, images=_FEW)
    extra: list[tuple[Format, Precision]] = []
    if is_installed("openvino"):
        extra.append(("openvino", "bf16" if source.model.count_params() > _LARGE else "fp32"))
    _write(source, target, [("keras", "fp32")], extra)
    return target


def export(
    run: Run | Path | str, folder: Path | str | None = None, *, to: Format = "openvino", precision: Precision = "fp32"
) -> Exported:
    """Write the model of a run for another library, compared with the Keras model before it counts.

    Args:
        run: A run, or its folder.
        folder: The folder to make, or to replace if it is a bundle; by default ``exports/FORMAT-PRECISION`` in the run.
        to: The format: one of `housetrain.exports.formats.FORMATS`.
        precision: One that `housetrain.exports.formats.PRECISIONS` lists for it.

    Returns:
        The bundle's folder and the comparison on up to 512 validation images.

    Raises:
        IncompleteError: The run has no model yet.
        ModelError: There is no such format, the conversion failed, or its result does not say what Keras says.
        MissingExtra: A library is not installed.
        DiskFull: There is no room or no permission; what was there before is intact.
    """
    need(to, precision=precision)
    run = run if isinstance(run, Run) else Run.open(Path(run))
    target = Path(folder) if folder is not None else run.folder / "exports" / f"{to}-{precision}"
    _refuse_to_replace_anything_else(target)
    source = _Source.of(run, images=IMAGES)
    rows = _write(source, target, [(to, precision)], [])
    return Exported(target, (source.keras_row(), *(row for row in rows if to != "keras")))


def benchmark(run: Run | Path | str, *, formats: Sequence[Format] = FORMATS) -> tuple[list[Parity], dict[str, str]]:
    """Export a run in every format and precision that this machine can make, and compare them. Leaves nothing behind.

    Args:
        run: A run, or its folder.
        formats: Only these.

    Returns:
        One row per form, the Keras model first, also of those that are not good enough; and for each form that could
        not be made, the reason.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    source = _Source.of(run, images=IMAGES)
    table, left_out = [source.keras_row()], dict[str, str]()
    for to in formats:
        for precision in PRECISIONS[to] if to != "keras" else ():
            try:
                with tempfile.TemporaryDirectory(prefix="housetrain-") as scratch:
                    table.append(_make(source, Path(scratch), to, precision).row)
            except (ModelError, MissingExtra) as error:
                left_out[f"{to} {precision}"] = error.what
    return table, left_out


# ------------------------------------------------------------------------------------------------- inside
@dataclass(frozen=True)
class _Source:
    """A run with its Keras model loaded, and what that says of the golden and of more validation images."""

    run: Run
    engine: KerasEngine
    golden: Yardstick
    yardstick: Yardstick

    @classmethod
    def of(cls, run: Run, *, images: int) -> _Source:
        path, classes = run.model_path, len(run.classes)
        engine = KerasEngine.load(path, classes=classes, input_shape=run.spec.shape)
        rows = run.split.of("validation")
        labels = [row.label for row in rows]
        wanted = _spread(labels, max(images, GOLDEN_IMAGES))
        shown, kind = _images(run, "validation", wanted)
        answers = in_batches(engine, shown)  # one size of batch: every other one costs a large net seconds
        if not np.isfinite(answers).all():
            raise ModelError("The model's answers are not numbers", do="train it anew", run=str(run.folder))
        whole = kind == "validation" and len(shown) == len(wanted)
        true = np.array([run.classes.index(labels[at]) for at in wanted], np.int64) if whole else None
        few = [wanted.index(at) for at in _spread(labels, GOLDEN_IMAGES)] if whole else [*range(len(shown))]
        few = few[:GOLDEN_IMAGES]
        golden = Yardstick(shown[few], answers[few], None if true is None else true[few], kind)
        return cls(run, engine, golden, Yardstick(shown, answers, true, kind))

    @property
    def model(self) -> Any:
        return self.engine.model

    def keras_row(self) -> Parity:
        path = self.run.model_path

        def load() -> Engine:
            return KerasEngine.load(path, classes=len(self.run.classes), input_shape=self.run.spec.shape)

        size = path.stat().st_size
        return compare(load, self.yardstick, engine="keras", precision="fp32", size=size)[0]


@dataclass(frozen=True)
class _Made:
    form: Form
    row: Parity
    golden: Probabilities  # what it says of the golden images


def _make(source: _Source, folder: Path, to: Format, precision: Precision, *, timed: bool = True) -> _Made:
    """Write one form into a folder, load it again, and compare."""
    run, classes = source.run, len(source.run.classes)
    calibration = None
    if precision == "int8":
        rows = run.split.of("train")
        calibration, kind = _images(run, "train", _spread([row.label for row in rows], CALIBRATION_IMAGES))
        if kind == "noise":
            calibration = None
    if to == "keras":  # the file itself: saved anew it would carry another time
        (folder / NAMES[to]).write_bytes(run.model_path.read_bytes())
        files: tuple[str, ...] = (NAMES[to],)
    else:
        files = convert(source.model, folder, to=to, precision=precision, calibration=calibration)

    def load() -> Engine:
        if to == "keras":  # a copy of the very file that is loaded already
            return source.engine
        shape = run.spec.shape
        return ENGINES.get(to, load_saved_model_engine)(
            folder / NAMES[to], classes=classes, input_shape=shape, precision=precision
        )

    size = sum((folder / name).stat().st_size for name in files)
    row, engine = compare(load, source.yardstick, engine=to, precision=precision, size=size, timed=timed)
    # Where a processor lacks bfloat16, the same file computes in float32: its answers are then nearer to Keras's.
    golden = source.golden.probabilities if to == "keras" else engine.probabilities(source.golden.images)
    apart = float(np.max(np.abs(golden - source.golden.probabilities)))
    usual = source.engine.tolerance if to == "keras" else TOLERANCES[precision]
    return _Made(Form(to, NAMES[to], precision, min(0.99, max(usual, round(2 * apart, 3))), files), row, golden)


def _write(
    source: _Source,
    target: Path,
    wanted: Sequence[tuple[Format, Precision]],
    welcome: Sequence[tuple[Format, Precision]],
) -> tuple[Parity, ...]:
    """Write a bundle with all forms that are wanted, and those welcome that can be made. The welcome ones come first.

    The golden answers are those of the one form wanted.
    """
    run = source.run
    store.ensure_room(target, 4 * run.model_path.stat().st_size + (4 << 20))
    made: dict[Format, _Made] = {}
    left_out: dict[str, str] = {}
    with store.commit_folder(target.absolute().parent, target.name) as inside:
        for to, precision in wanted:
            made[to] = _make(source, inside, to, precision, timed=not welcome)
            made[to].row.must_be_good()
        answers = made[wanted[0][0]].golden
        for to, precision in welcome:
            scratch = inside / f"making-{to}"
            scratch.mkdir()
            try:
                made[to] = _make(source, scratch, to, precision, timed=not welcome)
                made[to].row.must_be_good()
            except (ModelError, MissingExtra) as error:  # the bundle is good without it, and says why it is missing
                made.pop(to, None)
                left_out[to] = error.what
            else:
                for name in made[to].form.files:
                    (scratch / name).rename(inside / name)
            finally:
                _remove(scratch)
        order = [to for to, _ in (*welcome, *wanted) if to in made]
        about = _about(run, forms=[made[to].form for to in order], golden=source.golden.kind)
        about["parity"] = {to: _facts(made[to].row) for to in order if to != "keras"}
        about["left_out"] = left_out
        store.write_json_atomic(inside / verify.ABOUT, about)
        _save_arrays(inside / verify.GOLDEN, images=source.golden.images, probabilities=answers)
        _save_arrays(inside / verify.SEEN, **verify.Seen.of(run.split).prefixes)
        (inside / "README.md").write_text(model_card.write(target.name, about), encoding="utf-8")
    return tuple(made[to].row for to in order)


def _facts(row: Parity) -> dict[str, Any]:
    """Return what a bundle keeps of a comparison: nothing that depends on the day."""
    return {
        "precision": row.precision,
        "images": row.images,
        "kind": row.kind,
        "difference": round(row.difference, 3),
        "agreement": round(row.agreement, 4),
        "accuracy": row.accuracy,
        "keras_accuracy": row.keras_accuracy,
    }


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _refuse_to_replace_anything_else(target: Path) -> None:
    """A folder is replaced whole, so it must be one that export wrote: a slip must not cost a folder of photos."""
    if target.exists() and not ((target / store.MANIFEST).is_file() and (target / verify.ABOUT).is_file()):
        if target.is_dir() and not any(target.iterdir()):
            return
        raise ModelError(
            "There is something else where the bundle should go",
            expected="a new folder, or a bundle to replace",
            do="choose another folder",
            folder=str(target),
        )


def _about(run: Run, *, forms: Sequence[Form], golden: str) -> dict[str, Any]:
    """Return the value of ``bundle.json``: what is true of the model, whatever the day."""
    result = run.result or {}
    model_sha256 = store.file_sha256(run.model_path)
    keras, when = _saved_by(run.model_path)
    return {
        "format": verify.FORMAT,
        "housetrain": version("housetrain"),
        "forms": [form.to_json() for form in forms],
        "keras": keras,
        "classes": list(run.classes),
        "spec": run.spec.to_json(),
        "recipe": run.recipe_json,
        "metrics": {
            "best_epoch": result.get("best_epoch"),
            "validation": {name: result.get(f"val_{name}") for name in ("loss", "accuracy")},
            "test": _test_metrics(run, model_sha256),
        },
        "trained": when,
        "data": run.input_json.get("data"),
        "decoder": run.input_json.get("decoder"),
        "counts": run.split.counts(),
        "golden": golden,
        "unsure": _unsure(run),
        "run": {"name": run.name, "complete": run.complete, "model_sha256": model_sha256},
    }


def _saved_by(model: Path) -> tuple[str, str | None]:
    """Return which Keras saved the model, and the local time when it did: the end of its best epoch, about."""
    with zipfile.ZipFile(model) as archive:
        facts = json.loads(archive.read("metadata.json"))
    when = facts.get("date_saved")
    return str(facts.get("keras_version", "unknown")), str(when).replace("@", "T") if when else None


def _test_metrics(run: Run, model_sha256: str) -> dict[str, Any] | None:
    """Return the test result kept in the run, if it is of these very weights."""
    try:
        kept = store.read_json(run.folder / "evaluation" / "evaluation.json")
    except IncompleteError:
        return None
    if not isinstance(kept, dict) or kept.get("weights") != model_sha256:
        return None
    return {name: kept[name] for name in _METRICS if name in kept}


def _unsure(run: Run) -> dict[str, Any] | None:
    """Return when the model should say that it is unsure, from what it said of the validation images."""
    try:
        outputs: NDArray[Any] = np.load(run.folder / "validation.npy", allow_pickle=False)
        given = class_probabilities(outputs, len(run.classes))
    except (OSError, ValueError, EOFError, ModelError):
        return None
    labels = [run.classes.index(row.label) for row in run.split.of("validation")]
    return abstain.threshold(labels, given) if len(labels) == len(given) else None


def _images(run: Run, split: SplitName, wanted: list[int]) -> tuple[Images, str]:
    """Return images of a split, and the word for where they come from.

    From the prepared arrays where these are still those of the run; else from the files; and where both are gone, from
    a seeded generator: noise says less of a model than photos, yet it tells a changed one.
    """
    for find in (_prepared_images, _decoded_images):
        with contextlib.suppress(HousetrainError):
            return find(run, split, wanted), split
    return np.random.default_rng(0).integers(0, 256, (GOLDEN_IMAGES, *run.spec.shape), dtype=np.uint8), "noise"


def _prepared_images(run: Run, split: SplitName, wanted: list[int]) -> Images:
    from housetrain.data.prepare import Prepared

    prepared = Prepared.load(Path(run.input_json.get("prepared") or run.folder))
    same = prepared.spec == run.spec and prepared.sha256(split) == tuple(row.sha256 for row in run.split.of(split))
    if not (same and wanted):
        raise IncompleteError("The prepared images are no longer those of the run", folder=str(prepared.folder))
    images = prepared.images(split)
    return np.stack([np.asarray(images[index]) for index in wanted])


def _decoded_images(run: Run, split: SplitName, wanted: list[int]) -> Images:
    from housetrain.images import decode

    rows, found = run.split.of(split), []
    for index in wanted:
        with contextlib.suppress(DecodeError):
            found.append(decode.load(run.split.root / rows[index].path, run.spec))
    if not found:
        raise IncompleteError("The images of the run are gone", folder=str(run.split.root))
    return np.stack(found)


def _spread(labels: list[str], count: int) -> list[int]:
    """Return so many places in a list of labels, every class in turn."""
    places: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        places.setdefault(label, []).append(index)
    turns = [row[turn] for turn in range(count) for _, row in sorted(places.items()) if turn < len(row)]
    return sorted(turns[:count])


def _save_arrays(path: Path, **arrays: np.ndarray[Any, Any]) -> None:
    """Write an ``.npz``. Compressed: golden images shrink; numpy stamps members with 1980, so bytes repeat."""
    np.savez_compressed(path, allow_pickle=False, **arrays)
