"""Batches: images or features, in the order of an epoch, as ``fit`` takes them.

In: training and validation `Examples`, a batch size, a seed. Out: a `Feed`: training batches in a new order each epoch,
and large validation batches. It does not know models, losses or run folders.

The order is a pure function of (seed, epoch), so a run that was killed resumes with the same batches. Images stay uint8
until they are inside the model. On TensorFlow the file's memory map itself is the tensor that the graph gathers from
(DLPack, no copy): nothing is loaded up front, several processes share one copy in the page cache, and data larger than
memory streams through it. Other backends take the same batches from a `keras.utils.PyDataset`.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from typing import Any, NamedTuple

import numpy as np

_ALIGNMENT = 64  # bytes; TensorFlow aborts the process on a tensor that is aligned worse
_SHARE_OF_MEMORY = 0.5  # arrays larger than this share of the free memory release their pages while they are read


class Examples(NamedTuple):
    """What a model is fitted to, or validated on.

    Attributes:
        inputs: uint8 images ``(N, height, width, channels)``, or float16 features ``(N, width)``.
        labels: Class numbers, int64 ``(N,)``.
    """

    inputs: np.ndarray
    labels: np.ndarray


def order_of(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order of ``count`` images in an epoch: int64 ``(count,)``, a permutation.

    Args:
        count: How many images.
        seed: The recipe's seed.
        epoch: Counted from 0.
    """
    return np.random.default_rng([seed, epoch]).permutation(count)


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray | None:
    """Return tempered class weights: float32 ``(classes,)``, mean 1 over the images.

    A weight is proportional to one over the square root of the class's images, so a class a hundred times rarer counts
    ten times as much per image. "Balanced" weights (King & Zeng 2001) would let it count a hundred times as much: few
    images then decide the loss, and the outputs are those of a world in which all classes are equally frequent, which
    validation is not. ``None`` when all classes are equally frequent, so that nothing is multiplied by one. A class
    without images weighs 1.
    """
    counts = np.bincount(labels, minlength=classes)
    if len(set(counts.tolist())) == 1:
        return None
    roots = np.sqrt(counts)
    weights = len(labels) / (roots.sum() * np.maximum(roots, 1))
    return np.where(counts > 0, weights, 1.0).astype(np.float32)


def targets_of(labels: np.ndarray, classes: int, *, smoothing: float = 0.0) -> np.ndarray:
    """Return the training targets: float32 ``(N, 1)`` for two classes, else int32 ``(N,)``, or one-hot if smoothed.

    Args:
        labels: Class numbers, ``(N,)``.
        classes: How many classes there are; two are one sigmoid unit.
        smoothing: Share of the target spread evenly over all classes (Szegedy et al. 2016, arXiv:1512.00567).
    """
    if classes == 2:
        return (labels[:, None] * (1 - smoothing) + smoothing / 2).astype(np.float32)
    if not smoothing:
        return labels.astype(np.int32)
    hot = np.full((len(labels), classes), smoothing / classes, dtype=np.float32)
    hot[np.arange(len(labels)), labels] += 1 - smoothing
    return hot


def head_targets(labels: np.ndarray, classes: int, *, smoothing: float = 0.0) -> np.ndarray:
    """Return `targets_of` as a head's outputs have their shape: float32 ``(N, 1)`` for two classes, else one-hot."""
    targets = targets_of(labels, classes, smoothing=smoothing)
    return targets if targets.ndim == 2 else np.eye(classes, dtype=np.float32)[labels]


class Feed:
    """Training and validation batches of one run.

    Args:
        train: The training examples.
        validation: The validation examples.
        classes: Number of classes.
        weighted: Whether uneven classes are weighted. See `class_weights`.
        batch_size: Examples per step; the last step of an epoch takes what is left.
        seed: Decides, with the epoch, the order.
        smoothing: Label smoothing of the training targets.

    Attributes:
        train: The ``x`` of ``fit``: inputs, targets and, where classes are weighted, sample weights.
        validation: The ``x`` of ``predict``: inputs in their own order, in large batches.
        labels: Class numbers of the validation examples, ``(N,)``.
        count: Training examples.
        steps: Batches per epoch.
        weights: Weight of each class, or ``None``.
        streaming: Whether pages are released while training, because the arrays are large for this machine.
    """

    def __init__(
        self,
        train: Examples,
        validation: Examples,
        *,
        classes: int,
        weighted: bool,
        batch_size: int,
        seed: int,
        smoothing: float = 0.0,
    ) -> None:
        import keras
        import psutil

        self._seed = seed
        self.labels = validation.labels
        self.count, self.steps = len(train.inputs), math.ceil(len(train.inputs) / batch_size)
        self.weights = class_weights(train.labels, classes) if weighted else None
        size = train.inputs.nbytes + validation.inputs.nbytes
        self.streaming = size > _SHARE_OF_MEMORY * psutil.virtual_memory().available
        columns = [targets_of(train.labels, classes, smoothing=smoothing)]
        if self.weights is not None:
            columns.append(self.weights[train.labels])
        large = validation_batch(math.prod(train.inputs.shape[1:3]))
        kind = _Graph if keras.backend.backend() == "tensorflow" else _Arrays
        self._train: _Graph | _Arrays = kind(train.inputs, columns, batch_size)
        self._validation: _Graph | _Arrays = kind(validation.inputs, [], large)
        self.train, self.validation = self._train.batches, self._validation.batches

    def begin_epoch(self, epoch: int) -> None:
        """Set the order of ``epoch`` (from 0). Call this before its first batch is taken."""
        self._train.reorder(order_of(self.count, seed=self._seed, epoch=epoch))

    def release(self) -> None:
        """Release memory-mapped pages if `streaming`, so that the memory of the process stays flat."""
        if self.streaming:
            self._train.release()
            self._validation.release()


