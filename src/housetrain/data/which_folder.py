"""The folder that is meant where the given one holds no classes: one level down, one level up, or nearly named.

In: a folder. Out: the folder inside it to use, or an error that names the folder that was probably meant. It opens no
image.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from housetrain.data.beside_classes import annotation_folders
from housetrain.data.folder_layout import folders, images_in, is_image_name
from housetrain.data.folder_tree import LayoutNote
from housetrain.data.label_proposals import proposals
from housetrain.data.label_table import SUFFIXES
from housetrain.data.other_tasks import refuse_boxes
from housetrain.data.split_names import split_of
from housetrain.errors import FolderError
from housetrain.system.near_folders import near_names
from housetrain.system.text import format_list

_MOST_LEVELS = 8
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_SHOWN = 5


class Inner(NamedTuple):
    """The folder of class folders inside another, and the folders without images that lie beside the way to it."""

    folder: Path
    others: tuple[str, ...] = ()

    def note(self, root: Path) -> LayoutNote:
        """Return what is to be said where this folder stands for ``root``."""
        rest = f"no images but those of {self.folder.relative_to(root)}"
        held = f"{rest} ({format_list(self.others)} {'holds' if len(self.others) == 1 else 'hold'} files about them)"
        if not self.others:
            held = f"nothing but the folder {self.folder.relative_to(root)}"
        message = f"{root.name} holds {held}, whose folders are used"
        return LayoutNote("inner-folder", message, "nothing needs doing if that is meant")


def inner_folder(root: Path) -> Inner | None:
    """Return the folder of class folders where ``root`` holds one folder and nothing else to train on, else ``None``.

    An archive often has one more level than its images need: ``PetImages/PetImages/Cat``. Others have folders of files
    about the images beside them: ``food-101/images/sushi``, ``food-101/meta/train.txt``.

    Raises:
        FolderError: It is data of object detection.
    """
    at, others = root, list[str]()
    for _ in range(_MOST_LEVELS):
        names = folders(at)
        if images_in(at):
            return None
        annotations = annotation_folders(at, names) if len(names) > 1 else []
        if annotations and len(annotations) == len(names) - 1:
            refuse_boxes(at, names)
            others += annotations
            names = [name for name in names if name not in annotations]
        if len(names) != 1 or split_of(names[0]):
            return Inner(at, tuple(others)) if len(names) > 1 and at != root else None
        at /= names[0]
    return None


def missing(folder: Path) -> FolderError:
    """Return the error for a folder that does not exist, with the folders beside it whose names are near."""
    beside = folders(folder.parent)
    near = near_names(folder.name, [*beside, *_archives(folder.parent)])
    if near:
        do = "did you mean " + " or ".join(shlex.quote(str(folder.with_name(name))) for name in near) + "?"
    elif beside:
        more = f" and {len(beside) - _SHOWN} more" if len(beside) > _SHOWN else ""
        do = f"{folder.parent} holds {', '.join(beside[:_SHOWN])}{more}"
    elif folder.parent.is_dir():
        do = "check the path"
    else:
        there = next((parent for parent in folder.parents if parent.is_dir()), folder.parent)
        do = f"check the path: {there} is there, but nothing below it leads here"
    return FolderError("The folder does not exist", do=do, folder=str(folder))


def _archives(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(_ARCHIVES)]
    except OSError:  # no folder, or not readable: nothing is near
        return []


def not_a_folder(path: Path) -> FolderError:
    """Return the error for a file where a folder is expected."""
    suffix, above = path.suffix.lower(), shlex.quote(str(path.parent))
    do = ""
    if suffix in SUFFIXES:
        do = f"give the folder of images and the table: housetrain check {above} --labels {shlex.quote(path.name)}"
    elif is_image_name(path.name):
        do = f"give the folder above the class folders; to see this image: housetrain show {shlex.quote(str(path))}"
    elif path.name.lower().endswith(_ARCHIVES):
        do = "download or pack it again: it is damaged or cut short"
    elif suffix in {".rar", ".7z"}:
        do = "unpack it, and give the folder"
    return FolderError("This is not a folder", expected="a folder of class folders", do=do, path=str(path))


def no_classes(folder: Path, error: FolderError) -> FolderError:
    """Return the error for a folder without class folders, which may itself be a class of the folder above."""
    others = [name for name in folders(folder.parent) if name != folder.name and images_in(folder.parent / name)]
    if not others or not images_in(folder) or proposals(folder):
        return error
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    command = f"`housetrain run {shlex.quote(str(folder.parent))}`"
    do = f"{command} if {folder.name} is a class beside {others[0]}{more}; else {error.do}"
    return FolderError(error.what, expected=error.expected, do=do, **error.received)


@contextlib.contextmanager
def failures_named(folder: Path) -> Iterator[None]:
    """Turn what the system says about a folder (a path beyond its limit, a folder that vanishes) into one clear line.

    Raises:
        FolderError: It, or a folder in it, cannot be read.
    """
    try:
        yield
    except OSError as error:
        do = "use shorter names, or a folder nearer to the root" if error.errno == errno.ENAMETOOLONG else ""
        raise FolderError(f"The folder cannot be read ({error.strerror})", do=do, folder=str(folder)[:200]) from error
    except ValueError as error:
        if "null" not in str(error):  # os.stat: embedded null byte
            raise
        raise FolderError("This is not the name of a folder", folder=str(folder)[:200]) from error
