"""Access control: the page opens folders below the roots and nothing else.

In: the roots, and what was chosen or typed. Out: resolved folders below a root, or an error. It never reveals whether
anything outside exists, and a symbolic link that leads outside counts as outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from housetrain.errors import FolderError

_DEEP = 3
_MOST = 300  # folders listed
_HIDDEN = {"__MACOSX", "node_modules"}


class Places:
    """The folders that may be opened.

    Args:
        root: The data root; typed paths are relative to it.
        others: Further roots, for uploads and sample data sets.
    """

    def __init__(self, root: Path, others: Sequence[Path] = ()) -> None:
        self.root = Path(os.path.realpath(root))
        self.roots = (self.root, *(Path(os.path.realpath(other)) for other in others))

    def resolve(self, text: str | Path) -> Path:
        """Return the folder at a path.

        Args:
            text: A path below a root: absolute, or relative to the data root.

        Raises:
            FolderError: It is outside the roots, or is not a folder.
        """
        try:
            path = Path(os.path.realpath(self.root / text))
            inside = self.holds(path)
        except (OSError, ValueError):  # a null byte, a name that is too long, a symbolic link loop
            inside = False
        if not inside:
            raise FolderError(
                "The studio may not open that folder",
                expected=f"a folder below {self.root}",
                do="choose a folder from the list, or restart the studio with another --data-root",
            )
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
            raise FolderError("The folder does not exist", do="choose a folder from the list", folder=self.name(path))
        return path

    def holds(self, path: Path) -> bool:
        """Return whether ``path``, with symbolic links resolved, is a root or inside one."""
        real = Path(os.path.realpath(path))
        return any(real == root or root in real.parents for root in self.roots)

    def name(self, path: Path) -> str:
        """Return a folder's name on the page: its path relative to its root."""
        for root in self.roots:
            if path == root:
                return root.name or str(root)
            if root in path.parents:
                inside = path.relative_to(root).as_posix()
                return inside if root == self.root else f"{root.name}/{inside}"
        return path.name

    def folders(self) -> tuple[Path, ...]:
        """Return the folders that look like data sets: at least two of their subfolders hold images."""
        found: dict[Path, None] = {}
        for root in self.roots:
            if root.is_dir():
                for folder in self._below(root, 0):
                    found.setdefault(folder)
                    if len(found) == _MOST:
                        return tuple(found)
        return tuple(found)

    def refuse_links_outside(self, folder: Path) -> None:
        """Refuse a folder that contains a symbolic link to outside the roots: its images could not be shown.

        Raises:
            FolderError: Names the first such link.
        """
        stack = [folder]
        while stack:
            inside = stack.pop()
            for entry in _entries(inside):
                if entry.is_symlink():
                    if not self.holds(Path(entry.path)):
                        raise FolderError(
                            "The folder contains a symbolic link to outside the data root",
                            do=f"restart the studio with a --data-root that contains both (now {self.root})",
                            link=Path(entry.path).relative_to(folder).as_posix(),
                        )
                elif entry.is_dir(follow_symlinks=False):
                    stack.append(Path(entry.path))

    def _below(self, folder: Path, depth: int) -> Iterator[Path]:
        inner = [entry for entry in _entries(folder) if _is_open_folder(entry)]
        inner = [entry for entry in inner if not entry.is_symlink() or self.holds(Path(entry.path))]
        holding = sum(_holds_files(Path(entry.path)) for entry in inner[:50])
        ready_made = {"train", "test"} <= {entry.name.lower() for entry in inner}
        if holding >= 2 or ready_made:
            yield folder
            return
        if depth < _DEEP:
            for entry in inner[:_MOST]:
                if not entry.is_symlink():
                    yield from self._below(Path(entry.path), depth + 1)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # an unreadable folder is not listed
        return []


def _is_open_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir() and not entry.name.startswith(".") and entry.name not in _HIDDEN
    except OSError:
        return False


def _holds_files(folder: Path) -> bool:
    """Whether one of its first files is an image: a folder of runs is not a folder of classes."""
    names = {Path(entry.name).suffix.lower() for entry in _entries(folder)[:40]}
    return bool(names & {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
