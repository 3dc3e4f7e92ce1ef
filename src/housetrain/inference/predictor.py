"""Images in, names out: one `Predictor` for the command line, Python, a server and a page.

In: a bundle or run folder; then photos as paths, bytes, arrays or PIL images. Out: a `Prediction` each.
It decodes with ``data.decode``, like everything else here, so training and predicting cannot disagree. It does not
know how the model was made. Importing this module imports no Keras; `Predictor.load` does, where a bundle holds
nothing else that this machine can run.

    housetrain predict runs/pets photo.jpg holiday/
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import CorruptError, DecodeError, HousetrainError, IncompleteError, ModelError
from housetrain.images.decode import PIXELS, InputSpec
from housetrain.inference import keras_file, verify
from housetrain.inference.engine import Engine, Images, KerasEngine, Probabilities
from housetrain.inference.inputs import Reader, Source, name_of, read_many
from housetrain.inference.runtimes import ENGINES
from housetrain.system import store
from housetrain.system.process_pool import Failed
from housetrain.training.run import Run

BATCH = 64
"""Images a step by default: more gains nothing on a CPU, and a GPU takes what it is given."""
_log = logging.getLogger(__name__)
_AHEAD = 2  # batches the model may lag behind the decoders


@dataclass(frozen=True)
class Prediction:
    """What one image was taken for.

    Attributes:
        source: The path as given, or ``<bytes>``, ``<array>``, ``<image>``.
        label: Name of the most probable class; ``""`` where the image could not be read.
        probability: Its probability, 0 to 1; NaN where the image could not be read.
        top: (name, probability) of the classes, most probable first.
        margin: Probability of the first less that of the second, 0 to 1: small means unsure. NaN as above.
        unsure: Whether the probability is below the threshold that was found on validation images; see
            `housetrain.inference.abstain`.
        seen: ``"train"``, ``"validation"`` or ``"test"`` if this very file (by content) was in that split when the
            model was made; ``None`` if not, or where there is no file to compare (arrays and PIL images).
        error: Why the image could not be read, or ``None``.
    """

    source: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    margin: float
    seen: str | None = None
    error: str | None = None
    unsure: bool = False

    @classmethod
    def failed(cls, source: str, reason: str) -> Prediction:
        """Return the row of an image that could not be read."""
        return cls(source, "", math.nan, (), math.nan, None, reason)

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-plain; numbers that are not there are ``None``."""
        missing = self.error is not None
        return {
            "source": self.source,
            "label": None if missing else self.label,
            "probability": None if missing else self.probability,
            "top": [{"label": name, "probability": probability} for name, probability in self.top],
            "margin": None if missing else self.margin,
            "unsure": None if missing else self.unsure,
            "seen": self.seen,
            "error": self.error,
        }


