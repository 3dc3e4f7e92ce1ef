"""A folder of class folders -> Catalog: one record per image, every image decoded once.

In: a folder. Out: a `Catalog`, and a copy of it in the cache outside the folder, so that a second scan decodes only
what changed. It does not judge the images (`checks` does), and nothing is ever written into the folder.

A record of the saved catalog is reused when path, size, modification time and inode are the same, unless the file was
modified so shortly before that scan that a later change could have left the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from housetrain.data import saved_catalog
from housetrain.data.archive import is_archive, unpacked
from housetrain.data.array_file import refuse_arrays
from housetrain.data.class_folders import walk, walk_splits
from housetrain.data.class_map import ClassMap
from housetrain.data.corrections import Corrections
from housetrain.data.folder_tree import Entry, LayoutNote, Tree
from housetrain.data.folder_walk import entry_of
from housetrain.data.foreign_files import foreign_name, instead_of_images
from housetrain.data.image_record import ImageRecord, NearCopies, from_columns, to_columns
from housetrain.data.label_source import LabelOptions, LabelSource, source_folders
from housetrain.data.which_folder import failures_named, inner_folder
from housetrain.errors import DataError, FolderError
from housetrain.images.input_spec import white_of
from housetrain.images.unsupported import NEEDS_HEIC
from housetrain.system.events import Callback, Callbacks
from housetrain.system.notebook import html_table
from housetrain.system.text import natural_key

if TYPE_CHECKING:
    from housetrain.data.group_proposals import Proposal

VERSION = 9
"""Version of the saved catalog: raise it whenever a field changes, or what is measured."""

CORRECTIONS = "corrections"
"""The kind of note, and of finding, that says what a file of corrections changed."""


@dataclass(frozen=True, repr=False)
class Catalog:
    """The images of a folder.

    Args:
        root: The folder, absolute.
        classes: Names of the classes that have files, sorted.
        images: One per file that is or should be an image, sorted by path.
        ignored: Names or patterns of ignored files, and how many there are: ``{"Thumbs.db": 2}``.
        empty_classes: Names of class folders without a file.
        ready_made: Whether the top folders are ``train``, ``validation`` and ``test``.
        fingerprint: 64 hexadecimal digits that change with any path, label, split or content, but not with time
            stamps.
        notes: What is to be said about the layout of the folder.
        label_source: What `scan` was asked about labels, JSON-plain; empty for class folders.
        relabeled: Path -> label in the folder, of images whose label a correction changed.
        left_out: Images that a correction leaves out.
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
    relabeled: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        unusable = len(self.images) - len(self.usable)
        return (
            f"Catalog({str(self.root)!r}, {len(self.usable):,} images of {len(self.classes)} classes, "
            f"{unusable:,} unusable)"
        )

    def _repr_html_(self) -> str:
        return html_table(repr(self), ["class", "images"], list(self.counts().items()))

    @cached_property
    def usable(self) -> tuple[ImageRecord, ...]:
        """The images that can be decoded, without companions of other images and those that a correction leaves out."""
        hidden = {*self.companions, *self.left_out}
        return tuple(image for image in self.images if image.usable and image.path not in hidden)

    @cached_property
    def companions(self) -> dict[str, str]:
        """Path -> kind of masks, thumbnails and the like that belong to an image: see `housetrain.data.companions`."""
        from housetrain.data.companions import companions
        from housetrain.data.image_metadata import small_gray

        if self.label_source.get("keep_companions"):
            return {}
        return dict(companions(self.images, partial(small_gray, self.root, side=256)))

    @cached_property
    def near_copies(self) -> NearCopies:
        """Images that look the same though their files differ; searched once and kept with the catalog."""
        from housetrain.data import duplicates, image_metadata

        return duplicates.near_copies(self.usable, partial(image_metadata.small_gray, self.root))

    @cached_property
    def near_duplicates(self) -> tuple[tuple[ImageRecord, ...], ...]:
        """The groups of `near_copies`."""
        return self.near_copies.groups

    @cached_property
    def group_proposals(self) -> tuple[Proposal, ...]:
        """Rules by which images may belong together: see `housetrain.data.group_proposals`."""
        from housetrain.data.group_proposals import proposals

        return tuple(proposals(self))

    @cached_property
    def white(self) -> int:
        """The value of 16-bit images that becomes 255, one for all: see `housetrain.InputSpec`."""
        return white_of(max((image.peak for image in self.usable), default=0))

    @property
    def source_folders(self) -> tuple[Path, ...]:
        """The folders of images, which nothing is written into: see `housetrain.data.label_source.source_folders`."""
        return source_folders(self.root, self.label_source, ((image.split, image.path) for image in self.images))

    def counts(self) -> dict[str, int]:
        """Return the number of usable images of each class, in the order of ``classes``, zeros included."""
        counted = Counter(image.label for image in self.usable)
        return {label: counted[label] for label in self.classes}

    def to_json(self) -> dict[str, Any]:
        """Return the catalog, with its near-duplicates, as values that JSON can hold."""
        place = {image.path: number for number, image in enumerate(self.images)}
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
            "relabeled": self.relabeled,
            "left_out": list(self.left_out),
            "images": to_columns(self.images),
            "companions": self.companions,
            "near_duplicates": [[place[image.path] for image in group] for group in self.near_duplicates],
            "turned_copies": self.near_copies.turned,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Catalog:
        """Create a catalog from what `to_json` returned.

        Raises:
            DataError: It is not a catalog of this version.
        """
        try:
            if value["version"] != VERSION:
                raise DataError(
                    "The catalog has another version", expected=f"version {VERSION}", do="scan again",
                    version=value["version"],
                )  # fmt: skip
            images = tuple(from_columns(value["images"]))
            catalog = cls(
                Path(value["root"]),
                tuple(value["classes"]),
                images,
                dict(value["ignored"]),
                tuple(value["empty_classes"]),
                bool(value["ready_made"]),
                str(value["fingerprint"]),
                tuple(LayoutNote(*note) for note in value["notes"]),
                dict(value["label_source"]),
                dict(value.get("relabeled", {})),
                tuple(value.get("left_out", ())),
            )
            groups = tuple(tuple(images[number] for number in group) for group in value["near_duplicates"])
            copies = NearCopies(groups, bool(value.get("turned_copies", True)))
            catalog.__dict__.update(near_copies=copies, companions=dict(value["companions"]))  # cached properties
            return catalog
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError("Not a catalog", do="scan again", cause=str(error)) from error


