"""Features: the outputs of a frozen base for each image, computed once and kept on disk.

In: prepared images, the engine of a base. Out: float16 features, one row an image (and one for each augmented
view). Does not know: labels, heads, run folders.

A row is kept under a hash of the image's content, the view and the net's weights, so an image that is in another
split, or in a folder that grew, is not computed again. Rows are appended in blocks, first the numbers, then the keys,
each made durable: what a kill leaves is a valid shorter file, and the same call goes on from there.

```
PREPARED/features/xception-<16 digits>/about.json     which net, precision and width
                                       rows.f16       the numbers, row after row
                                       keys.bin       16 bytes a row
```
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.inference.engine import run_padded, stream
from housetrain.inference.fastest import batch_of
from housetrain.models.augmented_views import View, changed
from housetrain.system import store
from housetrain.system.lock import Lock

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.data.split_manifest import SplitName
    from housetrain.inference.engine import LoadedModel

_KEY = 16  # bytes
_DURABLE_EVERY_S = 2.0  # what a kill may cost

Progress = Callable[[int, int], None]


class FeatureStore:
    """The features of one net, on disk. One process may write; use it as a context.

    Args:
        folder: Made if missing.
        about: JSON-plain: which net. Another one is another folder's.
        width: Features an image.

    Raises:
        RunLocked: On entering: another process writes there.
        DiskFull: It cannot be written.
    """

    def __init__(self, folder: Path, about: dict[str, Any], width: int) -> None:
        self.folder, self.width, self._about = folder, width, about
        self._lock = Lock(folder)
        self._rows, self._keys = folder / "rows.f16", folder / "keys.bin"
        self._places: dict[bytes, int] = {}

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

    def rows(self, keys: Sequence[bytes]) -> np.ndarray:
        """Return the rows of ``keys``, in that order: float16 (N, width).

        Raises:
            KeyError: One is missing.
        """
        places = np.array([self._places[key] for key in keys], dtype=np.int64)
        if not len(places):
            return np.empty((0, self.width), np.float16)
        shape = (len(self._places), self.width)
        return np.memmap(self._rows, dtype="<f2", mode="r", shape=shape)[places].astype(np.float16, copy=False)

    def _open(self) -> None:
        """Read the keys, and cut off what a kill left half written."""
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
        if len(self._places) != whole:  # a key twice: not written by this class; begin anew
            for path in (self._rows, self._keys):
                os.truncate(path, 0)
            self._places = {}


def features_of(
    prepared: Prepared,
    name: SplitName,
    *,
    model: str,
    weights: str,
    width: int,
    engine: LoadedModel,
    views: Sequence[View] = (),
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> np.ndarray:
    """Return the features of a split: those that are kept, the others computed and kept.

    Args:
        prepared: The images.
        name: The split.
        model: The net's name.
        weights: Hash of its weights.
        width: Features an image.
        engine: Computes them.
        views: Augmented views besides the images themselves.
        progress: Called with (done, total) rows.
        check: Called between batches; it may raise to stop. What is computed stays.

    Returns:
        float16 (N * (1 + views), width): all images in their order, then the first view of all, and so on.
    """
    spec = prepared.spec.to_json()
    about = {"model": model, "weights": weights, "spec": spec, "precision": engine.precision, "width": width}
    about["decoder"] = dict(prepared.decoder)  # the same file may be other pixels after an upgrade
    digest = hashlib.sha256(store.encode(about)).hexdigest()[:16]
    everything: list[View | None] = [None, *views]
    keys = [_key(sha256, view) for view in everything for sha256 in prepared.sha256(name)]
    with FeatureStore(prepared.folder / "features" / f"{model}-{digest}", about, width) as kept:
        missing = list(dict.fromkeys(key for key in keys if key not in kept))
        if missing:
            places = {key: number for number, key in reversed(list(enumerate(keys)))}
            _compute(kept, prepared, name, missing, [places[key] for key in missing], everything, engine, len(keys),
                     progress, check)  # fmt: skip
        elif progress is not None:
            progress(len(keys), len(keys))
        return kept.rows(keys)


def _compute(
    kept: FeatureStore,
    prepared: Prepared,
    name: SplitName,
    missing: list[bytes],
    places: list[int],
    views: Sequence[View | None],
    engine: LoadedModel,
    total: int,
    progress: Progress | None,
    check: Callable[[], None] | None,
) -> None:
    images, sha256 = prepared.images(name), prepared.sha256(name)
    count, batch = len(sha256), batch_of(engine)

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, len(places), batch):
            if check is not None:
                check()
            some = places[start : start + batch]
            yield np.stack([changed(images[n % count], views[n // count], sha256[n % count]) for n in some])

    before = total - len(missing)
    done, waiting, saved = 0, list[np.ndarray](), time.monotonic()

    def save() -> None:
        nonlocal waiting, saved
        if waiting:
            rows = np.concatenate(waiting)
            kept.append(missing[done - len(rows) : done], rows)
        waiting, saved = [], time.monotonic()

    try:
        for rows in stream(lambda some: run_padded(engine, some, batch), batches(), parallel=engine.parallel):
            waiting.append(rows)
            done += len(rows)
            if time.monotonic() - saved > _DURABLE_EVERY_S:
                save()
            if progress is not None:
                progress(before + done, total)
    finally:
        save()


def _key(sha256: str, view: View | None) -> bytes:
    if view is None:
        return bytes.fromhex(sha256)[:_KEY]
    return hashlib.sha256(f"{sha256} {view!r}".encode()).digest()[:_KEY]