class Predictor:
    """A model with everything it needs to name an image. Make one with `Predictor.load`.

    Args:
        engine: Turns prepared images into probabilities.
        spec: What the model eats.
        classes: Class names, in the order of the engine's columns.
        seen: Which files the model was made with.
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
        self.threshold = float((self.about.get("unsure") or {}).get("threshold") or 0.0)
        self._seen = seen or verify.Seen({})

    @classmethod
    def load(cls, path: Path | str | Run, *, engine: str | None = None) -> Predictor:
        """Load a bundle, or a run: its bundle if that holds the run's present model, else the run's model itself.

        A bundle is checked in full: sizes and sha256 of every file, only known layer classes, and the answers to its
        golden images. See `housetrain.inference.verify` for what that keeps out.

        Args:
            path: A bundle folder, a run folder, or a `Run`.
            engine: Insist on this form of the model, such as ``"keras"``; by default the first of the bundle's that
                this machine can run.

        Raises:
            ModelError: There is no model there, or it is refused, or it no longer answers as when it was saved.
            CorruptError: A file was changed or torn after it was written.
            MissingExtra: The library that runs this kind of model is not installed.
        """
        folder = path.folder if isinstance(path, Run) else Path(path)
        if (folder / "recipe.json").is_file():
            run = Run.open(folder)
            bundle = folder / "bundle"
            if engine == "keras" or not _holds_model_of(bundle, run):
                return _from_run(run)
            return _from_bundle(bundle, engine)
        if folder.is_dir() and any((folder / name).is_file() for name in (store.MANIFEST, verify.ABOUT)):
            return _from_bundle(folder, engine)
        if folder.is_dir() and (folder / "bundle" / store.MANIFEST).is_file():
            return _from_bundle(folder / "bundle", engine)
        if folder.suffix.lower() != ".keras":
            keras_file.refuse_other_formats(folder)
        raise ModelError(
            "A model file alone has no class names and no input size" if folder.exists() else "There is no such model",
            expected="a bundle or run folder of housetrain",
            do="give the folder that holds bundle.json or recipe.json",
            path=str(folder),
        )

    def probabilities(self, images: Images, *, batch_size: int = BATCH) -> Probabilities:
        """Return the probability of every class for prepared images.

        Args:
            images: uint8, (N, height, width, channels) of `spec`; a memory map is read batch by batch.
            batch_size: Images a step, 1 or more.

        Returns:
            float32, (N, classes), columns in the order of `classes`.

        Raises:
            ModelError: The array has another shape or type.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.spec.shape:
            raise ModelError(
                "These are no prepared images",
                expected=f"uint8 of shape (N, {', '.join(map(str, self.spec.shape))})",
                shape=images.shape,
                dtype=images.dtype,
            )
        answers = [
            self._step(images[start : start + batch_size], batch_size) for start in range(0, len(images), batch_size)
        ]
        return np.concatenate(answers) if answers else np.empty((0, len(self.classes)), np.float32)

    def predict(self, source: Source, *, top: int | None = None) -> Prediction:
        """Name one image. Decodes in this process: what a header may claim is limited before memory is taken.

        Args:
            source: A path, an encoded image as bytes, a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in RGB
                order of any size, or a PIL image.
            top: How many classes to list in `Prediction.top`; all by default.

        Raises:
            DecodeError: The image cannot be read.
        """
        name = name_of(source)
        try:
            image, prefix = Reader(self.spec)(source)
        except DecodeError as error:
            raise DecodeError(error.reason, image=name) from error
        return self._named([(0, name, prefix)], self._step(image[None], 1), top)[0][1]

    def predict_many(
        self,
        sources: Iterable[Source],
        *,
        batch_size: int = BATCH,
        workers: int | None = None,
        top: int | None = None,
    ) -> Iterator[Prediction]:
        """Name many images, in the order given, as they are done; memory stays flat however many there are.

        Images given as paths or bytes are decoded in worker processes while the model works on those before them; a
        decoder that crashes or hangs costs one image. An image that cannot be read becomes a row with `error`.

        Args:
            sources: As for `predict`; any iterable, also an endless one.
            batch_size: Images a step, 1 or more.
            workers: Decoding processes; all cores by default; 0 decodes in this process, as a single source does.
            top: How many classes to list in `Prediction.top`; all by default.

        Yields:
            One `Prediction` per source.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more. Received: batch_size={batch_size}")
        waiting: dict[int, Prediction] = {}
        following = 0
        with closing(self._in_any_order(sources, batch_size, workers, top)) as answers:
            for index, prediction in answers:
                waiting[index] = prediction
                while following in waiting:
                    yield waiting.pop(following)
                    following += 1

    # ------------------------------------------------------------------------------------- inside
    def _in_any_order(
        self, sources: Iterable[Source], batch_size: int, workers: int | None, top: int | None
    ) -> Generator[tuple[int, Prediction], None, None]:
        """Yield (index, prediction): decoding goes on while a helper thread waits for the model."""
        images: list[NDArray[np.uint8]] = []
        asked: list[_Asked] = []
        running: deque[Future[list[tuple[int, Prediction]]]] = deque()
        helper = ThreadPoolExecutor(1, thread_name_prefix="housetrain-model")
        try:
            with closing(read_many(sources, self.spec, workers=workers)) as loaded:
                for index, name, result in loaded:
                    if isinstance(result, Failed):
                        yield index, Prediction.failed(name, result.reason)
                    else:
                        images.append(result[0])
                        asked.append((index, name, result[1]))
                    if len(images) == batch_size:
                        running.append(helper.submit(self._answer, images, asked, batch_size, top))
                        images, asked = [], []
                    while running and (len(running) > _AHEAD or running[0].done()):
                        yield from running.popleft().result()
            if images:
                running.append(helper.submit(self._answer, images, asked, batch_size, top))
            while running:
                yield from running.popleft().result()
        finally:
            helper.shutdown(wait=True, cancel_futures=True)

    def _answer(
        self, images: list[NDArray[np.uint8]], asked: list[_Asked], batch_size: int, top: int | None
    ) -> list[tuple[int, Prediction]]:
        return self._named(asked, self._step(np.stack(images), batch_size), top)

    def _step(self, images: Images, batch_size: int) -> Probabilities:
        """One call of the engine. Odd ends are padded to a power of two, so that few sizes are ever compiled."""
        count = len(images)
        size = min(batch_size, 1 << (count - 1).bit_length()) if count else 0
        if size > count:
            padding = np.zeros((size - count, *images.shape[1:]), np.uint8)
            images = np.concatenate([images, padding])
        return self.engine.probabilities(images)[:count]

    def _named(self, asked: list[_Asked], given: Probabilities, top: int | None) -> list[tuple[int, Prediction]]:
        order = np.argsort(-given, axis=1, kind="stable")  # equal probabilities: the first name by alphabet
        rows = []
        for (index, name, prefix), places, values in zip(asked, order, given, strict=True):
            best, second = float(values[places[0]]), float(values[places[1]])
            listed = tuple((self.classes[place], float(values[place])) for place in places[:top])
            seen = None if prefix is None else self._seen.split_of(prefix)
            unsure = best < self.threshold
            row = Prediction(name, self.classes[places[0]], best, listed, best - second, seen, unsure=unsure)
            rows.append((index, row))
        return rows


_Asked = tuple[int, str, "int | None"]  # place in the order given, name, first 8 bytes of the file's sha256


def _holds_model_of(bundle: Path, run: Run) -> bool:
    """Whether the bundle inside a run is of the run's present model: training may have gone on since it was made."""
    if not (bundle / store.MANIFEST).is_file():
        return False
    try:
        made_from = store.read_json(bundle / verify.ABOUT)["run"]["model_sha256"]
        return bool(made_from == store.file_sha256(run.model_path))
    except (IncompleteError, CorruptError, KeyError, TypeError):
        return True  # no model in the run, or a damaged bundle: let the bundle itself say what is wrong with it


