"""Folders beside class folders that are no classes: unlabeled images, annotations, the same classes once more.

In: a folder and the names of the folders in it. Out: the names of those that are no classes, and what is to be said
about them. It lists folders, and reads the beginnings of a few files that are no images by their names.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Container, Sequence
from pathlib import Path, PurePosixPath

from housetrain.data import folder_layout
from housetrain.data.folder_layout import has_images, head_of, is_image_name
from housetrain.data.folder_tree import LayoutNote
from housetrain.data.ignored_names import litter
from housetrain.data.split_names import split_of
from housetrain.errors import DecodeError, FolderError
from housetrain.images.sniff import sniff
from housetrain.system.text import format_list

_ANNOTATIONS = frozenset(
    (
        *("", ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".mat", ".npy", ".npz"),
        *(".xls", ".xlsx", ".pdf", ".html", ".tfrec", ".tfrecord", ".h5", ".db", ".lst", ".py", ".ipynb", ".m"),
        *(".wav", ".mp3", ".flac", ".ogg", ".au", ".mid"),
    )
)
"""Suffixes of files that say something about images."""

_COPY = re.compile(
    r"(.+?)(?:[ _-]+(?:copy|kopie|copia|copie|backup|aug|augmented|augmentation)(?:[ _-]*\(?\d+\)?)?| \(\d+\))",
    re.IGNORECASE,
)
_LOOK = 20  # files of a folder whose beginnings are read


def unlabeled_beside(tops: Sequence[str]) -> list[str]:
    """Return the folders that are no classes by their names, where two classes and more lie beside them."""
    found = [top for top in tops if split_of(top) == "unlabeled"]
    return found if len(tops) - len(found) > 1 else []


def unlabeled_notes(root: Path, tops: Sequence[str], *, beside_classes: bool = False) -> list[tuple[int, LayoutNote]]:
    """Return how many images each folder of unlabeled images holds, and what is to be said about it."""
    notes = []
    for top in tops:
        others = [name for name in folder_layout.folders(root / top) if folder_layout.images_in(root / top / name)]
        held = sum(is_image_name(name) for _, _, names in os.walk(root / top) for name in names)
        instead = f", but {format_list(others)}, which train does not hold" if len(others) > 1 else ""
        why = "is no class, by its name" if beside_classes else f"holds no class folder of train{instead}"
        do = f"to see what a trained model says of them: housetrain predict RUN {shlex.quote(str(root / top))}"
        do += "; if it is a class: --class-level 1" if beside_classes else ""
        message = f"{top} {why}: its {held:,} images have no label and are not used"
        notes.append((held, LayoutNote("unlabeled-folder", message, do)))
    return notes


def annotation_folders(root: Path, tops: Sequence[str]) -> list[str]:
    """Return the folders that hold files about images, such as tables and drawings of outlines, but no image."""
    return [top for top in tops if _holds_only_annotations(root / top)]


def repeated_sets(root: Path, tops: Sequence[str]) -> list[str]:
    """Return the folders that hold no images but the class folders beside them once more.

    Some archives hold their content twice: ``yes``, ``no`` and ``brain_tumor_dataset/yes``, ``brain_tumor_dataset/no``.
    """
    found = []
    lowered = {top.lower() for top in tops}
    for top in tops:
        inside = [] if has_images(root / top) else [name.lower() for name in folder_layout.folders(root / top)]
        if len(inside) > 1 and set(inside) <= lowered - {top.lower()}:
            found.append(top)
    others = [top for top in tops if top not in found] if found else []
    flat = all(has_images(root / top) and not folder_layout.folders(root / top) for top in others)
    return found if len(others) > 1 and flat else []


def refuse_copies(root: Path, tops: Sequence[str], mapped: Container[str] = ()) -> None:
    """Refuse folders that are called as copies or other versions of those beside them: ``cat`` and ``cat - Copy``.

    Args:
        root: The folder.
        tops: The names of the folders in it.
        mapped: Names that a map of classes renames: these are dealt with.

    Raises:
        FolderError: There are such folders.
    """
    lowered = {top.lower(): top for top in tops}
    found = {
        top: lowered[match[1].lower()]
        for top in tops
        if (match := _COPY.fullmatch(top)) and match[1].lower() in lowered and top not in mapped
    }
    if found:
        copy, original = next(iter(found.items()))
        raise FolderError(
            f"{format_list(list(found))} {'looks like a copy' if len(found) == 1 else 'look like copies'} or another "
            f"version of {format_list(sorted(set(found.values())))}, not {'a class' if len(found) == 1 else 'classes'}",
            expected="one folder a class",
            do=f"remove it, or make them one class: --map FILE.csv with the line {copy},{original}; where they are two "
            "classes: --class-level 1",
            folder=str(root),
        )


def annotation_note(tops: Sequence[str]) -> LayoutNote:
    """Return what is to be said about folders of `annotation_folders`."""
    return no_class_note(tops, "there are files about images in it, but no image")


def no_class_note(tops: Sequence[str], what: str) -> LayoutNote:
    """Return what is to be said about folders that are no classes."""
    message = f"{format_list(sorted(tops))} {'is' if len(tops) == 1 else 'are'} no class: {what}"
    return LayoutNote("other-folder", message, "nothing needs doing; if that is a class: --class-level 1")


def _holds_only_annotations(top: Path) -> bool:
    seen = 0
    if has_images(top):
        return False
    for folder, below, names in os.walk(top):
        below[:] = [name for name in below if not litter(name, folder=True)]
        for name in names:
            if litter(name, folder=False):
                continue
            if is_image_name(name) or PurePosixPath(name).suffix.lower() not in _ANNOTATIONS:
                return False
            if seen < _LOOK and _is_image(head_of(Path(folder, name), 512)):
                return False  # an image under another name
            seen += 1
    return bool(seen)


def _is_image(head: bytes) -> bool:
    try:
        return bool(sniff(head))
    except DecodeError:
        return False
