"""Features: the outputs of a frozen base model for each image, computed once and kept on disk.

In: prepared images, a `Base`. Out: float16 features, one row per image and augmented view. It does not know labels,
heads or run folders.

A row is kept under a hash of the image's content, the view and the base's weights, so an image that is in another
split, or in a folder that grew, is not computed again. Rows are appended in blocks, first the numbers, then the keys,
each made durable: a kill leaves a valid shorter file, and the same call resumes there.

```
PREPARED/features/xception-<16 digits>/about.json     which base and precision
                                       engine.json    what computed the rows
                                       rows.f16       the numbers, row after row
                                       keys.bin       16 bytes a row
```
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from housetrain.errors import HousetrainError
from housetrain.inference.engine import run_padded, stream
from housetrain.inference.fastest import DTYPES, FeaturePrecision, batch_of, fastest_engine, serving_precision
from housetrain.models.augmented_views import View, changed
from housetrain.models.backbone_weights import fingerprint
from housetrain.models.backbones import base_layers
from housetrain.models.efficientnet_lite import columns_of, every_stage
from housetrain.system import json_text, store
from housetrain.system.lock import Lock
from housetrain.training.precision import auto_precision

if TYPE_CHECKING:
    from housetrain.data.prepared import SplitArrays
    from housetrain.images.input_spec import InputSpec
    from housetrain.inference.encoder import Encoder
    from housetrain.inference.engine import LoadedModel
    from housetrain.models.recipe import Recipe

_KEY = 16  # bytes
_DURABLE_EVERY_S = 2.0  # seconds of work that a kill may lose

Progress = Callable[[int, int], None]


class Base:
    """A model without its head. Its engine is built only if features are missing.

    Args:
        name: The model's name.
        width: Features per image that are computed and kept.
        make: Returns the engine, uint8 images in, features out.
        about: JSON-plain: what the features depend on, such as weights and input spec.
        columns: Which of the features are used.
        exact: The base that computes as the exported model does; by default this one.
    """

    def __init__(
        self,
        name: str,
        width: int,
        make: Callable[[], LoadedModel],
        about: Mapping[str, Any],
        columns: slice = slice(None),
        exact: Base | None = None,
    ) -> None:
        self.name, self.width, self._make, self.about, self.columns = name, width, make, dict(about), columns
        self.exact = exact or self

    @classmethod
    def of_model(
        cls,
        whole: Any,
        name: str,
        *,
        spec: InputSpec,
        decoder: Mapping[str, str],
        precision: FeaturePrecision,
        sample: np.ndarray,
        stages: int | None = None,
    ) -> Base:
        """Return the base of a pretrained Keras model.

        Args:
            whole: A model of `models.build`.
            name: The model's name.
            spec: Its input.
            decoder: Versions of what decoded the images: another one may give other pixels for the same file.
            precision: What to compute in; ``"auto"`` lets the machine decide.
            sample: A few uint8 images to compare engines on.
            stages: How many stages of an EfficientNet-Lite the features come from. Those of all stages are computed and
                kept, in 6 to 9 % more time, so that recipes with other numbers of stages find theirs.
        """
        import keras

        output = base_layers(whole)[-1].output if stages is None else every_stage(whole, name)
        columns = slice(None) if stages is None else columns_of(name, stages)
        model = keras.Model(whole.input, output)
        width = int(model.output.shape[-1])
        about = {
            "model": name,
            "weights": fingerprint(whole),
            "spec": spec.to_json(),
            "width": width,
            "decoder": dict(decoder),
        }

        def computing_in(precision: FeaturePrecision, exact: Base | None = None) -> Base:
            make = functools.partial(fastest_engine, model, precision=precision, sample=sample)
            return cls(name, width, make, about | {"precision": precision}, columns, exact)

        used = auto_precision() if precision == "auto" else precision
        if used == "bfloat16" and serving_precision(whole.count_params(), precision=precision) == "fp32":
            return computing_in(precision, exact=computing_in("float32"))
        return computing_in(precision)

    @classmethod
    def of_encoder(cls, encoder: Encoder, recipe: Recipe, *, spec: InputSpec, decoder: Mapping[str, str]) -> Base:
        """Return the base that is an encoder of the user's own, in float32.

        Args:
            encoder: The encoder.
            recipe: Its recipe.
            spec: See `of_model`, as the next one.
            decoder: Versions.
        """
        about = {
            "model": recipe.model,
            "weights": encoder.sha256,
            "preprocessing": recipe.preprocessing,
            "spec": spec.to_json(),
            "width": encoder.width,
            "decoder": dict(decoder),
        }
        return cls(recipe.model, encoder.width, lambda: encoder.engine, about)

    @functools.cached_property
    def engine(self) -> LoadedModel:
        """What computes the features: of a Keras model the fastest engine of this machine."""
        return self._make()

    def folder(self, prepared: Path) -> Path:
        """Return where the features of the images in the folder ``prepared`` are kept."""
        digest = hashlib.sha256(json_text.encode(self.about)).hexdigest()[:16]
        return prepared / "features" / f"{self.name}-{digest}"


class Features(NamedTuple):
    """The features of one split.

    Attributes:
        rows: float16 ``(N * (1 + views), features)``: all images in their order, then the first view of all, and so on.
        engine: Name of the engine that computed them.
        precision: Compute type of that engine.
        computed: How many rows were missing.
    """

    rows: np.ndarray
    engine: str
    precision: str
    computed: int


class FeatureStore:
    """The features of one base, on disk. One process may write; use it as a context.

    Args:
        folder: Made if missing.
        about: JSON-plain: which base. Another base has another folder.
        width: Features per image.

    Attributes:
        engine: ``name`` and ``precision`` of the engine that computed the rows; empty before there are any.

    Raises:
        RunLocked: On entering: another process writes there.
        DiskFull: It cannot be written.
    """

    def __init__(self, folder: Path, about: dict[str, Any], width: int) -> None:
        self.folder, self.width, self._about = folder, width, about
        self._lock = Lock(folder)
        self._rows, self._keys = folder / "rows.f16", folder / "keys.bin"
        self._places: dict[bytes, int] = {}
        self.engine: dict[str, str] = {}

    def __enter__(self) -> FeatureStore:
        self._lock.__enter__()
        try:
            self._open()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(None, None, None)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def computed_by(self, engine: LoadedModel) -> None:
        """Record which engine computes the next rows, and remove rows of another precision."""
        facts = {"name": engine.name, "precision": DTYPES[engine.precision]}
        if self.engine and self.engine["precision"] != facts["precision"]:
            self._clear()
        if self.engine != facts:
            self.engine = facts
            store.write_json_atomic(self.folder / "engine.json", facts)

    def append(self, keys: Sequence[bytes], rows: np.ndarray) -> None:
        """Add rows, durably.

        Args:
            keys: 16 bytes each.
            rows: (len(keys), width), any float type.
        """
        if not keys:
            return
        # float16 ends at 65504; features are far below, but infinity would spoil a whole regression.
        data = np.clip(rows, -65504.0, 65504.0).astype("<f2")
        with store.disk_errors(self.folder, bytes_needed=data.nbytes):
            for path, content in ((self._rows, data.tobytes()), (self._keys, b"".join(keys))):
                with path.open("ab") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        for key in keys:
            self._places[key] = len(self._places)

    def rows(self, keys: Sequence[bytes], columns: slice = slice(None)) -> np.ndarray:
        """Return the rows of ``keys``, in that order: float16 (N, width), or those columns of them.

        Raises:
            KeyError: One is missing.
        """
        places = np.array([self._places[key] for key in keys], dtype=np.int64)
        if not len(places):
            return np.empty((0, self.width), np.float16)[:, columns]
        shape = (len(self._places), self.width)
        kept = np.memmap(self._rows, dtype="<f2", mode="r", shape=shape)[:, columns]
        return np.ascontiguousarray(kept[places], dtype=np.float16)

    def _open(self) -> None:
        """Read the keys, and remove a half-written end that a kill left."""
        about = self.folder / "about.json"
        if not about.exists():
            store.write_json_atomic(about, self._about)
        for path in (self._rows, self._keys):
            path.touch()
        row = 2 * self.width
        whole = min(self._rows.stat().st_size // row, self._keys.stat().st_size // _KEY)
        for path, size in ((self._rows, whole * row), (self._keys, whole * _KEY)):
            if path.stat().st_size != size:
                os.truncate(path, size)
        data = self._keys.read_bytes()
        self._places = {data[_KEY * n : _KEY * (n + 1)]: n for n in range(whole)}
        engine = self.folder / "engine.json"
        self.engine = dict(store.read_json(engine)) if engine.exists() else {}
        if len(self._places) != whole or not self.engine:  # a key twice, or of no engine: not written by this class
            self._clear()

    def _clear(self) -> None:
        for path in (self._keys, self._rows):
            os.truncate(path, 0)
        self._places = {}


def features_of(
    base: Base,
    split: SplitArrays,
    folder: Path,
    *,
    views: Sequence[View] = (),
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> Features:
    """Return the features of a split: those that are kept, the others computed and kept.

    Args:
        base: Computes them.
        split: The images.
        folder: Of the prepared images.
        views: Augmented views besides the images themselves.
        progress: Called with (done, total) rows.
        check: Called between batches; it may raise to stop. Computed rows stay.
    """
    everything: list[View | None] = [None, *views]
    keys = [_key(sha256, view) for view in everything for sha256 in split.sha256]
    with FeatureStore(base.folder(folder), base.about, base.width) as kept:
        missing = _missing(kept, keys)
        if missing:
            kept.computed_by(base.engine)
            missing = _missing(kept, keys)  # all of them, if the precision changed
            _Computation(kept, split, keys, missing, everything, base.engine).run(progress, check)
        elif progress is not None:
            progress(len(keys), len(keys))
        return Features(kept.rows(keys, base.columns), kept.engine["name"], kept.engine["precision"], len(missing))


def kept_features(prepared: Path, sha256: Sequence[str]) -> np.ndarray | None:
    """Return the features of images that a prepared folder keeps: float16 (N, width); ``None`` if any is missing.

    Args:
        prepared: The folder; where it has features of several bases, those of the one that was used last.
        sha256: Of the images.
    """
    keys = [_key(one, None) for one in sha256]
    wanted = set(keys)
    known: dict[bytes, dict[bytes, np.ndarray]] = {}  # base -> key -> row: validation may have another precision
    for rows in sorted(prepared.glob("features/*/rows.f16"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            about = store.read_object(rows.with_name("about.json"))
            width = int(about["width"])
            data = rows.with_name("keys.bin").read_bytes()
            count = min(len(data) // _KEY, rows.stat().st_size // (2 * width))
            kept = np.memmap(rows, dtype="<f2", mode="r", shape=(count, width))
        except (HousetrainError, OSError, KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        found = known.setdefault(json_text.encode(about | {"precision": ""}), {})
        places = {data[_KEY * n : _KEY * (n + 1)]: n for n in range(count)}
        found |= {key: kept[places[key]] for key in wanted & places.keys() - found.keys()}
        if len(found) == len(wanted):
            return np.stack([found[key] for key in keys]) if keys else np.empty((0, width), np.float16)
    return None


def _missing(kept: FeatureStore, keys: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys(key for key in keys if key not in kept))


class _Computation:
    """Computes the missing rows of one split."""

    def __init__(
        self,
        kept: FeatureStore,
        split: SplitArrays,
        keys: Sequence[bytes],
        missing: Sequence[bytes],
        views: Sequence[View | None],
        engine: LoadedModel,
    ) -> None:
        self.kept, self.split, self.missing, self.views, self.engine = kept, split, missing, views, engine
        self.total, self.batch = len(keys), batch_of(engine)
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        self.places = [first[key] for key in missing]
        self.done = 0
        self.waiting: list[np.ndarray] = []

    def run(self, progress: Progress | None, check: Callable[[], None] | None) -> None:
        saved = time.monotonic()
        batches = self._batches(check)
        try:
            for rows in stream(
                lambda some: run_padded(self.engine, some, self.batch), batches, parallel=self.engine.parallel
            ):
                self.waiting.append(rows)
                self.done += len(rows)
                if time.monotonic() - saved > _DURABLE_EVERY_S:
                    self._save()
                    saved = time.monotonic()
                if progress is not None:
                    progress(self.total - len(self.missing) + self.done, self.total)
        finally:
            self._save()

    def _batches(self, check: Callable[[], None] | None) -> Iterator[np.ndarray]:
        images, sha256, count = self.split.images, self.split.sha256, len(self.split)
        for start in range(0, len(self.places), self.batch):
            if check is not None:
                check()
            places = self.places[start : start + self.batch]
            yield np.stack([changed(images[n % count], self.views[n // count], sha256[n % count]) for n in places])

    def _save(self) -> None:
        if self.waiting:
            rows = np.concatenate(self.waiting)
            self.kept.append(self.missing[self.done - len(rows) : self.done], rows)
        self.waiting = []


def _key(sha256: str, view: View | None) -> bytes:
    if view is None:
        return bytes.fromhex(sha256)[:_KEY]
    kind = "flip " if view.only_flips else ""  # earlier versions drew these at random, under the plain key
    return hashlib.sha256(f"{sha256} {kind}{view!r}".encode()).digest()[:_KEY]