def scan(
    folder: Path | str,
    *,
    workers: int | None = None,
    cache: bool = True,
    callbacks: Sequence[Callback] = (),
    **options: Unpack[LabelOptions],
) -> Catalog:
    """Read and decode every image of a folder.

    Args:
        folder: ``FOLDER/<class>/**/image``, or with ``train``, ``validation`` (``val``, ``valid``) and ``test``
            above the classes; or a zip or tar file of that, which is unpacked once into the cache. Read, never written.
        workers: Processes; by default one per core.
        cache: Whether to use and write the saved catalog in `cache_folder`.
        callbacks: Receive the progress of the stage ``scan``, in numbers of files.
        **options: Where the labels come from, if not from class folders: see `LabelSource`.

    Returns:
        The catalog. Files that cannot be used are in it, with the reason.

    Raises:
        FolderError: The folder is missing, unreadable, not a folder, or has no class folders or no images.
    """
    source = LabelSource.of(options)
    path = Path(folder).expanduser().absolute()
    with failures_named(path):
        refuse_arrays(path)
        root, tree = _listed_archive(path, source) if is_archive(path) else _listed(path, source)
    started_ns = time.time_ns()
    store = saved_catalog.place_of(cache_folder(), root)
    known = saved_catalog.load(store, VERSION) if cache else {}
    rows = [_known(entry, known) for entry in tree.entries]
    todo = [number for number, row in enumerate(rows) if row is None]
    events = Callbacks(callbacks)
    with events.stage("scan", total=len(rows)):
        events.count("scan", len(rows) - len(todo), len(rows))
        try:
            if todo:
                _examine(root, tree.entries, todo, rows, workers=workers, events=events)
        finally:  # an interrupted scan resumes
            if cache and (todo or len(known) != len(rows)):
                saved_catalog.save(store, VERSION, rows, known, started_ns=started_ns)
    catalog = _catalog(root, tree, [row for row in rows if row is not None], source=source)
    for note in catalog.notes:
        if note.kind == CORRECTIONS:
            events.note(note.message)
    return catalog


def _listed_archive(path: Path, source: LabelSource) -> tuple[Path, Tree]:
    inside = unpacked(path, cache_folder() / "archives")
    try:
        return _listed(inside, source)
    except FolderError as error:  # what to do is done with the archive
        do = error.do.replace(str(inside), str(path)) + f"; unpack {path.name} first" * (f"{inside}/" in error.do)
        raise FolderError(error.what, expected=error.expected, do=do, archive=str(path)) from error


def _listed(folder: Path, source: LabelSource) -> tuple[Path, Tree]:
    """Return the root that paths are relative to, and what it holds."""
    dirs = {"train": folder, "validation": source.validation_dir, "test": source.test_dir}
    given = {split: path.absolute() for split, path in dirs.items() if path is not None}
    if len(given) == 1:
        inner = inner_folder(folder) if source.from_folders and source.class_level is None else None
        root = inner.folder if inner else folder
        tree = walk(root, source)
        if inner:
            tree.notes.append(inner.note(folder))
    else:
        root = Path(os.path.commonpath([os.fspath(path) for path in given.values()]))
        if root in given.values():
            root = root.parent
        tree = walk_splits(root, given, source)
    tree.name_classes()
    if source.class_map:
        tree.map_classes(ClassMap(source.class_map))
    return root, tree


