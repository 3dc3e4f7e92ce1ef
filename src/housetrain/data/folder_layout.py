"""What the folders of a folder mean: classes, ready-made splits, data of another task, or nothing that has labels.

In: a folder and the names of the folders in it. Out: which of them are splits; an error that names what is there
instead of classes, with the command that uses it; the levels at which nested folders could be classes. It lists
folders and reads tables and annotation files, and opens no image.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from housetrain.data.foreign_files import instead_of_images
from housetrain.data.ignored_names import litter
from housetrain.data.label_from_name import labels_from_names, pattern_for
from housetrain.data.label_table import LABEL_NAMES, MAX_BYTES, SUFFIXES, LabelTable, preference
from housetrain.data.split_names import albums, parts_of, split_of
from housetrain.errors import FolderError
from housetrain.images.sniff import EXTENSIONS

MASK_WORDS = frozenset(
    (
        *("mask", "masks", "annotation", "annotations", "gt", "groundtruth", "ground_truth", "segmentation"),
        *("segmentations", "label_images", "labelimages", "seg_masks", "trimaps", "depth", "thumbnails"),
        *("thumbs", "contours", "gtfine", "gtcoarse", "disparity", "labelids", "mattes", "matte", "trimap", "annots"),
    )
)
"""Names of folders that hold companions of images: masks, label images, depth images, thumbnails."""

IMAGE_WORDS = frozenset(
    (
        *("image", "images", "imgs", "img", "jpegimages", "photos", "rgb", "data", "raw", "original"),
        *("originals", "leftimg8bit", "pictures", "jpg", "jpeg", "png", "jpegs", "color"),
    )
)
"""Names of folders that hold images and name no class."""

_EXAMPLES = frozenset(
    (
        *("example", "examples", "sample", "samples", "demo", "demos", "docs", "doc", "assets", "figures"),
        *("figs", "media", "screenshots", "static", "resources", "misc", "readme_images", "readme_imgs"),
        *("preview", "previews", "notebooks", "notebook", "src", "scripts", "code", "results", "output", "outputs"),
        *("logs", "models", "checkpoints", "config", "configs", "tools", "utils", "images for readme"),
    )
)
_FEW = 0.2  # examples are at most this share of the images
_SMALL_TABLE = 16 << 20  # bytes of a table that is read though no one asked for it
_IMAGE_SUFFIXES = frozenset(suffix for suffixes in EXTENSIONS.values() for suffix in suffixes)
_LOOK = 40  # annotation files opened to find out what they are
_HEAD = 1 << 20  # bytes of a JSON file looked at


@dataclass(frozen=True)
class Levels:
    """Class folders that hold folders.

    Attributes:
        nested: Classes of the top level that hold folders with images.
        top: How many classes the top level has.
        second: How many the second level would have.
        leaves: How many there would be if every folder of images were a class.
        recurring: Names that lie in every nested class: rather sites, cameras or days than classes.
        level: The level that ``second`` counts: more than 2 where every class holds one folder of the same name.
    """

    nested: tuple[str, ...]
    top: int
    second: int
    leaves: int
    recurring: tuple[str, ...]
    level: int = 2


def no_labels(root: Path, tops: Sequence[str]) -> FolderError | None:
    """Return the error for a folder whose images have no class folders, ``None`` where the top folders are classes.

    A single folder of images beside a table of labels is no class.
    """
    if len(tops) > 1:
        return None
    at = root / tops[0] if tops else root
    while tops and not images_in(at) and len(below := folders(at)) == 1:
        at /= below[0]
    if tops and (folders(at) or not images_in(at)):
        return None
    return no_class_folders(root, tops) if not tops or proposals(root) else None


def no_class_folders(root: Path, tops: Sequence[str], *, kind: str = "splits") -> FolderError:
    """Return the error for images without class folders: where their labels seem to be, the command that uses them."""
    what = "There are no class folders"
    if not tops and not any(root.iterdir()):
        what = "The folder is empty"
    elif len(tops) == 1:
        what = f"{tops[0]} is one folder of images, and there are no class folders"
    elif tops:
        what = f"{_listed(tops)} look like {kind}, not classes, and hold no class folders"
    found = proposals(root)
    if not found and not any(_image_paths(root)):
        said, do = instead_of_images(name for name in _file_names(root) if not is_image_name(name))
        if do:
            return FolderError(f"{what}, and no images, but {said}", expected="class folders", do=do, folder=str(root))
    if not found:
        return FolderError(
            what,
            expected=f"{root.name}/<class>/image, one folder a class; or train, validation and test folders of these",
            do="put the images of each class into a folder of its name; where labels are in a table use --labels FILE, "
            "where they are in the file names use --label-from-name REGEX (cat.0.jpg: '^(.+?)[._-]')",
            folder=str(root),
        )
    commands = " or ".join(f"`housetrain run {shlex.quote(str(root))} {proposal.flag}`" for proposal in found[:3])
    return FolderError(
        f"{what}, but {found[0].said}", expected="class folders, or a flag that says where the labels are", do=commands
    )


class Proposal(NamedTuple):
    """A flag that would give images their labels, and what was seen."""

    flag: str
    said: str


def proposals(root: Path) -> list[Proposal]:
    """Return the flags that would give the images of a folder their labels, the likeliest first."""
    names = list(_image_paths(root))
    found: list[Proposal] = []
    for paths in (*([path] for path in tables(root)), *_split_tables(root)) if names else ():
        try:
            read = [LabelTable.read(path, names, root=root) for path in paths]
        except FolderError:
            continue
        table, named = read[0], sum(one.named for one in read)
        rows = sum(len(one.rows) for one in read)
        commands = table.commands()[:3]
        if commands and (named >= 0.5 * len(names) or named >= 0.9 * rows):
            cut = table.numbers() if not table.label_columns else None
            columns = (
                f"column {cut[0]} holds numbers" if cut else f"columns: {', '.join(map(str, table.label_columns[:4]))}"
            )
            said = f"{paths[0].name} names {named:,} of the {len(names):,} images; {columns}"
            found += [Proposal(command, said) for command in commands]
    trained = [name for name in names if split_of(name.partition("/")[0]) in {None, "train"}]
    pattern = pattern_for(trained) if trained else None
    if pattern:
        labels = sorted(set(labels_from_names(trained, pattern).values()))
        shown = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
        found.append(Proposal(f"--label-from-name '{pattern}'", f"the file names carry classes: {shown}"))
    return found


def unused_table(root: Path, labels: Mapping[str, str]) -> tuple[str, str] | None:
    """Return what a table beside class folders says, and how to use it, where it labels their images otherwise.

    Args:
        root: The folder.
        labels: Path of each image -> its class folder.

    Returns:
        ``None`` where no table has a column that is called a label, or where the folders say the same.
    """
    for path in tables(root):
        try:
            table = LabelTable.read(path, labels, root=root) if path.stat().st_size <= _SMALL_TABLE else None
        except (FolderError, OSError):
            continue
        if table is None or table.named < 0.9 * len(labels):
            continue
        columns = [column for column in table.label_columns if preference(column.name) < len(LABEL_NAMES)]
        if columns and not any(_says_the_same(table, column.number, labels) for column in table.label_columns):
            said = f"{path.name} labels {table.named:,} of the {len(labels):,} images, too: {columns[0]}"
            return said, f"{table.commands()[0]}"
    return None


def _says_the_same(table: LabelTable, number: int, labels: Mapping[str, str]) -> bool:
    """Whether nearly all images of each class folder have one value of a column."""
    try:
        of = table.labels(None, str(number)).of
    except FolderError:
        return True
    values: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path, value in of.items():
        values[labels[path]][value] += 1
    return all(counts.most_common(1)[0][1] >= 0.9 * counts.total() for counts in values.values())


def _split_tables(root: Path) -> list[list[Path]]:
    """Return the tables of one name that lie in each of several folders of a split."""
    tops = [top for top in folders(root) if split_of(top)]
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for top in tops:
        for path in tables(root / top):
            by_name[path.name].append(path)
    return [paths for paths in by_name.values() if len(paths) > 1]


def tables(root: Path) -> list[Path]:
    """Return files beside the images that may be tables of labels: those called so first."""
    found = [
        Path(entry.path) for entry in entries(root) if Path(entry.name).suffix.lower() in SUFFIXES and is_file(entry)
    ]
    words = ("label", "train", "metadata", "annotation", "class", "index", "ground")
    rank = {path: next((n for n, word in enumerate(words) if word in path.stem.lower()), len(words)) for path in found}
    return sorted(found, key=lambda path: (rank[path], path.name))[:12]


def refuse_examples(root: Path, counts: dict[str, int], nested: dict[str, set[str]]) -> None:
    """Refuse a folder in which one folder holds all classes and the others a few examples.

    Args:
        root: The folder.
        counts: Images in each top folder.
        nested: Folders inside each top folder that hold images.

    Raises:
        FolderError: It is such a folder.
    """
    holders = [top for top in counts if len(nested.get(top, ())) > 1]
    others = [top for top in counts if top not in holders]
    few = sum(counts[top] for top in others) <= _FEW * sum(counts.values())
    unlabeled = all(split_of(top) in {"unlabeled", "test"} for top in others)
    examples = few and all(top.lower() in _EXAMPLES for top in others)
    if len(holders) == 1 and others and (examples or unlabeled):
        raise FolderError(
            f"{holders[0]} holds the classes {_listed(sorted(nested[holders[0]])[:6])}, "
            f"{_listed(others)} {'holds' if len(others) == 1 else 'hold'} {'examples' if examples else 'no labels'}",
            expected="a folder of class folders",
            do=f"give the folder {root / holders[0]}; where these folders are the classes, use --class-level 1",
            folder=str(root),
        )


def levels_of(paths: Iterable[str], *, above: int = 0) -> Levels | None:
    """Return at which levels nested folders could be classes; ``None`` where no class folder holds folders.

    Args:
        paths: Paths of the images with ``/``, relative to the root.
        above: Folders above the class folders: 1 for ready-made splits.
    """
    inner: defaultdict[str, Counter[str]] = defaultdict(Counter)
    leaves: set[tuple[str, ...]] = set()
    second: set[tuple[str, ...]] = set()
    ways = Counter(tuple(path.split("/")[above:-1]) for path in paths)
    level = 2
    while len({way[1] for way in ways if len(way) > 1}) == 1 and all(len(way) > 2 for way in ways):
        merged: Counter[tuple[str, ...]] = Counter()
        for way, count in ways.items():
            merged[(way[0], *way[2:])] += count
        ways, level = merged, level + 1
    for parts in ways:
        if not parts:
            continue
        inner[parts[0]].update(parts[1:2])
        leaves.add(parts)
        second.add(parts[:2])
    nested = tuple(sorted(top for top, below in inner.items() if len(below) > 1))
    if not nested or len(inner) == 1:  # one class is no classification: that is said instead
        return None
    recurring = set.intersection(*(set(inner[top]) for top in nested)) if len(nested) > 1 else set()
    return Levels(nested, len(inner), len(second), len(leaves), tuple(sorted(recurring)), level)


def labels_at(paths: Iterable[str], level: int | None, *, above: int = 0, by_name: bool = False) -> dict[str, str]:
    """Return the class of each path at a level of nested class folders.

    Args:
        paths: Paths of the images with ``/``, relative to the root.
        level: 1 for the top folders; ``None`` for the folder that the image is in. An image above the level belongs to
            the folder that it is in.
        above: Folders above the class folders: 1 for ready-made splits.
        by_name: Whether folders of one name are one class, wherever they lie.

    Returns:
        Path to class: the last folder's name where no other class has it, else the names of the whole way, with ``-``.
        The tops do not count where they are numbered parts of one set, or dates: ``fold1/cat`` and ``fold2/cat`` are
        ``cat``.
    """
    way = {path: tuple(path.split("/")[above:-1]) for path in paths}
    tops = sorted({parts[0] for parts in way.values() if parts})
    parts_only = parts_of(tops) or albums(tops)
    for path, parts in way.items():
        below = parts[:level] if level else parts
        way[path] = below[1:] if parts_only and len(below) > 1 else below
    short: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for parts in set(way.values()):
        if parts:
            short[parts[-1]].add(parts)
    return {
        path: parts[-1] if by_name or len(short[parts[-1]]) == 1 else "-".join(parts)
        for path, parts in way.items()
        if parts
    }


def folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, without hidden ones, sorted."""
    return sorted(entry.name for entry in entries(folder) if _is_folder(entry) and not litter(entry.name, folder=True))


