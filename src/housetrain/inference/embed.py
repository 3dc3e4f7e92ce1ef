"""Embed: the features of all images of a folder by a pretrained model, for your own analysis.

In: a folder of images, the name of a backbone or the file of an encoder. Out: float32 features with the path and the
label of each image, and a ``.npz`` file. Does not know: splits, training, what the features are used for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.data.output import refuse_inside
from housetrain.errors import FolderError, RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.encoder import SUFFIX, load_encoder
from housetrain.inference.engine import Images, LoadedModel, run_padded, stream
from housetrain.inference.fastest import batch_of, fastest_engine
from housetrain.inference.inputs import Listing, read_many
from housetrain.models.backbones import BACKBONES, IMAGENET, NONE
from housetrain.models.recipe import Recipe
from housetrain.system import files
from housetrain.system.backend import load_keras
from housetrain.system.events import Callback, Callbacks
from housetrain.system.process_pool import Failed
from housetrain.system.text import format_count

_SAMPLE = 4  # images on which the engine is compared with Keras
_BATCH = 32  # decoded images that are handed over at a time


@dataclass(frozen=True, eq=False)
class Embedded:
    """The features of a folder of images.

    Attributes:
        features: float32 (N, width), a row for each image that could be read, sorted by path.
        paths: Relative to the folder, with ``/``.
        labels: The first folder of each path; empty for an image at the top.
        failed: Path -> reason, of images that could not be read.
        file: The ``.npz`` file, if one was written.
    """

    features: NDArray[np.float32]
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    failed: dict[str, str]
    file: Path | None = None

    def save(self, file: Path | str) -> Embedded:
        """Write ``features``, ``paths`` and ``labels`` as a ``.npz`` file, completely or not at all.

        ``numpy.load(file)`` reads it; it holds no pickled objects.

        Raises:
            DiskFull: It cannot be written.
        """
        path = Path(file)
        with files.disk_errors(path, bytes_needed=self.features.nbytes):
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(path) as temporary, temporary.open("xb") as opened:
                np.savez(
                    opened,
                    features=self.features,
                    paths=np.array(self.paths, dtype=np.str_),
                    labels=np.array(self.labels, dtype=np.str_),
                )
        return Embedded(self.features, self.paths, self.labels, self.failed, path)

    def summary(self) -> str:
        """Return one line for people."""
        failed = f", {len(self.failed):,} could not be read" if self.failed else ""
        where = f" in {self.file}" if self.file else ""
        count, width = self.features.shape
        return f"{format_count(count, 'image')} with {format_count(width, 'feature')} each{where}{failed}"


def embed(
    folder: Path | str,
    output: Path | str | None = None,
    backbone: str | Path = "efficientnet-lite0",
    *,
    weights: str | Path = IMAGENET,
    backbone_preprocessing: str = "",
    image_size: int | None = None,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> Embedded:
    """Compute the features of every image of a folder with a pretrained model, in float32.

    The features are the last layer's channels, averaged over the image: what the head of a `Run` on this backbone gets.
    For an encoder of your own see `housetrain.inference.encoder.load_encoder`.

    Args:
        folder: Class folders, or any folder of images. Only read.
        output: Also write a ``.npz`` file with ``features``, ``paths`` and ``labels``.
        backbone: A pretrained model, such as ``"efficientnet-lite0"`` or ``"xception"``, or the path of an image
            encoder that ends with ``.onnx``.
        weights: ``"imagenet"`` (installed, or downloaded once by Keras), or a weights file without the top.
        backbone_preprocessing: How an ``.onnx`` encoder wants its pixels, which the file does not say: ``"imagenet"``,
            ``"clip"`` or ``"MEAN,STD"``, as in `housetrain.inference.encoder.normalization`.
        image_size: Height and width that images are stretched to, pixels; by default the backbone's.
        workers: Decoding processes; all cores by default.
        callbacks: Follow the progress, such as `housetrain.ProgressBar`.

    Raises:
        FolderError: There is no such folder, no image in it can be read, or the output lies inside it.
        RecipeError: The backbone is unknown, or does not take images of this size; or the preprocessing is missing.
        ModelError: The weights are missing or do not fit, or the encoder is refused.
        MissingExtra: OpenVINO or the `onnx` library is not installed, which an encoder needs.
        DownloadError: The weights could not be fetched.
        DiskFull: The output cannot be written.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FolderError("There is no such folder", expected="a folder of images", folder=str(root))
    if output is not None:
        refuse_inside(root, Path(output))
    paths = sorted(Listing([root]))
    open_model = _encoder if str(backbone).lower().endswith(SUFFIX) else _pretrained
    events = Callbacks(callbacks)
    model = open_model(backbone, str(weights), backbone_preprocessing, image_size, events)
    with events.stage("features", total=len(paths)):
        rows, failed = _features(paths, model, workers=workers, events=events)
    if not rows:
        raise FolderError("No image in the folder can be read", folder=str(root), first=next(iter(failed.values()), ""))
    order = sorted(rows)
    names = tuple(paths[index].relative_to(root).as_posix() for index in order)
    found = Embedded(
        np.stack([rows[index] for index in order]),
        names,
        tuple(name.partition("/")[0] if "/" in name else "" for name in names),
        {paths[index].relative_to(root).as_posix(): reason for index, reason in sorted(failed.items())},
    )
    return found if output is None else found.save(output)


