"""The files of a folder of prepared images: written as a whole by one rename, checked before they are believed.

In: a split, an input spec, and a function that fills the array file. Out: the manifest of a complete folder. It does
not know where the pixels come from (image files or arrays), nor what reads them (`housetrain.data.prepared`).

The folder holds ``prepared.json`` (the manifest, written last: present = complete), ``images-<key>.npy`` and
``split-<key>.json``. The manifest names the two others, so that renaming a new one over it exchanges the whole content:
a kill at any instant leaves the old content or the new.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from housetrain.data import npy_writer
from housetrain.data.split_manifest import SPLITS, LeftOut, SplitManifest
from housetrain.errors import CorruptError, DecodeError, FolderError, IncompleteError
from housetrain.images.input_spec import InputSpec
from housetrain.system import json_types
from housetrain.system.files import disk_errors, inside, is_temporary, replace_durably, write_atomic
from housetrain.system.lock import Lock
from housetrain.system.near_folders import instead_of
from housetrain.system.regular_files import read_bytes
from housetrain.system.store import read_json

MANIFEST = "prepared.json"
"""Written last: where it is, the folder is complete."""

FORMAT = 1


class _File(TypedDict):
    file: str
    bytes: int


class _Listing(_File):
    sha256: str


class _Manifest(TypedDict):
    format: int
    fingerprint: str
    root: str
    spec: dict[str, Any]
    classes: list[str]
    counts: dict[str, dict[str, int]]
    images: _File
    split: _Listing
    request: dict[str, str]
    decoder: dict[str, str]


class Filled(NamedTuple):
    """What filling the array file came to.

    Attributes:
        failed: Row number -> why that row could not be filled.
        computed: How many rows were computed rather than copied from the folder's previous content.
    """

    failed: dict[int, str]
    computed: int


def write_prepared(
    folder: Path,
    split: SplitManifest,
    spec: InputSpec,
    *,
    fill: Callable[[Path], Filled],
    request: Mapping[str, str],
    decoder: Mapping[str, str],
) -> dict[str, Any]:
    """Replace the content of a folder, unless it already is the answer to the same request.

    Args:
        folder: Where to write; made if it does not exist.
        split: The rows, in the order of the array file.
        spec: What a row holds.
        fill: Writes the rows into the array file at the given path, which exists in its full size.
        request: Kind of request -> key, as `request_key` gives it; ``"split"`` decides whether the work is done.
        decoder: Versions of the libraries that the pixels depend on.

    Returns:
        The manifest of the folder's content. Rows that failed are left out.

    Raises:
        FolderError: The folder holds something else, or a class has no training image left.
        DiskFull: No room or no permission. The previous content is intact.
    """
    if (found := cached(folder, "split", request["split"])) is not None:
        return found
    _refuse_foreign(folder)
    with disk_errors(folder, bytes_needed=npy_writer.file_bytes(len(split.rows), spec)):
        folder.mkdir(parents=True, exist_ok=True)
        with Lock(folder, wait=True):
            # The process this one waited for may have done the work.
            if (found := cached(folder, "split", request["split"])) is not None:
                return found
            _remove_leftovers(folder)
            part = folder / f".images-{os.getpid()}.part"
            try:
                began = time.perf_counter()
                npy_writer.create(part, len(split.rows), spec=spec)
                filled = fill(part)
                final = _without(split, filled.failed) if filled.failed else split
                if filled.failed:
                    npy_writer.drop_rows(part, sorted(filled.failed), len(split.rows), spec=spec)
                facts = {
                    "request": dict(request),
                    "decoder": dict(decoder),
                    "decoded": filled.computed,
                    "seconds": round(time.perf_counter() - began, 3),
                }
                return _exchange(folder, part, final, spec, facts)
            finally:
                # After an error the manifest names the old content, and this removes the new.
                part.unlink(missing_ok=True)
                _remove_leftovers(folder)


def _exchange(
    folder: Path, part: Path, split: SplitManifest, spec: InputSpec, facts: dict[str, object]
) -> dict[str, Any]:
    """Write the new content beside the old, then replace the manifest."""
    listing = split.to_bytes()
    fingerprint = digest("prepared", split.fingerprint, spec.to_json())
    # Not named by content alone: damaged content must never be taken for the new one.
    name = f"{fingerprint[:8]}-{os.urandom(3).hex()}"
    images, rows = folder / f"images-{name}.npy", folder / f"split-{name}.json"
    replace_durably(part, images)
    write_atomic(rows, listing)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "root": str(split.root.resolve()),
        "spec": spec.to_json(),
        "classes": list(split.classes),
        "counts": split.counts(),
        "left_out": len(split.left_out),
        "images": {
            "file": images.name,
            "bytes": images.stat().st_size,
            "dtype": "uint8",
            "shape": [len(split.rows), *spec.shape],
            "rows": dict(zip(SPLITS, np.diff(bounds(split)).tolist(), strict=True)),
        },
        "split": {"file": rows.name, "bytes": len(listing), "sha256": hashlib.sha256(listing).hexdigest()},
        **facts,
    }
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1).encode("ascii"))
    return manifest


def cached(folder: Path, what: str, key: str) -> dict[str, Any] | None:
    """Return the folder's manifest if its content is the answer to the request ``key`` of the kind ``what``."""
    try:
        manifest = read_manifest(folder)
        if manifest["request"][what] != key:
            return None
        read_listing(folder, manifest)
        return manifest
    except (IncompleteError, CorruptError, KeyError):
        return None