def images_in(folder: Path) -> list[str]:
    """Return the names of files that are images by their suffix, sorted."""
    return sorted(entry.name for entry in entries(folder) if is_image_name(entry.name) and not _is_folder(entry))


def is_image_name(name: str) -> bool:
    """Return whether a name has the suffix of an image format that is read."""
    return PurePosixPath(name).suffix.lower() in _IMAGE_SUFFIXES


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """List without hidden names; what cannot be listed has no entries (listing the classes says why)."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in circles or through what may not be read
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a file that may be read whole."""
    try:
        return entry.is_file() and entry.stat().st_size <= MAX_BYTES
    except OSError:  # as above
        return False


def _file_names(root: Path) -> list[str]:
    places = [root, *(root / name for name in folders(root))]
    return [entry.name for place in places for entry in entries(place) if not _is_folder(entry)]


def _image_paths(root: Path, depth: int = 3) -> Iterator[str]:
    stack = [(root, "", depth)]
    while stack:
        folder, prefix, left = stack.pop()
        for entry in entries(folder):
            if entry.is_dir(follow_symlinks=False):
                if left and not litter(entry.name, folder=True):
                    stack.append((Path(entry.path), f"{prefix}{entry.name}/", left - 1))
            elif is_image_name(entry.name):
                yield prefix + entry.name


def head_of(path: Path, count: int) -> bytes:
    """Return the first bytes of a file; none of what is no file or cannot be read."""
    try:
        if not path.is_file():  # a FIFO would wait for ever
            return b""
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def _listed(names: Iterable[str]) -> str:
    all_names = list(names)
    return all_names[0] if len(all_names) == 1 else f"{', '.join(all_names[:-1])} and {all_names[-1]}"