def cache_folder() -> Path:
    """Return the folder of saved catalogs and downloads: ``$HOUSETRAIN_CACHE``, else the user's cache folder."""
    if own := os.environ.get("HOUSETRAIN_CACHE"):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "housetrain"
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home fails for an account without a name
    return Path(os.devnull if home == "~" else home, ".cache", "housetrain")  # nothing is kept below the null device


def _examine(
    root: Path,
    entries: list[Entry],
    todo: list[int],
    rows: list[ImageRecord | None],
    *,
    workers: int | None,
    events: Callbacks,
) -> None:
    """Decode the images that are not known yet, and fill their rows."""
    from housetrain.data.image_metadata import Examine
    from housetrain.system.process_pool import Failed, map_in_workers

    done = len(rows) - len(todo)
    with contextlib.closing(
        map_in_workers(Examine(root), [entries[number] for number in todo], workers=workers, fork=True)
    ) as outcomes:
        for place, outcome in outcomes:
            number = todo[place]
            entry = entries[number]
            rows[number] = _unreadable(entry, outcome.reason) if isinstance(outcome, Failed) else outcome
            done += 1
            events.count("scan", done, len(rows))


def _catalog(root: Path, tree: Tree, rows: list[ImageRecord], *, source: LabelSource) -> Catalog:
    ignored = Counter(tree.ignored)
    images: list[ImageRecord] = []
    for image in rows:
        if pattern := _foreign(image):
            ignored[pattern] += 1
        else:
            images.append(image)
    if not images:
        said, do = instead_of_images(row.path for row in rows)
        raise FolderError(
            "There are no images in the class folders" + f", but {said}" * bool(said),
            do=do or "check that this is the folder you mean",
            folder=str(root),
            classes=list(tree.classes),
        )
    corrected = None
    if source.corrections:
        names = {*tree.classes, *(image.label for image in images)}
        corrected = Corrections.read(source.corrections).apply(images, names, class_map=ClassMap(source.class_map))
        images = corrected.images
        do = "check the rows that are not used" if corrected.stale else "nothing needs doing if that is meant"
        tree.notes.append(LayoutNote(CORRECTIONS, corrected.note, do))
    left_out = corrected.left_out if corrected else ()
    classes = {image.label for image in images}
    return Catalog(
        root,
        tuple(sorted(classes, key=natural_key)),
        tuple(images),
        dict(sorted(ignored.items())),
        tuple(name for name in tree.classes if name not in classes),
        tree.ready_made,
        _fingerprint(images, set(left_out)),
        tuple(tree.notes),
        source.given(),
        corrected.relabeled if corrected else {},
        left_out,
    )


def _fingerprint(images: list[ImageRecord], left_out: Set[str]) -> str:
    def state(one: ImageRecord) -> str:
        return "left out" if one.path in left_out else "" if one.usable else "unreadable"

    rows = ("\0".join((one.path, one.label, one.split or "", one.sha256, state(one))) for one in images)
    return hashlib.sha256("\0\0".join(rows).encode("utf-8", "surrogatepass")).hexdigest()


def _foreign(image: ImageRecord) -> str:
    """Return the pattern of a file that was never meant to be an image, or ``""``."""
    if image.usable or not (pattern := foreign_name(image.path)):
        return ""
    seen = image.sha256 or image.reason == "file not found" or not pattern.startswith("*")
    return pattern if seen else ""


def _unreadable(entry: Entry, reason: str) -> ImageRecord:
    return ImageRecord(entry.path, entry.label, entry.split, entry.stamp, reason=reason)


def _known(entry: Entry, known: dict[str, ImageRecord]) -> ImageRecord | None:
    if entry.problem:
        return _unreadable(entry, entry.problem)
    one = known.get(entry.path)
    if one is None or one.stamp != entry.stamp or one.reason == NEEDS_HEIC:  # the extra may be installed by now
        return None
    if (one.label, one.split) != (entry.label, entry.split):  # a test folder was added: train is not a class any more
        return replace(one, label=entry.label, split=entry.split)
    return one


def records_of(root: Path, paths: Sequence[str], *, callbacks: Sequence[Callback] = ()) -> list[ImageRecord]:
    """Return the records of some files of a folder, from the saved catalog where it has them; others are decoded.

    Args:
        root: The folder.
        paths: Relative to it; a file that is gone has a record with the reason.
        callbacks: Receive the progress of the stage ``scan``.
    """
    known, events = saved_catalog.load(saved_catalog.place_of(cache_folder(), root), VERSION), Callbacks(callbacks)
    entries = [entry_of(root, path) for path in paths]
    rows = [_known(entry, known) for entry in entries]
    todo = [number for number, row in enumerate(rows) if row is None]
    if todo:
        with events.stage("scan", total=len(rows)):
            _examine(root, entries, todo, rows, workers=None, events=events)
    return [row for row in rows if row is not None]
