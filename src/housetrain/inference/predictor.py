"""Images in, predictions out: one `Predictor` for the command line, Python, a server and the studio.

In: a bundle or run folder; then images as paths, bytes, arrays or PIL images. Out: a `Prediction` each. Images are
decoded by `housetrain.images.decode`, as for training. Does not know: how the model was trained. Importing this module
imports no Keras; `Predictor.load` does, where a bundle holds nothing else that this machine can run.

    housetrain predict runs/pets photo.jpg holiday/
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import CorruptError, DecodeError, IncompleteError, ModelError
from housetrain.images.decode import PIXELS
from housetrain.images.input_spec import InputSpec
from housetrain.inference import verify
from housetrain.inference.engine import (
    Engine,
    Images,
    Probabilities,
    class_probabilities,
    run_in_batches,
    run_padded,
    stream,
)
from housetrain.inference.formats import format_named
from housetrain.inference.formats import keras as keras_format
from housetrain.inference.inputs import Input, Reader, name_of, read_many
from housetrain.system import store
from housetrain.system.process_pool import Failed
from housetrain.training.run import Run

BATCH = 64
"""Images per batch by default: more gains nothing on a CPU."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image.

    Attributes:
        image: The path as given, or ``<bytes>``, ``<array>``, ``<image>``.
        label: Name of the most probable class; ``""`` where the image could not be read.
        probability: Its probability, 0 to 1; NaN where the image could not be read.
        top: (name, probability) of the classes, most probable first.
        margin: Difference of the two highest probabilities, 0 to 1. NaN as above.
        seen: ``"train"``, ``"validation"`` or ``"test"`` if this very file (by content) was in that split; ``None`` if
            not, or where there is no file to compare (arrays and PIL images).
        error: Why the image could not be read, or ``None``.
        unsure: Whether the probability is below the threshold found on validation images; see
            `housetrain.inference.abstain`.
    """

    image: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    margin: float
    seen: str | None = None
    error: str | None = None
    unsure: bool = False

    @classmethod
    def failed(cls, image: str, reason: str) -> Prediction:
        """Return the prediction for an image that could not be read."""
        return cls(image, "", math.nan, (), math.nan, None, reason)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON; missing numbers are ``None``."""
        missing = self.error is not None
        return {
            "image": self.image,
            "label": None if missing else self.label,
            "probability": None if missing else self.probability,
            "top": [{"label": name, "probability": probability} for name, probability in self.top],
            "margin": None if missing else self.margin,
            "unsure": None if missing else self.unsure,
            "seen": self.seen,
            "error": self.error,
        }


class _Batch(NamedTuple):
    images: list[NDArray[np.uint8]]
    inputs: list[tuple[int, str, int | None]]  # position, name, first 8 bytes of the file's sha256
    failed: list[tuple[int, Prediction]]


