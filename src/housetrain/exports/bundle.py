"""Export: a run becomes a bundle, one folder with a model, its class names, and everything needed to use and check it.

In: a run with a model. Out: a folder that `housetrain.inference.predictor.Predictor.load` opens on any machine::

    model.keras    the best epoch, without augmentation and optimizer; or model.xml, model.onnx, model.tflite, ...
    bundle.json    class names, input spec, how it was trained and tested, when a prediction is unsure
    golden.npz     a dozen validation images and the model's probabilities, compared each time it is loaded
    novelty.npz    features of training images: how far from them an image may be; of pretrained models
    seen.npz       8 bytes of the sha256 of each image it was made with, so that a prediction can recognize them
    README.md      how to use it
    manifest.json  size and sha256 of each file; written last

The folder appears at once, or the old one stays. Nothing is pickled, nothing names a path of this machine, and the same
run gives the same bytes. Each exported model is compared with the run's own on real images before the folder appears:
the Keras model, or that of OpenVINO where the backbone is an encoder of the user's own, which is all its bundle holds.
Does not know: how the model was trained, or what a format is made of.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from housetrain.errors import MissingExtra, ModelError
from housetrain.exports import model_card
from housetrain.exports.about import about_run
from housetrain.exports.parity import IMAGES, Parity, Reference, compare, probabilities
from housetrain.exports.run_images import GOLDEN_IMAGES, images_of, spread
from housetrain.inference import verify
from housetrain.inference.conversions import keep_conversion, kept_conversion
from housetrain.inference.engine import Engine, Images, LoadedModel, Precision, Probabilities
from housetrain.inference.fastest import CONVERTED, keras_engine, serving_precision
from housetrain.inference.formats import FORMATS, format_named
from housetrain.inference.model_folder import own_format
from housetrain.inference.model_format import TOLERANCES, ModelFormat
from housetrain.inference.novelty import FILE as NOVELTY
from housetrain.inference.novelty import Novelty
from housetrain.system import store
from housetrain.system.events import Callback, Callbacks
from housetrain.system.files import refuse_links
from housetrain.training.run import Run

if TYPE_CHECKING:
    from housetrain.data.prepared import Prepared

CALIBRATION_IMAGES = 300
"""Training images that calibrate 8-bit value ranges; more did not change the accuracy of the models measured."""
_FEW = 32  # images that the second model of a run's own bundle is compared on
_Wanted = tuple[ModelFormat, Precision]


@dataclass(frozen=True)
class Exported:
    """An exported model, and how it compares with the Keras model.

    Attributes:
        folder: The bundle.
        parity: One row per model: the Keras model first, then the exported one, if that is another.
    """

    folder: Path
    parity: tuple[Parity, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"bundle": str(self.folder), "parity": [row.to_json() for row in self.parity]}


@dataclass(frozen=True)
class Benchmark:
    """A run's model in every format, compared with the Keras model.

    Attributes:
        rows: One row per model, the Keras model first, including those that are not good enough.
        left_out: ``"FORMAT PRECISION"`` -> why it could not be written.
    """

    rows: tuple[Parity, ...]
    left_out: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"parity": [row.to_json() for row in self.rows], "left_out": self.left_out}


def export(
    run: Run | Path | str,
    folder: Path | str | None = None,
    *,
    format: str | None = None,  # noqa: A002 - the flag's name
    precision: Precision = "fp32",
    prepared: Prepared | None = None,
    callbacks: Sequence[Callback] = (),
) -> Exported:
    """Write the model of a run as a bundle, compared with the Keras model before it appears.

    By default the bundle holds the Keras model and, where OpenVINO is installed, the same model for OpenVINO: such a
    bundle predicts without TensorFlow and starts in a fraction of a second.

    Args:
        run: A run, or its folder; it needs a model, not a finished training.
        folder: The folder to create, or to replace if it is a bundle; by default ``bundle`` in the run, or
            ``exports/FORMAT-PRECISION`` for a given format.
        format: Write this format alone: a name in `housetrain.inference.formats.FORMATS`.
        precision: One of the format's precisions; only with ``format``.
        prepared: The images it was trained on; by default the folder recorded in the run, wherever it is found.
        callbacks: Follow the work: stage ``export``, one step a model.

    Returns:
        The bundle's folder, and the comparison on up to 512 validation images, or on 32 for the default bundle.

    Raises:
        IncompleteError: The run has no model yet, or ``prepared`` holds other images.
        CorruptError: The run holds links, which could lead elsewhere what is written.
        ModelError: The format is unknown, the model is refused, the conversion failed or differs too much from Keras,
            or ``folder`` holds something else than a bundle.
        MissingExtra: A library is not installed.
        DiskFull: No space or no permission; what was there before is intact.
    """
    file_format = None if format is None else format_named(format)
    if file_format is not None:
        file_format.must_be_writable(precision)
    elif precision != "fp32":
        raise ModelError("A precision was given without a format", do="choose a format, too", precision=precision)
    run = run if isinstance(run, Run) else Run.open(Path(run))
    refuse_links(run.folder)
    if file_format is not None:
        _must_be_convertible(run, file_format, precision)
    if file_format is None:
        target = Path(folder) if folder is not None else run.folder / "bundle"
    else:
        target = Path(folder) if folder is not None else run.folder / "exports" / f"{format}-{precision}"
    _refuse_other_folders(target)
    events = Callbacks(callbacks)
    with events.stage("export", run=run.name, folder=str(target)):
        source = _Source.of(run, images=_FEW if file_format is None else IMAGES, prepared=prepared)
        if file_format is None:
            rows = _write(source, target, (source.own, "fp32"), _also(source), events)
            return Exported(target, tuple(sorted(rows, key=lambda row: row.format != source.own.name)))
        rows = _write(source, target, (file_format, precision), [], events)
        return Exported(target, (source.own_row(), *(row for row in rows if format != source.own.name)))


def _also(source: _Source) -> list[_Wanted]:
    """Return what a run's own bundle holds beside the Keras model: the OpenVINO model, where OpenVINO is installed."""
    if source.own.name != "keras" or not FORMATS["openvino"].installed:
        return []
    precision = str(source.run.recipe_json.get("precision", "auto"))
    return [(FORMATS["openvino"], serving_precision(source.engine.model.count_params(), precision=precision))]


