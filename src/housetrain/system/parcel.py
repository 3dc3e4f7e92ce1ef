"""Parcels: files of a folder that reach each node of a cluster once, through Ray's object store.

In: a folder and the names of its files, on the driver. Out: a folder with the same files, on a node. Does not know:
what the files are. Bytes are sent, never objects: nothing of a folder is unpickled.

Ray copies an object to a node once, however many tasks of that node read it. A node keeps what it unpacked under a
name made of the content, so the next sweep finds it there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from housetrain.errors import CorruptError
from housetrain.system import store
from housetrain.system.files import inside
from housetrain.system.lock import Lock

_CHUNK = 128 << 20  # bytes per object: an object must fit into the memory of a node


class _File(NamedTuple):
    name: str
    sha256: str
    chunks: list[Any]  # references to bytes


class Parcel(NamedTuple):
    """Files in the object store.

    Attributes:
        digest: 64 hex digits over names and contents.
        files: The files.
    """

    digest: str
    files: list[_File]


def pack(ray: Any, folder: Path, names: Iterable[str]) -> Parcel:
    """Put files of a folder into the object store.

    Args:
        ray: The library, connected.
        folder: The folder.
        names: The files, relative to it.
    """
    files, whole = [], hashlib.sha256()
    for name in sorted(names):
        chunks, content = [], hashlib.sha256()
        with inside(folder, name).open("rb") as file:
            while data := file.read(_CHUNK):
                content.update(data)
                chunks.append(ray.put(data))
        files.append(_File(name, content.hexdigest(), chunks))
        whole.update(f"{name}\0{content.hexdigest()}\0".encode())
    return Parcel(whole.hexdigest(), files)


def unpack(ray: Any, parcel: Parcel, cache: Path) -> Path:
    """Return a folder with the files of a parcel; they are written if this node does not have them yet.

    Args:
        ray: The library, in a worker.
        parcel: What `pack` returned.
        cache: Where the node keeps such folders.

    Raises:
        CorruptError: A file did not arrive as it was sent.
        DiskFull: The node has no room.
    """
    place = cache / parcel.digest
    if place.is_dir():
        return place
    with store.disk_errors(place), Lock(cache, file=f"{parcel.digest}.lock", wait=True):
        if not place.is_dir():
            temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=cache))
            try:
                for file in parcel.files:
                    _write(ray, file, inside(temporary, file.name))
                os.replace(temporary, place)  # noqa: PTH105 - in one step: the folder appears with all its files
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return place


def _write(ray: Any, file: _File, path: Path) -> None:
    content = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        for chunk in file.chunks:
            data = ray.get(chunk)
            content.update(data)
            target.write(data)
    if content.hexdigest() != file.sha256:
        raise CorruptError("A file did not reach a node as it was sent", do="try again", name=file.name)
