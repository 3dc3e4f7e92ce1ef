"""Images in, predictions out: one `Predictor` for the command line, Python, a server and the studio.

In: a bundle or run folder; then images as paths, bytes, arrays or PIL images. Out: a `Prediction` each. Images are
decoded by `housetrain.images.decode`, as for training. Does not know: how the model was trained. Importing this module
imports no Keras; `Predictor.load` does, where a bundle holds nothing else that this machine can run.

    housetrain predict runs/pets photo.jpg holiday/
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.data.class_map import ClassMap, MapLike
from housetrain.errors import DecodeError, ModelError, RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.decision import LEVELS, UNDECIDED, Answers, Decision, set_of
from housetrain.inference.engine import (
    Engine,
    Images,
    Probabilities,
    run_in_batches,
    run_padded,
    stream,
)
from housetrain.inference.inputs import Input, Reader, inputs_of, name_of, read_many
from housetrain.inference.model_folder import HasFolder, open_model
from housetrain.inference.prediction import Prediction
from housetrain.inference.verify import Seen
from housetrain.inference.vote import predict_sequences, sequence_key
from housetrain.models.outputs import at_temperature, class_probabilities
from housetrain.system.process_pool import Failed

BATCH = 64
"""Images per batch by default: more gains nothing on a CPU."""


def predict(
    run: Path | str | HasFolder,
    images: Input | Sequence[Input],
    *,
    top: int | None = None,
    batch_size: int = BATCH,
    engine: str | None = None,
    workers: int | None = None,
    class_map: MapLike | None = None,
    vote_by: str | None = None,
    set_level: float | None = None,
    accept: Mapping[str, float] | None = None,
) -> Iterator[Prediction]:
    """Classify images with the model of a run or bundle; memory stays flat however many there are.

    Args:
        run: A run, its folder, or a bundle folder.
        images: Paths of images, folders or patterns such as ``"holiday/*.jpg"``; encoded images as bytes, uint8 arrays
            in RGB order, or PIL images. One or a list.
        top: Number of classes in `Prediction.top`; all by default.
        batch_size: Images per batch, 1 or more.
        engine: Format of the model to run, such as ``"keras"``; by default the first in the bundle that can run here.
        workers: Processes that decode images; all cores by default.
        class_map: Renames, merges or drops classes of the model: see `Predictor.mapped`.
        vote_by: One vote over the images of a sequence, ``"parent"`` for those of one folder, or a regular expression:
            see `housetrain.inference.vote`. Then all images are classified before the first prediction is returned.
        set_level: Also return prediction sets of this level: see `Predictor.with_rules`.
        accept: Class -> the lowest probability that is not unsure: see `Predictor.with_rules`.

    Returns:
        An iterator over a `Prediction` per image, in order; an image that cannot be read has an `error`.

    Raises:
        FolderError: A path matches nothing.
        ModelError: There is no model, or it is refused. See `Predictor.load`.
        CorruptError: A file of the bundle was changed.
        MissingExtra: The library that runs this kind of model is not installed.
    """
    found = inputs_of(images)
    if vote_by is not None:
        sequence_key(vote_by)  # before the model is loaded
    predictor = Predictor.load(run, engine=engine).mapped(ClassMap.of(class_map))
    predictor = predictor.with_rules(set_level=set_level, accept=accept)

    def predictions() -> Iterator[Prediction]:
        with predictor:
            options: dict[str, Any] = {"batch_size": batch_size, "workers": workers, "top": top}
            if vote_by is None:
                yield from predictor.predict_many(found, **options)
            else:
                yield from predict_sequences(predictor, found, vote_by=vote_by, **options)

    return predictions()


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
        decision: How probabilities become predictions; by default they stay as they are, and none is unsure.
        about: What is known of the model: recipe, metrics, versions.
    """

    def __init__(
        self,
        engine: Engine,
        spec: InputSpec,
        *,
        classes: Sequence[str],
        seen: Seen | None = None,
        decision: Decision = UNDECIDED,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.engine = engine
        self.spec = spec
        self.classes = tuple(classes)
        self.about = dict(about or {})
        self.set_level: float | None = None
        self.accept: dict[str, float] = {}
        self.decision = decision
        self._seen = seen or Seen({})
        self._model_classes = self.classes
        self._columns: NDArray[np.float32] | None = None  # from those to `classes`

    @classmethod
    def load(cls, path: Path | str | HasFolder, *, engine: str | None = None) -> Predictor:
        """Load a bundle, or a run: its bundle if that holds the run's current model, else the run's model itself.

        A bundle is checked in full: sizes and sha256 of every file, the operators of its model, and the probabilities
        of its golden images. See `housetrain.inference.verify` for what that refuses. A run without a bundle uses the
        engine that its bundle would hold; see `housetrain.inference.fastest.serving_engine`.

        Args:
            path: A bundle folder, a run folder, or a `Run`.
            engine: Use the model of this format, such as ``"keras"``; by default the first of the bundle's that
                this machine can run.

        Raises:
            ModelError: There is no model, or it is refused, or its probabilities changed since it was exported.
            CorruptError: A file was changed after it was written.
            MissingExtra: The library that runs this kind of model is not installed.
        """
        opened = open_model(path, engine=engine)
        engine_, spec, classes, seen, decision, about = opened
        return cls(engine_, spec, classes=classes, seen=seen, decision=decision, about=about)

    def mapped(self, class_map: ClassMap) -> Predictor:
        """Return a predictor of the same model for renamed, merged or dropped classes.

        Probabilities of merged classes are added. Those of the classes that are kept are divided by their sum: they
        answer which class it is if it is none of the dropped ones. A prediction is unsure where the sum is too small
        for that: where the probability before the division is below the threshold, or that of the dropped classes is
        larger.

        Args:
            class_map: Names of classes; those that the model does not know are ignored.

        Raises:
            RecipeError: Fewer than two classes are left.
        """
        if not class_map.names.keys() & set(self.classes):
            return self
        classes = class_map.apply(self.classes)
        if len(classes) < 2:
            raise RecipeError(
                "The map leaves fewer than two classes of the model", expected="two or more", classes=", ".join(classes)
            )
        about = {**self.about, "class_map": dict(class_map.names)}
        mapped = Predictor(
            self.engine, self.spec, classes=classes, seen=self._seen, decision=self.decision, about=about
        )
        mapped._model_classes, mapped._columns = self.classes, class_map.columns(self.classes)
        return mapped

    def with_rules(self, *, set_level: float | None = None, accept: Mapping[str, float] | None = None) -> Predictor:
        """Return a predictor of the same model that also gives prediction sets, or has other thresholds.

        Args:
            set_level: Return the classes that hold the true one with this probability, in [0.5, 0.99], for images like
                those of the validation split (split conformal prediction).
            accept: Class -> a prediction of it is unsure below this probability, instead of the model's threshold.

        Raises:
            RecipeError: A number is out of range, a class is unknown, or the model has no validation outputs.
        """
        if set_level is None and not accept:
            return self
        if set_level is not None and not LEVELS[0] <= set_level <= LEVELS[-1]:
            raise RecipeError(
                "Invalid level of prediction sets", expected=f"{LEVELS[0]:g} to {LEVELS[-1]:g}", set_level=set_level
            )
        if set_level is not None and not self.decision.quantiles:
            raise RecipeError(
                "Prediction sets need a model with validation outputs", do="export the run again, or train it again"
            )
        for name, least in (accept or {}).items():
            if name not in self.classes or not 0 <= least <= 1:
                known = ", ".join(self.classes)
                raise RecipeError(
                    "A threshold is not that of a class",
                    expected=f"0 to 1 for one of {known}",
                    accept=f"{name}={least}",
                )
        same = copy.copy(self)
        same.set_level, same.accept = set_level, dict(accept or {})
        same.about = {**self.about, "rules": {"set": set_level, "accept": same.accept}}
        return same

    def answers(self, raw: Probabilities) -> Answers:
        """Return what the outputs of the engine mean. The only place where the temperature is applied.

        Args:
            raw: float32, a row of `outputs` for each image.
        """
        novelty = getattr(self.engine, "novelty", None)
        novel = None if novelty is None else raw[:, -1] > novelty.threshold
        raw = raw if novelty is None else raw[:, :-1]
        given = at_temperature(class_probabilities(raw, len(self._model_classes)), self.decision.temperature)
        if self._columns is None:
            return Answers(given, np.ones(len(given), np.float32), novel)
        kept = given @ self._columns
        total = kept.sum(axis=1)
        kept[total == 0] = 1  # nothing is known of the kept classes
        return Answers(kept / kept.sum(axis=1, keepdims=True), total, novel)

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
        return self.answers(self.outputs(images, batch_size=batch_size)).probabilities

    def outputs(self, images: Images, *, batch_size: int = BATCH) -> Probabilities:
        """Return the rows of the engine for prepared images, which `answers` reads. See `probabilities`."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.spec.shape:
            raise ModelError(
                "The array does not hold prepared images",
                expected=f"uint8 of shape (N, {', '.join(map(str, self.spec.shape))})",
                shape=images.shape,
                dtype=images.dtype,
            )
        if len(images) == 0:
            images = np.zeros((1, *self.spec.shape), np.uint8)
            return run_in_batches(self.engine, images, batch=batch_size)[:0]
        return run_in_batches(self.engine, images, batch=batch_size)

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
        if not batch.images:
            return list(batch.failed)
        size = min(batch_size, 1 << (len(batch.images) - 1).bit_length())
        raw = run_padded(self.engine, np.stack(batch.images), size)
        found = self.predictions(raw, [(name, prefix) for _, name, prefix in batch.inputs], top=top)
        return [*batch.failed, *((index, one) for (index, _, _), one in zip(batch.inputs, found, strict=True))]

    def predictions(
        self, raw: Probabilities, images: Sequence[tuple[str, int | None]], *, top: int | None = None
    ) -> list[Prediction]:
        """Return what the model predicts, given the outputs of its engine.

        Args:
            raw: float32, a row of `outputs` for each image.
            images: For each row, what to call the image, and the first 8 bytes of its file's sha256 if there is one.
            top: Number of classes in `Prediction.top`; all by default.
        """
        found = []
        probabilities, kept, novel = self.answers(raw)
        known = [None] * len(raw) if novel is None else novel.tolist()
        order = np.argsort(-probabilities, axis=1, kind="stable")  # equal probabilities: the first name by alphabet
        rows = zip(images, order, probabilities, kept, known, strict=True)
        for (name, prefix), places, values, share, mark in rows:
            best, second = float(values[places[0]]), float(values[places[1]])
            listed = tuple((self.classes[place], float(values[place])) for place in places[:top])
            seen = None if prefix is None else self._seen.split_of(prefix)
            label, sure = self.classes[places[0]], best * float(share)
            unsure = sure < self.accept.get(label, self.decision.threshold) or sure < 1 - share
            names: tuple[str, ...] = ()
            if self.set_level is not None:
                names = set_of(self.classes, values * share, quantile=self.decision.quantile(self.set_level))
            marks: dict[str, Any] = {"unsure": bool(unsure), "novel": mark, "prediction_set": names}
            found.append(Prediction(name, label, best, listed, best - second, seen, **marks))
        return found