def validation_batch(pixels: int) -> int:
    """Return the validation batch size for images of ``pixels`` pixels.

    Large batches cost few calls, but several are in memory at once: with 512 the peak was 150 to 240 MB above that with
    128.
    """
    return int(min(128, max(32, 2**22 // pixels)))


class _Graph:
    """Batches gathered by TensorFlow, from the memory map where it can be used in place."""

    def __init__(self, images: np.ndarray, columns: list[np.ndarray], batch_size: int) -> None:
        import tensorflow as tf

        self._map, whole, first = _mapped(images)
        with tf.device("CPU"):
            source = _as_tensor(whole)
            tensors = [tf.constant(column) for column in columns]
            # A variable, not a constant: a new order each epoch must not build and trace a new pipeline.
            self._order = tf.Variable(np.arange(len(images)), trainable=False)

        def batch(step: Any) -> Any:
            start = step * batch_size
            rows = self._order[start : start + batch_size]
            values = (tf.gather(source, rows + first), *(tf.gather(tensor, rows) for tensor in tensors))
            return values if len(values) > 1 else values[0]

        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False  # one cheap step: nothing to tune, and the tuner costs a thread
        steps = tf.data.Dataset.range(math.ceil(len(images) / batch_size))
        self.batches = steps.map(batch).prefetch(2).with_options(options)

    def reorder(self, order: np.ndarray) -> None:
        self._order.assign(order)

    def release(self) -> None:
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)


class _Arrays:
    """Batches taken by numpy, for the other backends."""

    def __init__(self, images: np.ndarray, columns: list[np.ndarray], batch_size: int) -> None:
        import keras

        self._map, _, _ = _mapped(images)
        self._order = np.arange(len(images))
        outer = self

        class Steps(keras.utils.PyDataset):  # type: ignore[misc]  # keras carries no types
            def __len__(self) -> int:
                return math.ceil(len(images) / batch_size)

            def __getitem__(self, step: int) -> tuple[np.ndarray, ...]:
                rows = outer._order[step * batch_size : (step + 1) * batch_size]
                return (np.asarray(images[rows]), *(column[rows] for column in columns))

        self.batches = Steps()

    def reorder(self, order: np.ndarray) -> None:
        self._order = order

    def release(self) -> None:
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)


def _mapped(images: np.ndarray) -> tuple[mmap.mmap | None, np.ndarray, int]:
    """Return (the map, the whole file's array, the row where ``images`` begins in it).

    The file is mapped a second time, copy-on-write: DLPack refuses read-only arrays, and nothing ever writes to this
    one. The whole file is mapped, because a slice may begin at an address that TensorFlow refuses.
    """
    file = getattr(images, "filename", None)
    base = getattr(images, "_mmap", None)
    if file is None or base is None or not hasattr(mmap, "MADV_DONTNEED"):
        return None, images, 0
    with contextlib.suppress(ValueError, OSError):  # not a .npy file: use what was given
        whole = np.load(file, mmap_mode="c")
        row = images[:1].nbytes
        start = images.ctypes.data - np.frombuffer(base, dtype=np.uint8).ctypes.data - whole.offset
        if row and start % row == 0 and whole.shape[1:] == images.shape[1:]:
            return whole._mmap, whole, start // row
    return None, images, 0


def _as_tensor(array: np.ndarray) -> Any:
    import tensorflow as tf

    if array.flags.writeable and array.flags.c_contiguous and array.ctypes.data % _ALIGNMENT == 0 and len(array):
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)
