"""A mirror: the copy of a local folder in storage that all machines reach, such as ``s3://bucket/path``.

In: a folder and its address. Out: files there, or files here. Does not know: what the files are. fsspec does the
transfer. Single files are replaced whole; a set of files may be torn by a kill,
so the caller's files must say which of them belong together (a manifest with checksums, written last).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from housetrain.system.files import inside, write_atomic
from housetrain.system.storage import open_storage

_LAST = ("manifest.json", "result.json")  # they say that the others are there


class Mirror:
    """The copy of a folder.

    Args:
        folder: The local folder; it need not exist.
        address: Where the copy is: any address that fsspec knows, or a path.

    Raises:
        MissingExtra: fsspec is not installed.
        HousetrainError: The library for this kind of address is not installed, or it has no such kind.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self._files, self._root = open_storage(address, need="Storage that all nodes reach")
        self.folder = folder
        self._sent: dict[str, tuple[int, int]] = {}

    def push(self, *, leave_out: Callable[[str], bool] = lambda name: False) -> None:
        """Copy what has changed since the last push to the storage, and remove there what is gone here.

        Args:
            leave_out: Says of a relative name that it stays here.

        Raises:
            OSError: The storage cannot be written.
        """
        found: dict[str, tuple[int, int]] = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if path.is_symlink() or not path.is_file() or leave_out(name):
                continue
            status = path.stat()
            found[name] = (status.st_size, status.st_mtime_ns)
        for name in sorted(found, key=lambda name: (_rank(name), name)):
            if self._sent.get(name) != found[name]:
                self._files.pipe_file(self._at(name), (self.folder / name).read_bytes())
        for name in self._sent.keys() - found.keys():
            self._remove(name)
        self._sent = found

    def fetch(self, *, leave_out: Callable[[str], bool] = lambda name: False) -> bool:
        """Copy the files of the storage here, each atomically; return whether there were any.

        Args:
            leave_out: Says of a relative name that it stays there.

        Raises:
            OSError: The storage cannot be read.
            CorruptError: A name leads out of the folder.
        """
        names = [name for name in self._names() if not leave_out(name)]
        for name in sorted(names, key=lambda name: (_rank(name), name)):
            path = inside(self.folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, self._files.cat_file(self._at(name)), durable=False)
            status = path.stat()
            self._sent[name] = (status.st_size, status.st_mtime_ns)
        return bool(names)

    def _names(self) -> list[str]:
        self._files.invalidate_cache()
        try:
            found: list[str] = self._files.find(self._root)
        except FileNotFoundError:
            return []
        return [str(path)[len(self._root) :].lstrip("/") for path in found]

    def _remove(self, name: str) -> None:
        try:
            self._files.rm_file(self._at(name))
        except FileNotFoundError:
            return

    def _at(self, name: str) -> str:
        path = f"{self._root}/{name}"
        parent: Any = path.rpartition("/")[0]
        self._files.makedirs(parent, exist_ok=True)
        return path


def _rank(name: str) -> int:
    """Return the place of a file in the order of a transfer: what marks the others as complete comes last."""
    last = name.rpartition("/")[2]
    return 1 + _LAST.index(last) if last in _LAST else 0
