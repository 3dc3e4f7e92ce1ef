"""The features of one base on disk: rows of float16, each under a key, appended durably.

In: keys and rows. Out: the rows of keys. It does not know models, splits or labels.

Rows are appended in blocks, first the numbers, then the keys, each made durable: a kill leaves a valid shorter file,
and the same call resumes there.

```
PREPARED/features/xception-<16 digits>/about.json     which base and precision
                                       engine.json    what computed the rows
                                       ranges.json    value ranges, where that computes in 8 bits
                                       rows.f16       the numbers, row after row
                                       keys.bin       16 bytes a row
```
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.errors import HousetrainError
from housetrain.inference.fastest import DTYPES
from housetrain.system import json_text, store
from housetrain.system.lock import Lock

if TYPE_CHECKING:
    from housetrain.inference.engine import LoadedModel
    from housetrain.models.augmented_views import View

_KEY = 16  # bytes


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


def kept_features(prepared: Path, sha256: Sequence[str]) -> np.ndarray | None:
    """Return the features of images that a prepared folder keeps: float16 (N, width); ``None`` if any is missing.

    Args:
        prepared: The folder; where it has features of several bases, those of the one that was used last.
        sha256: Of the images.
    """
    keys = [key_of(one, None) for one in sha256]
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


def key_of(sha256: str, view: View | None) -> bytes:
    """Return the key of an image's content, or of a view of it."""
    if view is None:
        return bytes.fromhex(sha256)[:_KEY]
    kind = "flip " if view.only_flips else ""  # earlier versions drew these at random, under the plain key
    return hashlib.sha256(f"{sha256} {kind}{view!r}".encode()).digest()[:_KEY]
