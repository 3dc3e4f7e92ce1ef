"""Extract an uploaded zip of class folders safely.

In: an untrusted archive. Out: ``uploads/<name>/<class>/image``, complete, or an error and no files: see
`housetrain.data.archive`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from housetrain.data import archive as archives
from housetrain.errors import FolderError
from housetrain.system.files import disk_errors

MOST_MEGABYTES = 1024
"""Size limit of an upload, which the page holds in memory. Copy larger folders below the data root instead."""
_MOST_NAME = 60


def unpack(archive: Path, name: str, folder: Path, *, progress: archives.Progress | None = None) -> Path:
    """Extract a zip of class folders.

    Args:
        archive: The zip file.
        name: Its original file name, from which the folder name is derived.
        folder: Folder of the uploads. The new folder in it appears complete or not at all.
        progress: Called with (files done, total files).

    Returns:
        The folder that contains the class folders.

    Raises:
        FolderError: It is rejected, damaged, or contains no class folders.
        DiskFull: Not enough disk space.
    """
    if not zipfile.is_zipfile(archive):
        raise FolderError("This is not a zip file", expected="a zip of class folders", file=name)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as place:
            inside = Path(place) / "content"
            inside.mkdir()
            archives.unpack(archive, inside, name=name, progress=progress)
            top = archives.top_folder(inside)
            if sum(item.is_dir() for item in top.iterdir()) < 2:
                raise FolderError(
                    "The zip contains no class folders",
                    expected="one folder of images per class, such as cats/1.jpg and dogs/1.jpg",
                    do="put the images of each class into one folder and zip these folders",
                    file=name,
                )
            for item in (top, *top.rglob("*")):  # for no other user of the machine
                item.chmod(0o700 if item.is_dir() else 0o600)
            target = _free(folder, name)
            top.rename(target)
    return target


def _free(folder: Path, name: str) -> Path:
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem).strip(".-")[:_MOST_NAME] or "images"
    number = 1
    while (target := folder / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return target


def clear_leftovers(folder: Path) -> None:
    """Remove partial extractions that an interrupted studio left. Call this at startup."""
    if folder.is_dir():
        for item in folder.glob(".unpacking-*"):
            shutil.rmtree(item, ignore_errors=True)
