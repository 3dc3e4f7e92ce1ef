"""The files and folders below a folder, listed and never opened: regular files, links, litter, loops.

In: a folder. Out: `Entry` values and names of folders; what is passed over is counted in a `Tree`.

Symlinks to files and folders are followed. A linked folder that leads back to one of its own parents is an entry with
the problem ``symlink loop``; one that was already seen in the same class is counted among the ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from housetrain.data import which_folder
from housetrain.data.folder_tree import Entry, Tree
from housetrain.data.ignored_names import litter
from housetrain.data.image_record import FileStamp
from housetrain.errors import DecodeError, FolderError
from housetrain.system.regular_files import check_regular, why_unreadable

SEEN = "linked folders seen already"


def _scan(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError as error:
        raise which_folder.missing(folder) from error
    except NotADirectoryError as error:
        raise which_folder.not_a_folder(folder) from error
    except OSError as error:
        what = "The folder cannot be read" if folder == root else "A folder inside cannot be read"
        do = "give yourself permission to read it" if isinstance(error, PermissionError) else ""
        raise FolderError(f"{what} ({error.strerror})", do=do, folder=str(folder)) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symlink that leads in circles or through what may not be read: the file's turn says so
        return False


def folders_in(folder: Path, tree: Tree, *, count_files: str) -> list[str]:
    """Return the names of the folders in a folder, sorted. Files are counted under ``count_files``.

    Raises:
        FolderError: It is missing, no folder, or cannot be read.
    """
    names: list[str] = []
    for entry in _scan(folder, folder):
        is_folder = _is_folder(entry)
        pattern = litter(entry.name, folder=is_folder)
        if pattern or not is_folder:
            tree.ignored[pattern or count_files] += 1
        else:
            names.append(entry.name)
    return sorted(names)


def files_below(root: Path, parts: tuple[str, ...], tree: Tree, *, label: str, split: str | None) -> Iterator[Entry]:
    """Walk one class folder to any depth.

    Args:
        root: The folder that paths are relative to.
        parts: The names of the folders that lead to the class folder.
        tree: Counts what is passed over.
        label: The class of all entries.
        split: Their ready-made split.

    Raises:
        FolderError: A folder cannot be read.
    """
    top = root.joinpath(*parts)
    prefix = "/".join(parts) + "/" if parts else ""
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
                    yield Entry(prefix + name, label, split, problem="symlink loop")
                elif identity in seen:
                    tree.ignored[SEEN] += 1
                else:
                    seen.add(identity)
                    below.append((folder / name, f"{prefix}{name}/", (*above, identity)))
        stack.extend(reversed(below))


def entry_of(root: Path, path: str) -> Entry:
    """Return the entry, without a label, of one file below ``root``."""
    return _entry(root / path, path, "", None)


def _entry(entry: os.DirEntry[str] | Path, path: str, label: str, split: str | None) -> Entry:
    try:
        status = entry.stat()
        check_regular(status)
    except OSError as error:
        return Entry(path, label, split, problem=why_unreadable(Path(entry), error))
    except DecodeError as error:
        return Entry(path, label, split, problem=error.reason)
    return Entry(path, label, split, FileStamp(status.st_size, status.st_mtime_ns, status.st_ino))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