def digest(*parts: object) -> str:
    """Return the sha256, in hexadecimal, of JSON-plain values and of the layout version of prepared folders."""
    return hashlib.sha256(json.dumps([FORMAT, *parts], sort_keys=True).encode()).hexdigest()


def _without(split: SplitManifest, failed: dict[int, str]) -> SplitManifest:
    """Return the split without the rows that failed; they are listed as left out."""
    gone = [LeftOut(split.rows[number].path, split.rows[number].label, reason) for number, reason in failed.items()]
    rest = [row for number, row in enumerate(split.rows) if number not in failed]
    lost = sorted(set(split.classes) - {row.label for row in rest if row.split == "train"})
    if lost:
        raise FolderError(
            f"No image of class {lost[0]!r} could be decoded for training",
            do="look at these images, or prepare again on a machine with less load",
            example=gone[0].path,
            reason=gone[0].reason,
        )
    return SplitManifest.of_rows(
        split.root, split.classes, rows=rest, left_out=[*split.left_out, *gone], options=split.options
    )


def _refuse_foreign(folder: Path) -> None:
    """Refuse to write into a folder that holds something else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FolderError("The output is not a folder", output=folder)
    if (folder / MANIFEST).exists():
        return
    foreign = sorted(
        item.name for item in folder.iterdir() if not _is_leftover(item.name) and not item.name.startswith(".lock")
    )
    if foreign:
        raise FolderError(
            "The output folder holds other files",
            expected="a new, an empty or a prepared folder",
            do="choose another folder",
            output=folder,
            found=foreign[0],
        )


def _is_leftover(name: str) -> bool:
    return name.endswith(".part") or name.startswith(("images-", "split-")) or is_temporary(name)


def _remove_leftovers(folder: Path) -> None:
    """Remove what the manifest does not name: files of a killed process, or the content that was just replaced."""
    named = set()
    with contextlib.suppress(IncompleteError, CorruptError):
        manifest = read_manifest(folder)
        named = {manifest["images"]["file"], manifest["split"]["file"]}
    for item in folder.iterdir():
        if _is_leftover(item.name) and item.name not in named:
            item.unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a folder says it holds.

    Raises:
        IncompleteError: It says nothing: there is none, or preparing it was cut off.
        CorruptError: It is not a manifest of this format, or names files elsewhere.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json_types.must_fit(read_json(path), _Manifest, path)
        if manifest["format"] != FORMAT:
            raise ValueError("another format")
        for name in ("images", "split"):
            inside(folder, manifest[name]["file"])
        return manifest
    except IncompleteError:
        images = shlex.quote(str(folder)) if folder.is_dir() else "FOLDER"
        raise IncompleteError(
            "There are no prepared images in this folder",
            expected=f"the file {MANIFEST}",
            do=instead_of(folder, MANIFEST, otherwise=f"`housetrain prepare {images}`, then give the folder it names"),
            folder=folder,
        ) from None
    except (CorruptError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(
            f"{MANIFEST} cannot be read", do="delete the folder and prepare again", folder=folder, cause=str(error)
        ) from error


def file_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the files that make a prepared folder, without the features that trainings keep in it.

    Raises:
        IncompleteError: It is no prepared folder.
        CorruptError: Its manifest cannot be read.
    """
    manifest = read_manifest(folder)
    return MANIFEST, str(manifest["images"]["file"]), str(manifest["split"]["file"])


def read_listing(folder: Path, manifest: Mapping[str, Any]) -> bytes:
    """Return the split of a folder, as `SplitManifest.to_bytes` wrote it, after checking the folder's files.

    Raises:
        CorruptError: A file is missing, or is not what was written.
    """
    images, listing = folder / str(manifest["images"]["file"]), folder / str(manifest["split"]["file"])
    try:
        size, data = images.stat().st_size, read_bytes(listing)
    except (OSError, DecodeError) as error:
        raise CorruptError(
            "A prepared folder lacks a file", do="prepare again", folder=folder, cause=str(error)
        ) from error
    if size != manifest["images"]["bytes"] or hashlib.sha256(data).hexdigest() != manifest["split"]["sha256"]:
        raise CorruptError(
            "A prepared folder was changed after it was written",
            do="delete it and prepare again",
            folder=folder,
            file=(listing if size == manifest["images"]["bytes"] else images).name,
        )
    return data


def bounds(split: SplitManifest) -> list[int]:
    """Return where train, validation and test begin among the rows, and where the last ends."""
    place = {name: number for number, name in enumerate(SPLITS)}
    starts = range(len(SPLITS) + 1)
    return [bisect.bisect_left(split.rows, start, key=lambda row: place[row.split]) for start in starts]
