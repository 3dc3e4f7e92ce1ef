"""Embed: the features of all images of a folder by a pretrained model, for your own analysis.

In: a folder of images, the name of a backbone. Out: float32 features with the path and the label of each image, and a
``.npz`` file. Does not know: splits, training, what the features are used for.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from housetrain.data.output import refuse_inside
from housetrain.errors import FolderError, RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.engine import run_padded, stream
from housetrain.inference.fastest import batch_of, fastest_engine
from housetrain.inference.inputs import Listing, read_many
from housetrain.models.backbones import BACKBONES, IMAGENET, NONE
from housetrain.models.recipe import Recipe
from housetrain.system import files
from housetrain.system.events import Callback, Callbacks
from housetrain.system.process_pool import Failed

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
        return f"{count:,} images with {width:,} features each{where}{failed}"


def embed(
    folder: Path | str,
    output: Path | str | None = None,
    backbone: str = "efficientnet-lite0",
    *,
    weights: str | Path = IMAGENET,
    image_size: int | None = None,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> Embedded:
    """Compute the features of every image of a folder with a pretrained model, in float32.

    The features are the last layer's channels, averaged over the image: what the head of a `Run` on this backbone gets.

    Args:
        folder: Class folders, or any folder of images. Only read.
        output: Also write a ``.npz`` file with ``features``, ``paths`` and ``labels``.
        backbone: A pretrained model, such as ``"efficientnet-lite0"`` or ``"xception"``.
        weights: ``"imagenet"`` (installed, or downloaded once by Keras), or a weights file without the top.
        image_size: Height and width that images are stretched to, pixels; by default the backbone's.
        workers: Decoding processes; all cores by default.
        callbacks: Follow the progress, such as `housetrain.ProgressBar`.

    Raises:
        FolderError: There is no such folder, no image in it can be read, or the output lies inside it.
        RecipeError: The backbone is unknown, or does not take images of this size.
        ModelError: The weights are missing or do not fit.
        DownloadError: The weights could not be fetched.
        DiskFull: The output cannot be written.
    """
    if backbone not in BACKBONES:
        raise RecipeError(f"Unknown pretrained model {backbone!r}", expected=", ".join(BACKBONES))
    if str(weights) == NONE:
        raise RecipeError("Features need trained weights", expected="imagenet or a weights file", weights=str(weights))
    root = Path(folder)
    if not root.is_dir():
        raise FolderError("There is no such folder", expected="a folder of images", folder=str(root))
    if output is not None:
        refuse_inside(root, Path(output))
    paths = sorted(Listing([root]))
    recipe = Recipe.of(backbone, weights=str(weights), **({} if image_size is None else {"image_size": image_size}))
    events = Callbacks(callbacks)
    with events.stage("features", total=len(paths)):
        rows, failed = _features(paths, recipe, workers=workers, events=events)
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


def _features(
    paths: Sequence[Path], recipe: Recipe, *, workers: int | None, events: Callbacks
) -> tuple[dict[int, NDArray[np.float32]], dict[int, str]]:
    """Return the features of images by their index, and the reasons of those that cannot be read."""
    import keras

    from housetrain.models.backbones import base_layers
    from housetrain.models.build import build

    side = recipe.prepare_options["image_size"]
    spec = InputSpec(height=side, width=side, color_mode="rgb")
    whole = build(recipe, spec=spec, classes=("a", "b"))
    base = keras.Model(whole.input, base_layers(whole)[-1].output)
    failed: dict[int, str] = {}
    rows: dict[int, NDArray[np.float32]] = {}
    with closing(_batches(paths, spec, failed, workers)) as batches:
        first = next(batches, None)
        if first is None:
            return rows, failed
        engine = fastest_engine(base, precision="float32", sample=first[1][:_SAMPLE])
        size = batch_of(engine)

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
