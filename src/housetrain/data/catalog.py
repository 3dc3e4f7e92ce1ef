"""A folder of class folders -> Catalog: one line per image, every image decoded once.

In: a folder. Out: a `Catalog`, and a copy of it in the cache outside the folder, so that a second scan decodes only
what changed. It does not judge (that is `checks`), and nothing of the folder is ever written.

An entry of the saved catalog is used again when path, size, modification time and inode agree, unless the file had
been modified so shortly before that scan that a later change could have left the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Unpack

from housetrain.data.archive import is_archive, unpacked
from housetrain.data.class_folders import Entry, LayoutNote, Tree, walk, walk_splits
from housetrain.data.label_source import LabelOptions, LabelSource, source_folders
from housetrain.errors import DataError, FolderError
from housetrain.system.files import write_atomic

if TYPE_CHECKING:
    from housetrain.data.image_metadata import Facts

VERSION = 2
"""Of the saved catalog: raise it whenever a field or what is measured changes."""

FOREIGN = frozenset(
    f".{suffix}"
    for suffix in (
        *("txt", "md", "rst", "csv", "tsv", "json", "jsonl", "xml", "html", "htm", "css", "js", "yaml", "yml", "toml"),
        *("ini", "cfg", "log", "lst", "py", "ipynb", "sh", "bat", "lnk", "url", "tmp", "bak", "part", "crdownload"),
        *("zip", "tar", "gz", "tgz", "bz2", "xz", "7z", "rar", "md5", "sha256", "db", "sqlite"),
        *("npy", "npz", "h5", "hdf5", "mat", "pkl", "pt", "pth", "onnx", "keras", "tfrecord", "parquet"),
        *("pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "mp4", "avi", "mov", "mkv", "mp3", "wav"),
    )
)
"""Names in these are no broken images: they are ignored and counted, unless they hold an image all the same."""

_FOREIGN_NAMES = {"README", "LICENSE", "LICENCE", "COPYING", "MAKEFILE"}

_RACY_NS = 2_000_000_000  # the coarsest clock of a file system in use (FAT) ticks every two seconds


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One file of the catalog.

    Args:
        path: Relative to the root, with ``/``; undecodable bytes are surrogate escapes, as :func:`os.fsdecode` gives.
        label: The class: the name of the class folder.
        split: ``"train"``, ``"validation"`` or ``"test"`` in ready-made folders, else ``None``.
        bytes: Size of the file.
        mtime_ns: Time of last modification, in ns since the epoch.
        inode: Number of the file in its file system.
        format: ``JPEG``, ``PNG``, ...; ``""`` when the header cannot be read, as all that follows is empty or 0 then.
        width: Pixels, after the EXIF orientation.
        height: Pixels, after the EXIF orientation.
        mode: Pillow's name of the stored colors.
        frames: 1, or more for animations and documents of many pages.
        orientation: EXIF tag 274, 1 to 8.
        sha256: Of the file's bytes, 64 hexadecimal digits; ``""`` when they cannot be read.
        phash: Perceptual hash, 16 hexadecimal digits (64 bits); ``""`` when unreadable.
        mean: Mean brightness of the 64x64 gray thumbnail, 0 to 255.
        std: Standard deviation of the thumbnail's brightness, 0 to 127.5.
        sharpness: Variance of the thumbnail's Laplacian: below about 100 only soft shapes are left.
        status: ``"ok"``, or ``"unreadable"`` for what cannot be used.
        reason: Why it cannot be used; ``""`` when it can.
        detail: A finer perceptual hash, 64 hexadecimal digits (256 bits); ``""`` when unreadable.
        oddity: What is odd about the file though its image is used, or ``""``.
    """

    path: str
    label: str
    split: str | None
    bytes: int
    mtime_ns: int
    inode: int
    format: str
    width: int
    height: int
    mode: str
    frames: int
    orientation: int
    sha256: str
    phash: str
    mean: float
    std: float
    sharpness: float
    status: Literal["ok", "unreadable"]
    reason: str
    detail: str = ""
    oddity: str = ""


_COLUMNS = tuple(one.name for one in fields(ImageRecord))


