"""The records of a scan, saved in the cache: a second scan decodes only what changed.

In: the file, records. Out: records. Does not know: how images are found or measured. What cannot be read or written is
a warning: the images are then read again.

A record is kept unless its file was modified so shortly before the scan that a later change could have left the same
time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from pathlib import Path

from housetrain.data.image_record import ImageRecord, from_columns, to_columns
from housetrain.system.files import write_atomic

_RACY_NS = 2_000_000_000  # the coarsest clock of a file system in use (FAT) ticks every two seconds


def place_of(cache: Path, root: Path) -> Path:
    """Return the file of the records of a folder."""
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return cache / "catalogs" / f"{name}.json"


def load(store: Path, version: int) -> dict[str, ImageRecord]:
    """Return path -> record; nothing where the file is missing, damaged or of another version."""
    try:
        value = json.loads(store.read_bytes())
        if value["version"] != version:
            return {}
        return {image.path: image for image in from_columns(value["images"])}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        warnings.warn(f"The saved catalog cannot be used: {store}: {error}", stacklevel=3)
        return {}


def save(
    store: Path, version: int, rows: list[ImageRecord | None], known: dict[str, ImageRecord], *, started_ns: int
) -> None:
    """Save the records of a scan that began at ``started_ns``, unless they are those that are ``known``."""
    racy = range(started_ns - _RACY_NS, time.time_ns() + _RACY_NS)
    # files that could not be read for an outside reason (permission, a crash, a slow disk) are tried again each time
    kept = [row for row in rows if row is not None and row.sha256 and row.stamp.mtime_ns not in racy]
    if len(kept) == len(known) and all(known.get(row.path) is row for row in kept):
        return
    value = {"version": version, "images": to_columns(kept)}
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(store, json.dumps(value, separators=(",", ":")).encode("ascii"))
    except OSError as error:
        warnings.warn(f"The catalog cannot be saved; the next scan will read every image again: {error}", stacklevel=3)