def _from_bundle(folder: Path, engine: str | None) -> Predictor:
    """Load a bundle; once more if it was replaced by a new one while it was read."""
    while True:
        manifest = _bytes_or_none(folder / store.MANIFEST)
        try:
            return _from_whole_bundle(folder, engine)
        except (CorruptError, ModelError):
            if _bytes_or_none(folder / store.MANIFEST) == manifest:
                raise


def _from_whole_bundle(folder: Path, engine: str | None) -> Predictor:
    contents = verify.read_bundle(folder, engine=engine)
    about, form = contents.about, contents.form
    try:
        spec = InputSpec.from_json(about["spec"])
    except (KeyError, TypeError, ValueError, HousetrainError) as error:
        raise CorruptError("bundle.json does not say what the model eats", path=str(folder)) from error
    if form.engine not in ENGINES:
        raise ModelError(
            f"A {form.engine} bundle is for other programs: loading such a model can run code",
            expected=f"a bundle for {', '.join(ENGINES)}",
            do="use it as its README.md says, or export the run in another format",
            path=str(folder),
        )
    classes = tuple(about["classes"])
    load = ENGINES[form.engine]
    loaded = load(contents.model, classes=len(classes), input_shape=spec.shape, precision=form.precision)
    if contents.golden.images.shape[1:] != spec.shape:
        raise CorruptError("The bundle's golden images are not of its input size", path=str(folder))
    verify.check_golden(loaded, contents.golden, tolerance=form.tolerance)
    _say_if_pixels_differ(about)
    return Predictor(loaded, spec, classes=classes, seen=contents.seen, about={**about, "engine": form.engine})


def _from_run(run: Run) -> Predictor:
    spec, classes = run.spec, run.classes
    engine = KerasEngine.load(run.model_path, classes=len(classes), input_shape=spec.shape)
    about = {
        "classes": list(classes),
        "spec": spec.to_json(),
        "recipe": run.recipe_json,
        "engine": "keras",
        "weights": store.file_sha256(run.model_path),
        "decoder": run.input_json.get("decoder"),
    }
    _say_if_pixels_differ(about)
    return Predictor(engine, spec, classes=classes, seen=verify.Seen.of(run.split), about=about)


def _say_if_pixels_differ(about: dict[str, Any]) -> None:
    """Say so where the same file is other pixels now than when the model learned from it."""
    then = (about.get("decoder") or {}).get("housetrain")
    if then is not None and then != str(PIXELS):
        _log.warning(
            "This model learned from images that were decoded in another way (%s, now %d): some answers may differ "
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
