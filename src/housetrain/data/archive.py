"""A zip or tar of images -> a folder of images, trusting nothing.

In: an archive. Out: a folder, whole, or one error and nothing left behind. Names that lead outside, links, devices,
encrypted members, too many members, too much data and too much compression refuse the whole archive; the sizes that
it claims are compared with what comes out while it is unpacked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from housetrain.data.download import plan_unzip, unsafe, unzip
from housetrain.data.folder_layout import is_image_name
from housetrain.data.foreign_files import FOREIGN
from housetrain.data.ignored_names import litter
from housetrain.data.label_files import SPREADSHEETS
from housetrain.data.label_table import SUFFIXES
from housetrain.errors import DownloadError, FolderError
from housetrain.system.files import disk_errors, ensure_room

_DEEPEST = 12
_BLOCK = 1 << 20
_KEPT = SUFFIXES | SPREADSHEETS | {".xml", ".yaml"}  # tables of labels, and what tells detection data

MOST_BYTES = 256 << 30
"""What a person's own archive may unpack to; that there is room for it is checked as well."""

Progress = Callable[[int, int], None]


def is_archive(path: Path) -> bool:
    """Return whether a path is a zip or tar file, by its content."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def unpacked(archive: Path, cache: Path) -> Path:
    """Return the folder of images in an archive, unpacked once into the cache.

    Args:
        archive: A zip or tar file.
        cache: Where unpacked archives are kept; another version of the same file replaces the one before.

    Returns:
        The folder, named as the archive without its suffixes. Single folders around the content are passed through.

    Raises:
        FolderError: It is refused, damaged, or holds no image.
        DiskFull: There is no room.
    """
    status = archive.stat()
    place = cache / hashlib.sha256(os.fsencode(archive.resolve())).hexdigest()[:16]
    version = place / f"{status.st_size}-{status.st_mtime_ns}"
    target = version / stem_of(archive)
    if not target.is_dir():
        with disk_errors(cache):
            place.mkdir(parents=True, exist_ok=True)
            for old in place.iterdir():
                shutil.rmtree(old, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=place) as scratch:
                inside = Path(scratch) / version.name / target.name
                inside.mkdir(parents=True)
                unpack(archive, inside, name=archive.name, keep=_KEPT)
                inside.parent.rename(version)
    return top_folder(target)


def stem_of(archive: Path) -> str:
    """Return an archive's name without the suffixes of archives: ``flowers`` of ``flowers.tar.gz``."""
    name = archive.name
    for suffix in (".zip", ".gz", ".bz2", ".xz", ".tgz", ".tar"):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) and len(name) > len(suffix) else name
    return name


def unpack(
    archive: Path,
    inside: Path,
    *,
    name: str,
    keep: frozenset[str] | set[str] = frozenset(),
    progress: Progress | None = None,
) -> None:
    """Unpack images and what is kept beside them into an empty folder.

    Args:
        archive: A zip or tar file.
        inside: The folder, empty.
        name: What the archive is called in errors.
        keep: Suffixes of other files to unpack, in lower case.
        progress: Called with (files done, files in all).

    Raises:
        FolderError: It is refused, damaged, or holds no image.
        DiskFull: There is no room.
    """

    def target_of(member: str) -> Path | None:
        return _target(inside, member, keep)

    with _refused(name):
        if zipfile.is_zipfile(archive):
            planned = plan_unzip(archive, target_of, most_bytes=MOST_BYTES)
            with zipfile.ZipFile(archive) as bundle:
                total = sum(bundle.getinfo(member).file_size for member, _ in planned)
            _check([target for _, target in planned], name)
            ensure_room(inside, total)
            for done, _ in enumerate(unzip(archive, planned), 1):
                if progress:
                    progress(done, len(planned))
        elif tarfile.is_tarfile(archive):
            _untar(archive, inside, target_of, name=name, progress=progress)
        else:
            raise FolderError("This is not a zip or tar file", expected="an archive of images", file=name)


