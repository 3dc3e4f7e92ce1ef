"""Novelty: whether an image is unlike the images that a model was trained on.

In: features, the input of a model's last layer, of training and validation images; then of new images. Out: a
`Novelty`, the file that keeps it, and an engine that computes the distance beside the outputs. It does not know Keras.

The distance is the cosine distance to the fifth nearest training image (Sun et al., "Out-of-distribution detection with
deep nearest neighbors", ICML 2022). Measured against Mahalanobis distances in benchmarks/RECORDS.md.
"""

from __future__ import annotations

import functools
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import CorruptError, DecodeError
from housetrain.inference.engine import Images, LoadedModel, Outputs
from housetrain.system import store
from housetrain.system.arrays import load_npz
from housetrain.system.regular_files import read_bytes

FILE = "novelty.npz"
"""In a run folder and in a bundle."""
NEIGHBOR = 5
MOST = 1000
"""Training images that are kept; more cost time and find little more."""
FALSE_ALARMS = 0.05
"""Share of images like those of the validation split that are called novel."""
_MOST_BYTES = 64 << 20
_ARRAYS = ("features", "threshold")


@dataclass(frozen=True, eq=False)
class Novelty:
    """The features of training images, and how far from them a new image may be.

    Attributes:
        features: float16 (N, width), rows of length 1.
        threshold: An image with a larger distance is novel.
    """

    features: NDArray[np.float16]
    threshold: float

    @classmethod
    def of(cls, train: NDArray[np.floating], validation: NDArray[np.floating]) -> Novelty | None:
        """Return the novelty of a model, with the threshold from validation images.

        A new image like those is called novel with a probability of at most `FALSE_ALARMS` (a conformal p-value):
        neither the training features nor the distance depend on the validation images.

        Args:
            train: Features of the training images, (N, width); `MOST` of them are kept.
            validation: Those of the validation images, (M, width).

        Returns:
            ``None`` where there are too few images.
        """
        rank = math.ceil(round((len(validation) + 1) * (1 - FALSE_ALARMS), 9))
        if rank > len(validation) or len(train) < 2 * NEIGHBOR:
            return None
        kept = np.sort(np.random.default_rng(0).permutation(len(train))[:MOST])
        found = cls(_unit(train[kept]).astype(np.float16), math.inf)
        return cls(found.features, float(np.sort(found.distances(validation))[rank - 1]))

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.features.shape[1])

    @functools.cached_property
    def _columns(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self.features.T, dtype=np.float32)

    def distances(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the cosine distance of each row to the fifth nearest training image, float32 (N,), 0 to 2."""
        found = []
        for start in range(0, len(features), 512):
            near = _unit(features[start : start + 512]) @ self._columns
            found.append(1 - np.partition(near, -NEIGHBOR, axis=1)[:, -NEIGHBOR])
        return np.concatenate(found) if found else np.empty(0, np.float32)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what `read` reads, by name."""
        return {"features": self.features, "threshold": np.array(self.threshold, np.float32)}

    def save(self, folder: Path) -> None:
        """Write `FILE` into a folder, atomically.

        Raises:
            DiskFull: It cannot be written.
        """
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **self.arrays())
        store.write_bytes_atomic(folder / FILE, buffer.getvalue())

    @classmethod
    def read(cls, data: bytes) -> Novelty:
        """Read the content of `FILE`. Nothing is unpickled.

        Raises:
            CorruptError: It is something else.
        """
        arrays = load_npz(data, _ARRAYS, most_bytes=_MOST_BYTES, name=FILE)
        features, threshold = arrays["features"], arrays["threshold"]
        if (
            features.dtype != np.float16
            or features.ndim != 2
            or not NEIGHBOR <= len(features) <= MOST
            or threshold.dtype != np.float32
            or threshold.ndim
            or not (np.isfinite(features).all() and np.isfinite(threshold))
        ):
            raise CorruptError(f"{FILE} is not what housetrain writes", do="train or export the run again")
        return cls(features, float(threshold))

    @classmethod
    def of_run(cls, folder: Path) -> Novelty | None:
        """Return the novelty that a run kept; ``None`` without one.

        Raises:
            CorruptError: The file is something else.
        """
        if not (folder / FILE).is_file():
            return None
        try:
            return cls.read(read_bytes(folder / FILE))
        except DecodeError as error:
            raise CorruptError(f"{FILE} cannot be read: {error.reason}", path=str(folder / FILE)) from error


class NoveltyEngine:
    """An engine whose last output is the distance of the image from the training images.

    Args:
        engine: A model that also returns its features; see `LoadedModel.features`.
        novelty: Measures them.
    """

    def __init__(self, engine: LoadedModel, novelty: Novelty) -> None:
        self.name, self.precision, self.parallel = engine.name, engine.precision, engine.parallel
        self.model, self.novelty, self._engine = engine.model, novelty, engine

    def run(self, images: Images) -> Outputs:
        """Return float32 (N, units + 1): the outputs of the model, then the distance."""
        outputs, features = self._engine.run_with_features(images)
        return np.concatenate([outputs, self.novelty.distances(features)[:, None]], axis=1)

    def close(self) -> None:
        """Release the model."""
        self._engine.close()


def with_novelty(engine: LoadedModel, novelty: Novelty | None) -> LoadedModel | NoveltyEngine:
    """Return an engine that measures novelty, if the model returns the features that are needed; else itself."""
    fits = novelty is not None and engine.features == novelty.width
    return NoveltyEngine(engine, novelty) if fits and novelty is not None else engine


def _unit(features: NDArray[np.floating]) -> NDArray[np.float32]:
    rows = np.asarray(features, dtype=np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)