def benchmark(
    run: Run | Path | str, *, formats: Sequence[str] | None = None, callbacks: Sequence[Callback] = ()
) -> Benchmark:
    """Export a run in every format and precision that this machine can write, and compare them. Keeps no files.

    Args:
        run: A run, or its folder.
        formats: Names of formats; all by default.
        callbacks: Follow the work: stage ``export``, one step a model.

    Raises:
        IncompleteError: The run has no model yet.
        ModelError: A format is unknown, or the run's model is refused.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    chosen = [format_named(name) for name in (FORMATS if formats is None else formats)]
    wanted = [(one, precision) for one in chosen if one.name != "keras" for precision in one.precisions]
    if own_format(run.folder).name != "keras":
        for one in chosen if formats is not None else ():
            _must_be_convertible(run, one, "fp32")
        wanted = []
    events = Callbacks(callbacks)
    with events.stage("export", run=run.name, total=len(wanted)):
        source = _Source.of(run, images=IMAGES)
        table, left_out = [source.own_row()], dict[str, str]()
        for done, (file_format, precision) in enumerate(wanted, 1):
            try:
                with tempfile.TemporaryDirectory(prefix="housetrain-") as scratch:
                    table.append(_make(source, Path(scratch), (file_format, precision)).row)
            except (ModelError, MissingExtra) as error:
                left_out[f"{file_format.name} {precision}"] = error.what
            events.progress("export", done, len(wanted), unit="models")
    return Benchmark(tuple(table), left_out)


# ------------------------------------------------------------------------------------------------- inside
@dataclass(frozen=True)
class _Source:
    """A run with its own model loaded, and that model's probabilities for golden and further validation images."""

    run: Run
    own: ModelFormat
    engine: LoadedModel
    golden: Reference
    reference: Reference
    prepared: Prepared | None = None

    @classmethod
    def of(cls, run: Run, *, images: int, prepared: Prepared | None = None) -> _Source:
        own = own_format(run.folder)
        engine = (
            keras_engine(run.model_path, classes=len(run.classes), input_shape=run.spec.shape)
            if own.name == "keras"
            else _opened(run, own)
        )
        labels = [row.label for row in run.split.of("validation")]
        wanted = spread(labels, max(images, GOLDEN_IMAGES))
        shown, kind = images_of(run, "validation", wanted, prepared)
        given = probabilities(engine, shown, len(run.classes))
        if not np.isfinite(given).all():
            raise ModelError("The model's probabilities are NaN or infinite", do="train it again", run=str(run.folder))
        complete = kind == "validation" and len(shown) == len(wanted)
        true = np.array([run.classes.index(labels[at]) for at in wanted], np.int64) if complete else None
        few = [wanted.index(at) for at in spread(labels, GOLDEN_IMAGES)] if complete else [*range(len(shown))]
        few = few[:GOLDEN_IMAGES]
        golden = Reference(shown[few], given[few], None if true is None else true[few], kind)
        return cls(run, own, engine, golden, Reference(shown, given, true, kind), prepared)

    def own_row(self) -> Parity:
        row, _ = compare(
            lambda: _opened(self.run, self.own),
            self.reference,
            classes=len(self.run.classes),
            format=self.own.name,
            precision="fp32",
            size=sum(file.stat().st_size for file in _files(self.run)),
        )
        return row


