"""An uploaded zip of class folders -> a folder of images, trusting nothing.

In: the archive as it came. Out: ``uploads/<name>/<class>/image``, whole, or one sentence and nothing left behind.
Names that lead outside, links, devices, encrypted members, too many members, too much data and too much compression
refuse the whole archive; the sizes that it claims are held against what really comes out, while it is unpacked.
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
"""Of an upload; the page keeps it in memory. Larger folders are put below the data root by hand."""
_MOST_NAME = 60
_DEEPEST = 12
Progress = Callable[[int, int], None]


def unpack(archive: Path, name: str, folder: Path, *, progress: Progress | None = None) -> Path:
    """Unpack a zip of class folders.

    Args:
        archive: The zip file.
        name: What it was called, for the folder's name.
        folder: Where uploads lie. The new folder in it appears whole or not at all.
        progress: Called with (files done, files in all).

    Returns:
        The folder that holds the class folders.

    Raises:
        FolderError: It is refused, damaged, or holds no class folders.
        DiskFull: There is no room.
    """
    if not zipfile.is_zipfile(archive):
        raise FolderError("This is not a zip file", expected="a zip of class folders", file=name)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as place:
            inside = Path(place) / "content"
            inside.mkdir()
            with _refused_in_words(name):
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
    """Return where a member goes; ``None`` for what is litter or no image by its name."""
    parts = PurePosixPath(member.replace("\\", "/")).parts
    if any(litter(part, folder=True) for part in parts[:-1]) or litter(parts[-1], folder=False):
        return None
    if PurePosixPath(parts[-1]).suffix.lower() in FOREIGN:
        return None
    if len(parts) > _DEEPEST or any(len(part.encode(errors="surrogateescape")) > 255 or "\0" in part for part in parts):
        raise DownloadError(f"the archive is refused: a name is too long: {member[:60]!r}")
    return inside.joinpath(*parts)


def _refuse_clashes(targets: list[Path], name: str) -> None:
    """Two members of one path: the second would silently replace the first; a file may not be a folder as well."""
    files = set(targets)
    if len(files) != len(targets) or any(parent in files for target in targets for parent in target.parents):
        raise FolderError("The zip is refused: it holds one name twice", do="zip the folders again", file=name)


def _sizes(archive: Path, members: set[str]) -> Iterator[int]:
    with zipfile.ZipFile(archive) as bundle:
        yield from (member.file_size for member in bundle.infolist() if member.filename in members)


def _class_folders(inside: Path, name: str) -> Path:
    """Return the folder whose folders are the classes: single folders around them are passed through."""
    top = inside
    for _ in range(_DEEPEST):
        folders = [item for item in top.iterdir() if item.is_dir()]
        if len(folders) >= 2:
            return top
        if len(folders) != 1:
            break
        top = folders[0]
    raise FolderError(
        "The zip holds no class folders",
        expected="one folder of images per class, such as cats/1.jpg and dogs/1.jpg",
        do="put the images of each class into a folder of its name and zip these folders",
        file=name,
    )


def _free(folder: Path, name: str) -> Path:
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem).strip(".-")[:_MOST_NAME] or "images"
    number = 1
    while (target := folder / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return target


@contextmanager
def _refused_in_words(name: str) -> Iterator[None]:
    """A zip that a person uploads was not downloaded: say it in the words of this page."""
    try:
        yield
    except DownloadError as error:
        what = error.what.replace("the archive", "The zip").removesuffix(".")
        raise FolderError(what, do="zip the class folders themselves, without links", file=name) from error
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FolderError("The zip is damaged", do="zip the folders again", file=name, cause=str(error)) from error


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed page left while it was unpacking. Call when the studio starts."""
    if folder.is_dir():
        for item in folder.glob(".unpacking-*"):
            shutil.rmtree(item, ignore_errors=True)
