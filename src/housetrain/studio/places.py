"""Which folders of images may be named: those below the roots, and nothing else.

In: the roots; what a person chose or typed. Out: real folders below a root, or one sentence. It never says whether
something outside exists, and a link that leads outside counts as outside.
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
    """The folders that may be chosen.

    Args:
        root: The data root: what is typed is relative to it.
        others: Further roots, for what was uploaded or made here.
    """

    def __init__(self, root: Path, others: Sequence[Path] = ()) -> None:
        self.root = Path(os.path.realpath(root))
        self.roots = (self.root, *(Path(os.path.realpath(other)) for other in others))

    def resolve(self, text: str | Path) -> Path:
        """Return the folder that was named.

        Args:
            text: A path below a root: absolute, or relative to the data root.

        Raises:
            FolderError: It lies outside, or is no folder.
        """
        try:
            path = Path(os.path.realpath(self.root / text))
            inside = self.holds(path)
        except (OSError, ValueError):  # a null byte, a name too long, a link in circles
            inside = False
        if not inside:
            raise FolderError(
                "That folder is not one the studio may open",
                expected=f"a folder below {self.root}",
                do="choose one of the list, or start the studio with another --data-root",
            )
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
            raise FolderError("There is no such folder", do="choose one of the list", folder=self.name(path))
        return path

    def holds(self, path: Path) -> bool:
        """Return whether ``path`` (links followed) lies below a root, or is one."""
        real = Path(os.path.realpath(path))
        return any(real == root or root in real.parents for root in self.roots)

    def name(self, path: Path) -> str:
        """Return how a folder is called on the page: relative to the root it lies in."""
        for root in self.roots:
            if path == root:
                return root.name or str(root)
            if root in path.parents:
                inside = path.relative_to(root).as_posix()
                return inside if root == self.root else f"{root.name}/{inside}"
        return path.name

    def folders(self) -> tuple[Path, ...]:
        """Return the folders that look like class folders side by side: at least two folders in them hold files."""
        found: dict[Path, None] = {}
        for root in self.roots:
            if root.is_dir():
                for folder in self._below(root, 0):
                    found.setdefault(folder)
                    if len(found) == _MOST:
                        return tuple(found)
        return tuple(found)

    def refuse_links_outside(self, folder: Path) -> None:
        """Refuse a folder with a link in it that leads outside the roots: its images could not be shown.

        Raises:
            FolderError: There is one; it is named.
        """
        stack = [folder]
        while stack:
            inside = stack.pop()
            for entry in _entries(inside):
                if entry.is_symlink():
                    if not self.holds(Path(entry.path)):
                        raise FolderError(
                            "The folder has a link that leads outside of what the studio may open",
                            do=f"start the studio with a --data-root that holds both, now it is {self.root}",
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
    except OSError:  # a folder that may not be read is not offered
        return []


def _is_open_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir() and not entry.name.startswith(".") and entry.name not in _HIDDEN
    except OSError:
        return False


def _holds_files(folder: Path) -> bool:
    """Whether one of its first names is an image's: a folder of runs is not a folder of classes."""
    names = {Path(entry.name).suffix.lower() for entry in _entries(folder)[:40]}
    return bool(names & {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