def top_folder(inside: Path) -> Path:
    """Return the first folder with more in it than one folder: wrappers around the content are passed through."""
    top = inside
    for _ in range(_DEEPEST):
        entries = list(top.iterdir())
        if len(entries) != 1 or not entries[0].is_dir():
            return top
        below = entries[0]
        if not any(item.is_dir() for item in below.iterdir()):
            return top  # one folder of images: whether that is a class is said when it is read
        top = below
    return top


def _target(inside: Path, member: str, keep: frozenset[str] | set[str]) -> Path | None:
    """Return where a member goes; ``None`` for what is litter or neither image nor kept."""
    parts = PurePosixPath(member.replace("\\", "/")).parts
    if not parts or any(litter(part, folder=True) for part in parts[:-1]) or litter(parts[-1], folder=False):
        return None
    suffix = PurePosixPath(parts[-1]).suffix.lower()
    if suffix and not is_image_name(parts[-1]) and suffix not in keep and not _unusual(suffix):
        return None
    if len(parts) > _DEEPEST or any(len(part.encode(errors="surrogateescape")) > 255 or "\0" in part for part in parts):
        raise DownloadError(f"The archive is refused: a name is too long: {member[:60]!r}")
    return inside.joinpath(*parts)


def _unusual(suffix: str) -> bool:
    """Return whether files of this suffix may be images that the scan must name: not text, code, video and the like."""
    return suffix not in FOREIGN


def _check(targets: list[Path], name: str) -> None:
    """Refuse an archive without images, and two members of one path: the second would silently replace the first."""
    files = set(targets)
    if len(files) != len(targets) or any(parent in files for target in targets for parent in target.parents):
        raise FolderError(f"The {_kind(name)} is refused: it holds one name twice", do="pack it again", file=name)
    if not any(is_image_name(target.name) or not target.suffix for target in targets):
        raise FolderError(
            f"The {_kind(name)} holds no images",
            expected="folders of images, one a class",
            do="unpack it, and the archives in it" if name.lower().endswith((".zip", ".tar", ".gz", ".tgz")) else "",
            file=name,
        )


def _untar(
    archive: Path, inside: Path, target_of: Callable[[str], Path | None], *, name: str, progress: Progress | None
) -> None:
    with tarfile.open(archive) as bundle:
        members = bundle.getmembers()
        if problem := unsafe(
            [(one.name, one.size, one.isfile() or one.isdir()) for one in members], most_bytes=MOST_BYTES
        ):
            raise DownloadError(f"The archive is refused: {problem}")
        planned = [(one, target) for one in members if one.isfile() and (target := target_of(one.name)) is not None]
        _check([target for _, target in planned], name)
        ensure_room(inside, sum(member.size for member, _ in planned))
        for done, (member, target) in enumerate(planned, 1):
            target.parent.mkdir(parents=True, exist_ok=True)
            source = bundle.extractfile(member)
            with disk_errors(target, bytes_needed=member.size), target.open("xb") as file:
                if source is not None:
                    shutil.copyfileobj(source, file, _BLOCK)
            if target.stat().st_size != member.size:
                raise DownloadError("The archive is damaged: a member is cut short")
            if progress:
                progress(done, len(planned))
        while bundle.fileobj is not None and bundle.fileobj.read(_BLOCK):
            pass  # to the end, where the checksum of a compressed archive is compared


def _kind(name: str) -> str:
    return "zip" if name.lower().endswith(".zip") else "archive"


@contextlib.contextmanager
def _refused(name: str) -> Iterator[None]:
    """An archive that a person has was not downloaded here: say so in these words."""
    try:
        yield
    except DownloadError as error:
        what = error.what.replace("The archive", f"The {_kind(name)}").removesuffix(".")
        raise FolderError(what, do="pack the class folders themselves, without links", file=name) from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FolderError(f"The {_kind(name)} is damaged", do="pack it again", file=name, cause=str(error)) from error
