"""What the folders of a folder mean: words for images and masks, examples beside classes, levels of nested folders.

In: a folder, or paths. Out: names of folders and of images; the levels at which nested folders could be classes; an
error where one folder holds all classes and others hold examples. It lists folders, and opens no file but by `head_of`.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from housetrain.data.ignored_names import litter
from housetrain.data.label_table import MAX_BYTES
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
_IMAGE_SUFFIXES = frozenset(suffix for suffixes in EXTENSIONS.values() for suffix in suffixes)


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
            f"{holders[0]} holds the classes {listed(sorted(nested[holders[0]])[:6])}, "
            f"{listed(others)} {'holds' if len(others) == 1 else 'hold'} {'examples' if examples else 'no labels'}",
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


def has_images(folder: Path) -> bool:
    """Return whether a folder itself holds a file that is an image by its suffix; it stops at the first one."""
    try:
        with os.scandir(folder) as found:
            return any(
                is_image_name(one.name) and not one.name.startswith(".") and not _is_folder(one) for one in found
            )
    except OSError:
        return False


def is_image_name(name: str) -> bool:
    """Return whether a name has the suffix of an image format that is read."""
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in _IMAGE_SUFFIXES


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


def file_names(root: Path) -> list[str]:
    """Return the names of the files in a folder and in the folders in it."""
    places = [root, *(root / name for name in folders(root))]
    return [entry.name for place in places for entry in entries(place) if not _is_folder(entry)]


def image_paths(root: Path, depth: int = 3) -> Iterator[str]:
    """Yield the paths of images by their suffix, relative to a folder, down to a depth."""
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


def listed(names: Iterable[str]) -> str:
    """Return names as text: ``a, b and c``."""
    all_names = list(names)
    return all_names[0] if len(all_names) == 1 else f"{', '.join(all_names[:-1])} and {all_names[-1]}"
