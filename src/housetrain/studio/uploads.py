"""Extract an uploaded zip of class folders safely.

In: an untrusted archive. Out: ``uploads/<name>/<class>/image``, complete, or an error and no files. Paths that lead
outside, links, devices, encrypted members, too many members, too much data and excessive compression reject the whole
archive; declared sizes are checked against the actual data during extraction.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from housetrain.data.catalog import FOREIGN
from housetrain.data.class_folders import litter
from housetrain.data.download import plan_unzip, unzip
from housetrain.errors import DownloadError, FolderError
from housetrain.system.files import disk_errors, ensure_room

MOST_MEGABYTES = 1024
"""Size limit of an upload, which the page holds in memory. Copy larger folders below the data root instead."""
_MOST_NAME = 60
_DEEPEST = 12
Progress = Callable[[int, int], None]


def unpack(archive: Path, name: str, folder: Path, *, progress: Progress | None = None) -> Path:
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
            with _about_the_upload(name):
                planned = plan_unzip(archive, lambda member: _target(inside, member))
                _refuse_clashes([target for _, target in planned], name)
                ensure_room(folder, sum(_sizes(archive, {member for member, _ in planned})))
                for done, _ in enumerate(unzip(archive, planned), 1):
                    if progress:
                        progress(done, len(planned))
            top = _class_folders(inside, name)
            target = _free(folder, name)
            top.rename(target)
    return target


def _target(inside: Path, member: str) -> Path | None:
    """Return the destination of a member; ``None`` for system files and files that are not images by name."""
    parts = PurePosixPath(member.replace("\\", "/")).parts
    if any(litter(part, folder=True) for part in parts[:-1]) or litter(parts[-1], folder=False):
        return None
    if PurePosixPath(parts[-1]).suffix.lower() in FOREIGN:
        return None
    if len(parts) > _DEEPEST or any(len(part.encode(errors="surrogateescape")) > 255 or "\0" in part for part in parts):
        raise DownloadError(f"The archive is rejected: a file name is too long: {member[:60]!r}")
    return inside.joinpath(*parts)


def _refuse_clashes(targets: list[Path], name: str) -> None:
    """Reject two members with the same path, or a path that is both a file and a folder."""
    files = set(targets)
    if len(files) != len(targets) or any(parent in files for target in targets for parent in target.parents):
        raise FolderError("The zip is rejected: it contains a file name twice", do="create the zip again", file=name)


def _sizes(archive: Path, members: set[str]) -> Iterator[int]:
    with zipfile.ZipFile(archive) as bundle:
        yield from (member.file_size for member in bundle.infolist() if member.filename in members)


def _class_folders(inside: Path, name: str) -> Path:
    """Return the folder whose subfolders are the classes, skipping single enclosing folders."""
    top = inside
    for _ in range(_DEEPEST):
        folders = [item for item in top.iterdir() if item.is_dir()]
        if len(folders) >= 2:
            return top
        if len(folders) != 1:
            break
        top = folders[0]
    raise FolderError(
        "The zip contains no class folders",
        expected="one folder of images per class, such as cats/1.jpg and dogs/1.jpg",
        do="put the images of each class into one folder and zip these folders",
        file=name,
    )


def _free(folder: Path, name: str) -> Path:
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem).strip(".-")[:_MOST_NAME] or "images"
    number = 1
    while (target := folder / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return target


@contextmanager
def _about_the_upload(name: str) -> Iterator[None]:
    """Rephrase errors about downloaded archives for an uploaded one."""
    try:
        yield
    except DownloadError as error:
        what = error.what.replace("the archive", "the zip").replace("The archive", "The zip").removesuffix(".")
        raise FolderError(what, do="zip the class folders themselves, without links", file=name) from error
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FolderError("The zip is damaged", do="create the zip again", file=name, cause=str(error)) from error


def clear_leftovers(folder: Path) -> None:
    """Remove partial extractions that an interrupted studio left. Call this at startup."""
    if folder.is_dir():
        for item in folder.glob(".unpacking-*"):
            shutil.rmtree(item, ignore_errors=True)
