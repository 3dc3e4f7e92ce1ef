"""Catalogs without files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from housetrain.data.catalog import Catalog
from housetrain.data.image_record import Brightness, FileStamp, Hashes, ImageRecord
from housetrain.images.sniff import Header


def image(path: str, label: str, *, content: str = "", ready: str | None = None, reason: str = "") -> ImageRecord:
    sha256 = hashlib.sha256(os.fsencode(content or path)).hexdigest()
    return ImageRecord(
        path, label, ready, FileStamp(100), sha256, Header("JPEG", 50, 50, "RGB", 1, 1),
        Hashes("" if reason else sha256[:16]), Brightness(128.0, 50.0, 50.0), reason=reason,
    )  # fmt: skip


def catalog(*images: ImageRecord, empty: tuple[str, ...] = ()) -> Catalog:
    return Catalog(
        root=Path("/images"),
        classes=tuple(sorted({one.label for one in images})),
        images=tuple(sorted(images, key=lambda one: one.path)),
        ignored={},
        empty_classes=empty,
        ready_made=any(one.split for one in images),
        fingerprint="f" * 64,
    )


def folder(counts: dict[str, int], **more: Any) -> Catalog:
    return catalog(*(image(f"{name}/{n}.jpg", name) for name, count in counts.items() for n in range(count)), **more)