class _Made(NamedTuple):
    entry: verify.ModelEntry
    row: Parity
    golden: Probabilities  # its probabilities for the golden images


def _opened(run: Run, own: ModelFormat) -> LoadedModel:
    return own.open(run.model_path, classes=len(run.classes), input_shape=run.spec.shape)


def _files(run: Run) -> list[Path]:
    """Return the files of a run's own model."""
    return [file for name in own_format(run.folder).contents if (file := run.folder / name).is_file()]


def _must_be_convertible(run: Run, file_format: ModelFormat, precision: Precision) -> None:
    """Refuse to convert a model that is no Keras model.

    Raises:
        ModelError: The backbone is an encoder of the user's own, and it is to be converted.
    """
    own = own_format(run.folder)
    if own.name != "keras" and (file_format.name, precision) != (own.name, "fp32"):
        raise ModelError(
            "A model on an encoder of your own is not converted to other formats",
            expected=f"{own.name} fp32, as its bundle holds it",
            do="train a built-in model for other formats",
            format=file_format.name,
            precision=precision,
        )


def _converted(source: _Source, folder: Path, wanted: _Wanted, calibration: Images | None) -> tuple[str, ...]:
    """Write one model into a folder and return its files. The conversion of a larger model is kept."""
    file_format, precision = wanted
    model, sha256 = source.engine.model, source.run.model_sha256
    if precision != "int8" and model.count_params() > CONVERTED:
        file_format.must_be_writable(precision)
        kept = kept_conversion(file_format, precision, sha256)
        if kept is None:
            kept = keep_conversion(file_format, precision, sha256, model)
        if kept is not None:
            shutil.copytree(kept, folder, ignore=shutil.ignore_patterns(store.MANIFEST), dirs_exist_ok=True)
            names = (path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file())
            return tuple(sorted(name for name in names if name != store.MANIFEST))
    return file_format.write(model, folder, precision, calibration=calibration)