@dataclass(frozen=True)
class Catalog:
    """What a folder holds.

    Args:
        root: The folder, absolute.
        classes: Names of the classes that have files, sorted.
        images: One per file that is or should be an image, sorted by path.
        ignored: What was passed over, by name or pattern, and how often: ``{"Thumbs.db": 2}``.
        empty_classes: Names of class folders without a file.
        ready_made: Whether the top folders are ``train``, ``validation`` and ``test``.
        fingerprint: 64 hexadecimal digits that change when a path, label, split or content does, and not with time
            stamps.
        notes: What is to be said about the layout of the folder.
        label_source: What `scan` was asked about labels, JSON-plain; empty for class folders.
    """

    root: Path
    classes: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    ignored: dict[str, int]
    empty_classes: tuple[str, ...]
    ready_made: bool
    fingerprint: str
    notes: tuple[LayoutNote, ...] = ()
    label_source: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def usable(self) -> tuple[ImageRecord, ...]:
        """The images that can be decoded."""
        return tuple(image for image in self.images if image.status == "ok")

    @property
    def source_folders(self) -> tuple[Path, ...]:
        """The folders of images, which nothing is written into: see `housetrain.data.label_source.source_folders`."""
        return source_folders(self.root, self.label_source, ((image.split, image.path) for image in self.images))

    def counts(self) -> dict[str, int]:
        """Return the number of usable images of every class, in the order of ``classes``; 0 is said as well."""
        counted = Counter(image.label for image in self.usable)
        return {label: counted[label] for label in self.classes}

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON, by columns: a third of the size and time of one object per image."""
        return {
            "version": VERSION,
            "root": str(self.root),
            "classes": list(self.classes),
            "ignored": dict(self.ignored),
            "empty_classes": list(self.empty_classes),
            "ready_made": self.ready_made,
            "fingerprint": self.fingerprint,
            "notes": [list(note) for note in self.notes],
            "label_source": self.label_source,
            "images": _to_columns(self.images),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Catalog:
        """Read back what :meth:`to_json` gave.

        Raises:
            DataError: It is not a catalog of this version.
        """
        try:
            if value["version"] != VERSION:
                raise DataError("a catalog of another version", expected=f"version {VERSION}", do="scan again")
            return cls(
                Path(value["root"]),
                tuple(value["classes"]),
                tuple(_from_columns(value["images"])),
                dict(value["ignored"]),
                tuple(value["empty_classes"]),
                bool(value["ready_made"]),
                str(value["fingerprint"]),
                tuple(LayoutNote(*note) for note in value["notes"]),
                dict(value["label_source"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("not a catalog", do="scan again", said=str(error)) from error


def scan(
    folder: Path | str,
    *,
    workers: int | None = None,
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[LabelOptions],
) -> Catalog:
    """Look at every image of a folder.

    Args:
        folder: ``FOLDER/<class>/**/image``, or with ``train``, ``validation`` (``val``, ``valid``) and ``test``
            above the classes; or a zip or tar file of that, which is unpacked once into the cache. Read, never written.
        workers: Processes; ``None``: one a core.
        cache: Whether to use and write the saved catalog in :func:`cache_folder`.
        progress: Called as ``progress(done, total)`` with numbers of files.
        **options: Where the labels come from, if not from class folders: see `LabelSource`.

    Returns:
        The catalog. Files that cannot be used are in it, with the reason.

    Raises:
        FolderError: The folder is missing, unreadable, not a folder, or has no class folders or no images.
    """
    source = LabelSource.of(options)
    path = Path(folder).absolute()
    if is_archive(path):
        path = unpacked(path, cache_folder() / "archives")
    root, tree = _listed(path, source)
    started_ns = time.time_ns()
    store = _store_of(root)
    known = _load(store) if cache else {}
    rows = [_known(entry, known) for entry in tree.entries]
    todo = [number for number, row in enumerate(rows) if row is None]
    if progress is not None:
        progress(len(rows) - len(todo), len(rows))
    try:
        if todo:
            _look(root, tree.entries, todo, rows, workers=workers, progress=progress)
    finally:  # an interrupted scan resumes
        if cache and (todo or len(known) != len(rows)):
            _save(store, rows, known, started_ns=started_ns)
    return _catalog(root, tree, [row for row in rows if row is not None], source=source)


def _listed(folder: Path, source: LabelSource) -> tuple[Path, Tree]:
    """Return the root that paths are relative to, and what it holds."""
    dirs = {"train": folder, "validation": source.validation_dir, "test": source.test_dir}
    given = {split: path.absolute() for split, path in dirs.items() if path is not None}
    if len(given) == 1:
        return folder, walk(folder, source)
    root = Path(os.path.commonpath([os.fspath(path) for path in given.values()]))
    if root in given.values():
        root = root.parent
    return root, walk_splits(root, given, source)


def cache_folder() -> Path:
    """Return where catalogs and downloads are kept: ``$HOUSETRAIN_CACHE``, else the user's cache folder."""
    if own := os.environ.get("HOUSETRAIN_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "housetrain"


def _look(
    root: Path,
    entries: list[Entry],
    todo: list[int],
    rows: list[ImageRecord | None],
    *,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Decode what is not known yet, and fill its rows."""
    from housetrain.data.image_metadata import Look
    from housetrain.system.process_pool import Failed, map_in_workers

    paths = [entries[number].path for number in todo]
    done = len(rows) - len(todo)
    with contextlib.closing(map_in_workers(Look(root), paths, workers=workers)) as outcomes:
        for place, outcome in outcomes:
            number = todo[place]
            entry = entries[number]
            rows[number] = _unreadable(entry, outcome.reason) if isinstance(outcome, Failed) else _row(entry, outcome)
            done += 1
            if progress is not None:
                progress(done, len(rows))


def _catalog(root: Path, tree: Tree, rows: list[ImageRecord], *, source: LabelSource) -> Catalog:
    ignored = Counter(tree.ignored)
    images: list[ImageRecord] = []
    for image in rows:
        if pattern := _foreign(image):
            ignored[pattern] += 1
        else:
            images.append(image)
    if not images:
        raise FolderError(
            "there are no images in the class folders",
            do="check that this is the folder you mean",
            folder=str(root),
            classes=list(tree.classes),
        )
    classes = {image.label for image in images}
    return Catalog(
        root,
        tuple(sorted(classes)),
        tuple(images),
        dict(sorted(ignored.items())),
        tuple(name for name in tree.classes if name not in classes),
        tree.ready_made,
        _fingerprint(images),
        tuple(tree.notes),
        source.given(),
    )


def _fingerprint(images: list[ImageRecord]) -> str:
    rows = ("\0".join((one.path, one.label, one.split or "", one.sha256, one.status)) for one in images)
    return hashlib.sha256("\0\0".join(rows).encode("utf-8", "surrogatepass")).hexdigest()


def _foreign(image: ImageRecord) -> str:
    """Return the pattern of a file that was never meant to be an image, or ``""``."""
    if image.status == "ok":
        return ""
    path = PurePosixPath(image.path)
    suffix = path.suffix.lower()
    if suffix in FOREIGN and (image.sha256 or image.reason == "file not found"):
        return f"*{suffix}"
    return path.name if path.name.upper() in _FOREIGN_NAMES else ""


def _row(entry: Entry, facts: Facts) -> ImageRecord:
    status: Literal["ok", "unreadable"] = "unreadable" if facts.reason else "ok"
    return ImageRecord(
        entry.path, entry.label, entry.split, entry.bytes, entry.mtime_ns, entry.inode,
        facts.format, facts.width, facts.height, facts.mode, facts.frames, facts.orientation,
        facts.sha256, facts.phash, facts.mean, facts.std, facts.sharpness,
        status, facts.reason, facts.detail, facts.oddity,
    )  # fmt: skip


def _unreadable(entry: Entry, reason: str) -> ImageRecord:
    return ImageRecord(
        entry.path, entry.label, entry.split, entry.bytes, entry.mtime_ns, entry.inode,
        "", 0, 0, "", 0, 0, "", "", 0.0, 0.0, 0.0, "unreadable", reason,
    )  # fmt: skip


def _known(entry: Entry, known: dict[str, ImageRecord]) -> ImageRecord | None:
    if entry.problem:
        return _unreadable(entry, entry.problem)
    one = known.get(entry.path)
    if one is None or (one.bytes, one.mtime_ns, one.inode) != (entry.bytes, entry.mtime_ns, entry.inode):
        return None
    if (one.label, one.split) != (entry.label, entry.split):  # a test folder was added: train is no class any more
        return replace(one, label=entry.label, split=entry.split)
    return one


def _store_of(root: Path) -> Path:
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return cache_folder() / "catalogs" / f"{name}.json"


def _load(store: Path) -> dict[str, ImageRecord]:
    try:
        value = json.loads(store.read_bytes())
        if value["version"] != VERSION:
            return {}
        return {image.path: image for image in _from_columns(value["images"])}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(f"the saved catalog is not used: {store}: {error}", stacklevel=3)
        return {}


def _save(store: Path, rows: list[ImageRecord | None], known: dict[str, ImageRecord], *, started_ns: int) -> None:
    racy = range(started_ns - _RACY_NS, time.time_ns() + _RACY_NS)
    # what could not be read for an outer reason (permission, a crash, a slow disk) is tried anew each time
    kept = [row for row in rows if row is not None and row.sha256 and row.mtime_ns not in racy]
    if len(kept) == len(known) and all(known.get(row.path) is row for row in kept):
        return
    value = {"version": VERSION, "images": _to_columns(kept)}
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(store, json.dumps(value, separators=(",", ":")).encode("ascii"))
    except OSError as error:
        warnings.warn(f"the catalog is not saved, the next scan will read everything again: {error}", stacklevel=3)


def _to_columns(images: Iterable[ImageRecord]) -> dict[str, list[Any]]:
    images = tuple(images)
    return {name: [getattr(image, name) for image in images] for name in _COLUMNS}


def _from_columns(columns: dict[str, list[Any]]) -> Iterator[ImageRecord]:
    return (ImageRecord(*row) for row in zip(*(columns[name] for name in _COLUMNS), strict=True))
