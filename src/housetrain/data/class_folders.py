"""A folder -> the files in it that should be images, with their labels and ready-made splits.

In: a folder. Out: a `Tree`: one `Entry` per file, what was ignored, which class folders are empty. It opens no file and
does not know images: it lists and stats, so that a folder of 25,000 takes a fraction of a second.

Symlinks to files and folders are followed. A linked folder that leads back to one of its own parents is an entry with
the problem ``symlink loop``; one that was already seen in the same class is counted among the ignored.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from housetrain.errors import DecodeError, FolderError
from housetrain.system.regular_files import check_regular, why_unreadable

SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
"""Folder names (in any case) that are ready-made splits, and what each is called here."""

OUTSIDE = "files outside the class folders"
SEEN = "linked folders seen already"
BESIDE = "folders beside the ready-made splits"

_LITTER = {name.lower(): name for name in ("Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store", "Icon\r")}


class Entry(NamedTuple):
    """One file. ``problem`` is ``""`` for a regular file; size in bytes, time in ns since the epoch."""

    path: str
    label: str
    split: str | None
    bytes: int
    mtime_ns: int
    inode: int
    problem: str


@dataclass
class Tree:
    """What a folder holds.

    Args:
        entries: One per file, sorted by path.
        classes: Names of all class folders, sorted, empty ones included.
        ignored: What was passed over, by name or pattern, and how often.
        ready_made: Whether the top folders are splits.
    """

    entries: list[Entry] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    ignored: Counter[str] = field(default_factory=Counter)
    ready_made: bool = False


def walk(root: Path) -> Tree:
    """List a folder of class folders.

    Args:
        root: The folder; read, never written.

    Returns:
        What it holds.

    Raises:
        FolderError: It is missing, not a folder, holds no class folders, or it or a folder in it cannot be read.
    """
    tree = Tree()
    tops = _folders(root, tree, count_files=OUTSIDE)
    if not tops:
        raise FolderError(
            "there are no class folders",
            expected=f"{root.name}/<class>/images, one folder a class",
            do="put the images of each class into a folder of its name",
            folder=str(root),
        )
    classes: set[str] = set()
    splits = _ready_made(root, tops)
    if splits:
        tree.ready_made = True
        tree.ignored[BESIDE] += len(tops) - len(splits)
        for top, split in splits.items():
            for label in _folders(root / top, tree, count_files=OUTSIDE):
                classes.add(label)
                tree.entries.extend(_files(root, (top, label), tree, label=label, split=split))
    else:
        for label in tops:
            classes.add(label)
            tree.entries.extend(_files(root, (label,), tree, label=label, split=None))
    tree.entries.sort()
    tree.classes = tuple(sorted(classes))
    tree.ignored = +tree.ignored
    return tree


def litter(name: str, *, folder: bool) -> str | None:
    """Return the pattern that a name to be ignored falls under, or ``None`` for one to be used."""
    if folder:
        return "__MACOSX/" if name == "__MACOSX" else ".*/" if name.startswith(".") else None
    if pattern := _LITTER.get(name.lower()):
        return pattern.strip()
    if name.startswith("."):
        return "._*" if name.startswith("._") else ".*"
    return None


def _ready_made(root: Path, tops: list[str]) -> dict[str, str]:
    """Return the top folders that are splits, or nothing: ``train`` may also be a class, beside ``car`` and ``bus``."""
    splits = {top: SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    if "train" not in splits.values():
        return {}
    quiet = Tree()
    inside = {top: set(_folders(root / top, quiet, count_files=OUTSIDE)) for top in splits}
    train = {label for top, labels in inside.items() if splits[top] == "train" for label in labels}
    if not train:
        return {}
    shares = any(labels & train for top, labels in inside.items() if splits[top] != "train")
    return splits if shares or len(splits) == len(tops) else {}


def _scan(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError as error:
        raise FolderError("the folder does not exist", folder=str(folder)) from error
    except NotADirectoryError as error:
        raise FolderError("this is not a folder", expected="a folder of class folders", path=str(folder)) from error
    except OSError as error:
        what = "the folder cannot be read" if folder == root else "a folder inside cannot be read"
        do = "give yourself permission to read it" if isinstance(error, PermissionError) else ""
        raise FolderError(f"{what} ({error.strerror})", do=do, folder=str(folder)) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symlink that leads in circles or through what may not be read: the file's turn says so
        return False


def _folders(folder: Path, tree: Tree, *, count_files: str) -> list[str]:
    names: list[str] = []
    for entry in _scan(folder, folder):
        is_folder = _is_folder(entry)
        pattern = litter(entry.name, folder=is_folder)
        if pattern or not is_folder:
            tree.ignored[pattern or count_files] += 1
        else:
            names.append(entry.name)
    return sorted(names)


def _files(root: Path, parts: tuple[str, ...], tree: Tree, *, label: str, split: str | None) -> Iterator[Entry]:
    """Walk one class folder to any depth."""
    top = root.joinpath(*parts)
    prefix = "/".join(parts) + "/"
    above = tuple(_identity(root.joinpath(*parts[:n])) for n in range(len(parts) + 1))
    seen = {above[-1]}
    stack = [(top, prefix, above)]
    while stack:
        folder, prefix, above = stack.pop()
        below: list[tuple[Path, str, tuple[tuple[int, int], ...]]] = []
        # real folders before linked ones: what is reached both ways keeps its real name
        for entry in sorted(_scan(folder, root), key=lambda entry: (entry.is_symlink(), entry.name)):
            name = entry.name
            is_folder = _is_folder(entry)
            if pattern := litter(name, folder=is_folder):
                tree.ignored[pattern] += 1
            elif not is_folder:
                yield _entry(entry, prefix + name, label, split)
            else:
                identity = _identity(folder / name)
                if identity in above:
                    yield Entry(prefix + name, label, split, 0, 0, 0, "symlink loop")
                elif identity in seen:
                    tree.ignored[SEEN] += 1
                else:
                    seen.add(identity)
                    below.append((folder / name, f"{prefix}{name}/", (*above, identity)))
        stack.extend(reversed(below))


def _entry(entry: os.DirEntry[str], path: str, label: str, split: str | None) -> Entry:
    try:
        status = entry.stat()
        check_regular(status)
    except OSError as error:
        return Entry(path, label, split, 0, 0, 0, why_unreadable(Path(entry.path), error))
    except DecodeError as error:
        return Entry(path, label, split, 0, 0, 0, error.reason)
    return Entry(path, label, split, status.st_size, status.st_mtime_ns, status.st_ino, "")


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