def _make(source: _Source, folder: Path, wanted: _Wanted, *, timed: bool = True) -> _Made:
    """Write one model into a folder, load it, and compare it."""
    file_format, precision = wanted
    run, classes, is_own = source.run, len(source.run.classes), file_format.name == source.own.name
    calibration = None
    if precision == "int8":
        rows = run.split.of("train")
        few = spread([row.label for row in rows], CALIBRATION_IMAGES)
        images, kind = images_of(run, "train", few, source.prepared)
        calibration = None if kind == "noise" else images
    path = folder / file_format.file
    files: tuple[str, ...]
    if is_own:  # copied: saving it again would store another date
        files = tuple(file.name for file in _files(run))
        for name in files:
            shutil.copyfile(run.folder / name, folder / name)
    else:
        files = _converted(source, folder, wanted, calibration)

    def load() -> Engine:
        if is_own:  # a copy of the file that is loaded already
            return source.engine
        return file_format.open(path, precision, classes=classes, input_shape=run.spec.shape, just_written=True)

    size = sum((folder / name).stat().st_size for name in files)
    row, engine = compare(
        load, source.reference, classes=classes, format=file_format.name, precision=precision, size=size, timed=timed
    )
    # A processor without bfloat16 runs the same file in float32, whose probabilities are nearer to those of Keras.
    golden = source.golden.probabilities if is_own else probabilities(engine, source.golden.images, classes)
    apart = float(np.max(np.abs(golden - source.golden.probabilities)))
    usual = max(TOLERANCES[precision], TOLERANCES[engine.precision])
    if not is_own:
        engine.close()
    tolerance = min(0.99, max(usual, round(2 * apart, 3)))
    return _Made(verify.ModelEntry(file_format.name, file_format.file, precision, tolerance, files), row, golden)


def _write(
    source: _Source, target: Path, wanted: _Wanted, optional: Sequence[_Wanted], events: Callbacks
) -> tuple[Parity, ...]:
    """Write a bundle with the wanted model, preceded by the optional ones that can be made.

    The golden probabilities are those of the wanted model.
    """
    run = source.run
    store.ensure_room(target, 4 * sum(file.stat().st_size for file in _files(run)) + (4 << 20))
    made: dict[str, _Made] = {}
    left_out: dict[str, str] = {}
    with store.commit_folder(target.absolute().parent, target.name) as inside:
        main = _make(source, inside, wanted, timed=not optional)
        main.row.must_be_good()
        for done, one in enumerate(optional, 1):
            events.progress("export", done, 1 + len(optional), unit="models")
            name, scratch = one[0].name, inside / f"making-{one[0].name}"
            scratch.mkdir()
            try:
                extra = _make(source, scratch, one, timed=False)
                extra.row.must_be_good()
                for file in extra.entry.files:
                    (scratch / file).rename(inside / file)
                made[name] = extra
            except (ModelError, MissingExtra) as error:  # the bundle is valid without it, and records why
                left_out[name] = error.what
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        made[wanted[0].name] = main
        events.progress("export", 1 + len(optional), 1 + len(optional), unit="models")
        novelty = Novelty.of_run(run.folder)
        about = about_run(
            run,
            models=[one.entry for one in made.values()],
            parity={name: one.row for name, one in made.items() if name != source.own.name},
            left_out=left_out,
            golden=source.golden.kind,
            novelty=novelty is not None,
        )
        store.write_json_atomic(inside / verify.ABOUT, about)
        _save_arrays(inside / verify.GOLDEN, images=source.golden.images, probabilities=main.golden)
        _save_arrays(inside / verify.SEEN, **verify.Seen.of(run.split).prefixes)
        if novelty is not None:
            _save_arrays(inside / NOVELTY, **novelty.arrays())
        (inside / "README.md").write_text(model_card.write(target.name, about), encoding="utf-8")
    return tuple(one.row for one in made.values())


def _refuse_other_folders(target: Path) -> None:
    """Refuse to replace a folder that no export wrote: a typo must not cost a folder of photos."""
    if target.exists() and not ((target / store.MANIFEST).is_file() and (target / verify.ABOUT).is_file()):
        if target.is_dir() and not any(target.iterdir()):
            return
        raise ModelError(
            "The output folder holds something else than a bundle",
            expected="a new folder, or a bundle to replace",
            do="choose another folder",
            folder=str(target),
        )


def _save_arrays(path: Path, **arrays: np.ndarray[Any, Any]) -> None:
    """Write a compressed ``.npz``. numpy dates its members 1980, so the same arrays give the same bytes."""
    np.savez_compressed(path, allow_pickle=False, **arrays)
