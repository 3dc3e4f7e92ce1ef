"""Prepared images, opened: what training, evaluation and the studio read.

In: a folder that `housetrain.data.prepared_folder` wrote, or arrays. Out: `Prepared`, with the memory-mapped images,
labels and paths of each split as `SplitArrays`. It checks sizes and checksums before it believes a manifest, and knows
nothing of models.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.data.array_source import write_arrays
from housetrain.data.prepared_folder import bounds, read_listing, read_manifest
from housetrain.data.split_manifest import SPLITS, Row, SplitManifest, SplitName
from housetrain.errors import CorruptError
from housetrain.images.input_spec import InputSpec
from housetrain.system.arrays import load_npy
from housetrain.system.backend import load_tensorflow
from housetrain.system.notebook import html_table

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, repr=False)
class SplitArrays:
    """The images of one split, in the order of the array file. See `Prepared.train`.

    Attributes:
        name: ``"train"``, ``"validation"`` or ``"test"``.
        classes: Names of the classes; a label is an index into them.
        rows: What each image is.
        file: The array file of all splits.
        start: Row of the file at which this split begins.
    """

    name: SplitName
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    file: Path
    start: int

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<{self.name} split: {len(self):,} images of {len(self.classes)} classes>"

    @property
    def images(self) -> np.memmap[Any, np.dtype[np.uint8]]:
        """The images: read-only ``(N, height, width, channels)`` uint8 in [0, 255], mapped, not loaded."""
        everything = load_npy(self.file, mmap_mode="r")
        return everything[self.start : self.start + len(self.rows)]  # type: ignore[no-any-return]

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """The labels: ``(N,)`` int64, each an index into `classes`."""
        index = {label: number for number, label in enumerate(self.classes)}
        return np.array([index[row.label] for row in self.rows], dtype=np.int64)

    @property
    def one_hot(self) -> np.ndarray:
        """The labels as rows with a single 1: ``(N, classes)`` float32, for a categorical cross-entropy."""
        return np.asarray(np.eye(len(self.classes), dtype=np.float32)[self.labels])

    @property
    def paths(self) -> tuple[str, ...]:
        """Path of each image relative to the folder of images; ``train/12`` for ``x_train[12]``."""
        return tuple(row.path for row in self.rows)

    @property
    def sha256(self) -> tuple[str, ...]:
        """The sha256 of each image's file, or of its pixels where it came from an array."""
        return tuple(row.sha256 for row in self.rows)

    def to_tf_dataset(
        self, *, batch_size: int = 32, shuffle: bool = False, seed: int | None = None, one_hot: bool = False
    ) -> Any:
        """Return the split as a ``tf.data.Dataset`` of batches, for a training loop of your own.

        Args:
            batch_size: Images per batch, 1 or more; the last batch of an epoch may be smaller.
            shuffle: Whether to draw a new order in each epoch, over the whole split.
            seed: Makes the orders reproducible; only with ``shuffle``.
            one_hot: Labels as rows with a single 1 instead of class numbers.

        Returns:
            A dataset of ``(images, labels)``: uint8 ``(batch, height, width, channels)`` in [0, 255], not scaled, and
            int64 ``(batch,)``, or float32 ``(batch, classes)`` with ``one_hot``. Images are read from the memory
            map batch by batch.

        Raises:
            MissingExtra: TensorFlow is not installed.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more. Received: batch_size={batch_size}")
        tf = load_tensorflow("Prepared.train.to_tf_dataset")
        images, labels = self.images, self.one_hot if one_hot else self.labels
        order = tf.data.Dataset.range(len(self))
        if shuffle and len(self):
            order = order.shuffle(len(self), seed=seed, reshuffle_each_iteration=True)

        def batch(rows: Any) -> Any:
            pixels = tf.numpy_function(lambda chosen: images[chosen], [rows], tf.uint8)
            return tf.ensure_shape(pixels, (None, *images.shape[1:])), tf.gather(labels, rows)

        return order.batch(batch_size).map(batch).prefetch(2)


@dataclass(frozen=True, repr=False)
class Prepared:
    """Images ready for training, in a folder. Make one with `prepare` or `from_arrays`, open one with `Prepared.open`.

    Attributes:
        folder: Where it lies.
        spec: Size, color and resize rule of the images; a model trained on them carries it along.
        classes: Names of the classes; a label is an index into it.
        split: What each image is, and what was left out.
        fingerprint: 64 hex digits over split and spec: equal content has an equal fingerprint.
        file: The array file, ``(N, height, width, channels)`` uint8.
        decoder: Versions of what decoded them: another one may give other pixels for the same files. Empty for arrays.
    """

    folder: Path
    spec: InputSpec
    classes: tuple[str, ...]
    split: SplitManifest
    fingerprint: str
    file: Path
    decoder: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        counts = " + ".join(f"{len(self.arrays(name)):,} {name}" for name in SPLITS)
        size = f"{self.spec.height}x{self.spec.width} {self.spec.color_mode}"
        return f"Prepared({str(self.folder)!r}, {size}, {len(self.classes)} classes, {counts})"

    def _repr_html_(self) -> str:
        counts = self.counts()
        rows = [[label, *(counts[name][label] for name in SPLITS)] for label in self.classes]
        return html_table(repr(self), ["class", *SPLITS], rows)

    @property
    def class_indices(self) -> dict[str, int]:
        """Class name -> label, as Keras' generators have it."""
        return {name: number for number, name in enumerate(self.classes)}

    @property
    def train(self) -> SplitArrays:
        """The images that the weights are fitted to."""
        return self.arrays("train")

    @property
    def validation(self) -> SplitArrays:
        """The images that choose the best epoch and rank models."""
        return self.arrays("validation")

    @property
    def test(self) -> SplitArrays:
        """The images set aside. Only `housetrain.evaluate` reads them, and each run records how often it did.

        ``test-openings.jsonl`` in the folder is the record of all runs. Looking at them here is not recorded. Never
        choose a model or a setting by what you find: the accuracy that `housetrain.evaluate` reports would be too high.
        """
        return self.arrays("test")

    def arrays(self, name: SplitName) -> SplitArrays:
        """Return the images of the split ``name``.

        Raises:
            ValueError: There is no such split.
        """
        if name not in SPLITS:
            raise ValueError(f"Unknown split. Expected: {', '.join(SPLITS)}. Received: name={name!r}")
        place = SPLITS.index(name)
        start, stop = bounds(self.split)[place : place + 2]
        return SplitArrays(name, self.classes, self.split.rows[start:stop], self.file, start)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many images each split has of each class."""
        return self.split.counts()

    @property
    def balance(self) -> str:
        """How classes of unequal size are treated: ``"weights"``, ``"trim"`` or ``"none"``."""
        return str(self.split.options.get("balance", "weights"))

    @classmethod
    def open(cls, folder: Path | str) -> Prepared:
        """Open a prepared folder.

        Raises:
            IncompleteError: There is none, or preparing it was cut off.
            CorruptError: A file is missing, or is not what was written.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        try:
            return cls.of_manifest(folder, manifest)
        except CorruptError:
            # Another process may just have replaced the content that this manifest named.
            newer = read_manifest(folder)
            if newer == manifest:
                raise
            return cls.of_manifest(folder, newer)

    @classmethod
    def from_arrays(
        cls,
        train: tuple[ArrayLike, ArrayLike],
        test: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        classes: Sequence[str] | None = None,
        folder: Path | str | None = None,
        validation_split: float = 0.15,
        test_split: float = 0.15,
        seed: int = 0,
    ) -> Prepared:
        """Write arrays as a prepared folder, which trains, sweeps and evaluates like one made from image files.

        Called again with the same arrays it opens the folder. Copies of an image are used once, an image in two splits
        stays in the test split, and an image with two labels is left out; ``split.left_out`` names them. The arrays
        on disk have an order of their own: the path ``train/12`` of a row says that it is ``x_train[12]``.

        Args:
            train: Images and labels: uint8 ``(N, height, width)`` or ``(N, height, width, 1 or 3)`` in [0, 255], RGB;
                and integers ``(N,)`` or ``(N, 1)`` from 0.
            test: The images set aside for `housetrain.evaluate`, of the same shape; by default a share of the training
                images.
            validation: The images to validate with; by default a share of the training images.
            classes: The name of each label, in their order; the numbers themselves by default.
            folder: Where to write; ``prepared/arrays-28x28-grayscale-<digits of the content>`` by default.
            validation_split: Share of the training images of each class to validate with, in (0, 1). Not used with
                ``validation``.
            test_split: Share of the training images of each class to test with, in [0, 1); 0: validation only. Not used
                with ``test``.
            seed: Another number chooses other validation and test images.

        Raises:
            DataError: The arrays cannot be used; names what is wrong and how to convert them.
            FolderError: The folder holds something else.
            DiskFull: No room or no permission.
        """
        given: dict[SplitName, tuple[ArrayLike, ArrayLike]] = {"train": train}
        if test is not None:
            given["test"] = test
        if validation is not None:
            given["validation"] = validation
        place, manifest = write_arrays(
            given,
            classes=classes,
            folder=None if folder is None else Path(folder),
            validation_split=validation_split,
            test_split=test_split,
            seed=seed,
        )
        return cls.of_manifest(place, manifest)

    @classmethod
    def of_manifest(cls, folder: Path | str, manifest: Mapping[str, Any]) -> Prepared:
        """Open what a manifest names.

        Raises:
            CorruptError: A file is missing, or is not what was written.
        """
        folder = Path(folder)
        listing = folder / manifest["split"]["file"]
        split = SplitManifest.from_bytes(read_listing(folder, manifest), name=str(listing))
        spec = InputSpec.from_json(manifest["spec"])
        file = folder / manifest["images"]["file"]
        return cls(folder, spec, split.classes, split, manifest["fingerprint"], file, manifest.get("decoder", {}))