class _Model(NamedTuple):
    """What computes the features of images of ``spec``: a function of a few of them returns it, with its batch size."""

    spec: InputSpec
    engine: Callable[[Images], tuple[LoadedModel, int]]


def _encoder(file: str | Path, weights: str, preprocessing: str, image_size: int | None, _: Callbacks) -> _Model:
    if weights != IMAGENET:
        raise RecipeError("An encoder's file holds its weights", do="leave out --weights", weights=weights)
    encoder = load_encoder(Path(file), preprocessing, image_size)
    return _Model(encoder.spec, lambda _: (encoder.engine, encoder.batch))


def _pretrained(
    name: str | Path, weights: str, preprocessing: str, image_size: int | None, events: Callbacks
) -> _Model:
    name = str(name)
    if name not in BACKBONES:
        raise RecipeError(
            f"Unknown pretrained model {name!r}", expected=f"{', '.join(BACKBONES)}, or a file that ends with {SUFFIX}"
        )
    if preprocessing:
        raise RecipeError(
            "The preprocessing of a pretrained model is known",
            do="leave out --backbone-preprocessing, which is for .onnx files",
            backbone=name,
        )
    if weights == NONE:
        raise RecipeError("Features need trained weights", expected="imagenet or a weights file", weights=weights)
    recipe = Recipe.of(name, weights=weights, **({} if image_size is None else {"image_size": image_size}))
    keras = load_keras("computing features", events)

    from housetrain.models.backbones import base_layers
    from housetrain.models.build import build

    side = recipe.prepare_options["image_size"]
    spec = InputSpec(height=side, width=side, color_mode="rgb")
    whole = build(recipe, spec=spec, classes=("a", "b"))
    base = keras.Model(whole.input, base_layers(whole)[-1].output)

    def engine(sample: Images) -> tuple[LoadedModel, int]:
        found = fastest_engine(base, precision="float32", sample=sample)
        return found, batch_of(found)

    return _Model(spec, engine)


def _features(
    paths: Sequence[Path], model: _Model, *, workers: int | None, events: Callbacks
) -> tuple[dict[int, NDArray[np.float32]], dict[int, str]]:
    """Return the features of images by their index, and the reasons of those that cannot be read."""
    failed: dict[int, str] = {}
    rows: dict[int, NDArray[np.float32]] = {}
    with closing(_batches(paths, model.spec, failed, workers)) as batches:
        first = next(batches, None)
        if first is None:
            return rows, failed
        engine, size = model.engine(first[1][:_SAMPLE])

        def run(batch: tuple[list[int], NDArray[np.uint8]]) -> tuple[list[int], NDArray[np.float32]]:
            parts = [run_padded(engine, batch[1][at : at + size], size) for at in range(0, len(batch[1]), size)]
            return batch[0], np.concatenate(parts)

        def all_batches() -> Generator[tuple[list[int], NDArray[np.uint8]], None, None]:
            yield first
            yield from batches

        with closing(stream(run, all_batches(), parallel=engine.parallel)) as finished:
            for indices, features in finished:
                rows.update(zip(indices, features, strict=True))
                events.count("features", len(rows) + len(failed), len(paths))
        engine.close()
    return rows, failed


def _batches(
    paths: Sequence[Path], spec: InputSpec, failed: dict[int, str], workers: int | None
) -> Generator[tuple[list[int], NDArray[np.uint8]], None, None]:
    """Yield indices and images as they are decoded; add those that cannot be read to ``failed``."""
    indices: list[int] = []
    images: list[NDArray[np.uint8]] = []
    with closing(read_many(paths, spec, workers=workers)) as decoded:
        for index, _, result in decoded:
            if isinstance(result, Failed):
                failed[index] = result.reason
                continue
            indices.append(index)
            images.append(result[0])
            if len(images) == _BATCH:
                yield indices, np.stack(images)
                indices, images = [], []
    if images:
        yield indices, np.stack(images)