class Predictor:
    """A model with everything it needs to classify an image. Make one with `Predictor.load`. A context manager.

    Args:
        engine: Computes the model's outputs.
        spec: The model's input.
        classes: Class names, in the order of the engine's columns.
        seen: Which images the model was made with.
        about: What is known of the model: recipe, metrics, versions.
    """

    def __init__(
        self,
        engine: Engine,
        spec: InputSpec,
        *,
        classes: Sequence[str],
        seen: verify.Seen | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.engine = engine
        self.spec = spec
        self.classes = tuple(classes)
        self.about = dict(about or {})
        self.threshold = float((self.about.get("abstain") or {}).get("threshold") or 0.0)
        self._seen = seen or verify.Seen({})

    @classmethod
    def load(cls, path: Path | str | Run, *, engine: str | None = None) -> Predictor:
        """Load a bundle, or a run: its bundle if that holds the run's current model, else the run's model itself.

        A bundle is checked in full: sizes and sha256 of every file, the operators of its model, and the probabilities
        of its golden images. See `housetrain.inference.verify` for what that refuses. The model of a run without a
        bundle is answered by the engine that its bundle would hold; see `housetrain.inference.fastest.serving_engine`.

        Args:
            path: A bundle folder, a run folder, or a `Run`.
            engine: Use the model of this format, such as ``"keras"``; by default the first of the bundle's that
                this machine can run.

        Raises:
            ModelError: There is no model, or it is refused, or its probabilities changed since it was exported.
            CorruptError: A file was changed after it was written.
            MissingExtra: The library that runs this kind of model is not installed.
        """
        folder = path.folder if isinstance(path, Run) else Path(path)
        if (folder / "recipe.json").is_file():
            run = Run.open(folder)
            bundle = folder / "bundle"
            if engine == "keras" or not _is_current(bundle, run):
                return _from_run(run, engine)
            return _from_bundle(bundle, engine)
        if folder.is_dir() and any((folder / name).is_file() for name in (store.MANIFEST, verify.ABOUT)):
            return _from_bundle(folder, engine)
        if folder.is_dir() and (folder / "bundle" / store.MANIFEST).is_file():
            return _from_bundle(folder / "bundle", engine)
        if folder.suffix.lower() != ".keras":
            keras_format.refuse_other_formats(folder)
        raise ModelError(
            "A model file alone has no class names and no input size" if folder.exists() else "There is no such model",
            expected="a bundle or run folder of housetrain",
            do="give the folder that holds bundle.json or recipe.json",
            path=str(folder),
        )

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the model. Otherwise that happens when the program exits."""
        self.engine.close()

    def probabilities(self, images: Images, *, batch_size: int = BATCH) -> Probabilities:
        """Return the probability of every class for prepared images.

        Args:
            images: uint8 (N, height, width, channels) of `spec`; a memory map is read batch by batch.
            batch_size: Images per batch, 1 or more.

        Returns:
            float32 (N, classes), columns in the order of `classes`.

        Raises:
            ModelError: The array has another shape or type.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.spec.shape:
            raise ModelError(
                "The array does not hold prepared images",
                expected=f"uint8 of shape (N, {', '.join(map(str, self.spec.shape))})",
                shape=images.shape,
                dtype=images.dtype,
            )
        if len(images) == 0:
            return np.empty((0, len(self.classes)), np.float32)
        return class_probabilities(run_in_batches(self.engine, images, batch=batch_size), len(self.classes))

    def predict(self, image: Input, *, top: int | None = None) -> Prediction:
        """Classify one image, decoded in this process.

        Args:
            image: A path, an encoded image as bytes, a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in RGB
                order of any size, or a PIL image.
            top: Number of classes in `Prediction.top`; all by default.

        Raises:
            DecodeError: The image cannot be read.
        """
        name = name_of(image)
        try:
            pixels, prefix = Reader(self.spec)(image)
        except DecodeError as error:
            raise DecodeError(error.reason, image=name) from error
        return self._predict(_Batch([pixels], [(0, name, prefix)], []), 1, top)[0][1]

    def predict_many(
        self,
        images: Iterable[Input],
        *,
        batch_size: int = BATCH,
        workers: int | None = None,
        top: int | None = None,
    ) -> Iterator[Prediction]:
        """Classify many images, in the order given; memory stays flat however many there are.

        Paths and bytes are decoded in worker processes while the model runs on earlier images; a decoder that crashes
        or hangs costs one image. An image that cannot be read becomes a `Prediction` with `error`.

        Args:
            images: As for `predict`; any iterable, also an endless one.
            batch_size: Images per batch, 1 or more.
            workers: Decoding processes; all cores by default; 0 decodes in this process, as for a single image.
            top: Number of classes in `Prediction.top`; all by default.

        Yields:
            One `Prediction` per image.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more. Received: batch_size={batch_size}")

        def predict(batch: _Batch) -> list[tuple[int, Prediction]]:
            return self._predict(batch, batch_size, top)

        waiting: dict[int, Prediction] = {}
        following = 0
        with (
            closing(self._batches(images, batch_size, workers)) as batches,
            closing(stream(predict, batches, parallel=self.engine.parallel)) as finished,
        ):
            for rows in finished:
                waiting.update(rows)
                while following in waiting:
                    yield waiting.pop(following)
                    following += 1

    def _batches(self, images: Iterable[Input], batch_size: int, workers: int | None) -> Generator[_Batch, None, None]:
        """Decode images into batches; those that cannot be read travel along."""
        batch = _Batch([], [], [])
        with closing(read_many(images, self.spec, workers=workers)) as decoded:
            for index, name, result in decoded:
                if isinstance(result, Failed):
                    batch.failed.append((index, Prediction.failed(name, result.reason)))
                else:
                    batch.images.append(result[0])
                    batch.inputs.append((index, name, result[1]))
                if len(batch.images) == batch_size or len(batch.failed) >= BATCH:
                    yield batch
                    batch = _Batch([], [], [])
        yield batch

    def _predict(self, batch: _Batch, batch_size: int, top: int | None) -> list[tuple[int, Prediction]]:
        """Run the model on a batch. A short batch is padded to a power of two, so that few sizes are compiled."""
        rows, count = list(batch.failed), len(batch.images)
        if not count:
            return rows
        size = min(batch_size, 1 << (count - 1).bit_length())
        given = class_probabilities(run_padded(self.engine, np.stack(batch.images), size), len(self.classes))
        order = np.argsort(-given, axis=1, kind="stable")  # equal probabilities: the first name by alphabet
        for (index, name, prefix), places, values in zip(batch.inputs, order, given, strict=True):
            best, second = float(values[places[0]]), float(values[places[1]])
            listed = tuple((self.classes[place], float(values[place])) for place in places[:top])
            seen = None if prefix is None else self._seen.split_of(prefix)
            unsure = best < self.threshold
            row = Prediction(name, self.classes[places[0]], best, listed, best - second, seen, unsure=unsure)
            rows.append((index, row))
        return rows


def _is_current(bundle: Path, run: Run) -> bool:
    """Return whether the bundle in a run holds the run's current model: training may have continued since."""
    if not (bundle / store.MANIFEST).is_file():
        return False
    try:
        about = store.read_json(bundle / verify.ABOUT)
        return bool(about["run"]["model_sha256"] == run.model_sha256)
    except (IncompleteError, CorruptError, KeyError, TypeError):
        return True  # no model in the run, or a damaged bundle: its own check names the problem


def _from_bundle(folder: Path, engine: str | None) -> Predictor:
    """Load a bundle; load it again if an export replaced it meanwhile."""
    while True:
        manifest = _bytes_or_none(folder / store.MANIFEST)
        try:
            return _from_checked_bundle(folder, engine)
        except (CorruptError, ModelError):
            if _bytes_or_none(folder / store.MANIFEST) == manifest:
                raise


def _from_checked_bundle(folder: Path, engine: str | None) -> Predictor:
    contents = verify.read_bundle(folder, engine=engine)
    about, entry, spec = contents.about, contents.entry, contents.spec
    classes = tuple(about["classes"])
    loaded = contents.format.open(
        folder / entry.file, entry.precision, classes=len(classes), input_shape=spec.shape, trusted=True
    )
    verify.check_golden(loaded, contents.golden, tolerance=entry.tolerance)
    _warn_if_pixels_differ(about)
    return Predictor(loaded, spec, classes=classes, seen=contents.seen, about={**about, "engine": entry.format})


def _from_run(run: Run, engine: str | None) -> Predictor:
    spec, classes = run.spec, run.classes
    loaded = format_named("keras").open(run.model_path, classes=len(classes), input_shape=spec.shape)
    name = "keras"
    if engine is None:
        from housetrain.inference.fastest import serving_engine

        precision = str(run.recipe_json.get("precision", "auto"))
        served = serving_engine(loaded, classes=len(classes), input_shape=spec.shape, precision=precision)
        loaded, name = served, "keras" if served is loaded else "openvino"
    about = {
        "classes": list(classes),
        "spec": spec.to_json(),
        "recipe": run.recipe_json,
        "engine": name,
        "weights": run.model_sha256,
        "decoder": run.input_json.get("decoder"),
    }
    _warn_if_pixels_differ(about)
    return Predictor(loaded, spec, classes=classes, seen=verify.Seen.of(run.split), about=about)


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
        return path.read_bytes()
    except OSError:
        return None
