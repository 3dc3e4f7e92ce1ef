"""Cells of a table -> the images that they mean.

In: paths of images. Out: those that a path, an address, a file name, a name without extension or a number names. It
opens no file.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from housetrain.data.split_names import split_of


class ImageIndex:
    """Finds the images that a cell of a table can mean.

    Args:
        files: Paths of the images, relative to the folder of images, with ``/``.
        base: Folder of the table relative to the folder of images, with ``/`` at its end: its paths come first.
    """

    def __init__(self, files: Sequence[str], base: str) -> None:
        self._exact, self._base = set(files), base
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_lower: dict[str, list[str]] = defaultdict(list)
        self._by_number: dict[int, list[str]] = defaultdict(list)
        self._by_prefix: dict[str, list[str]] = defaultdict(list)
        for file in files:
            name = file.rpartition("/")[2]
            stem = PurePosixPath(name).stem
            self._by_name[name].append(file)
            self._by_stem[stem].append(file)
            self._by_lower[_folded(stem)].append(file)
            if stem.isdecimal():
                self._by_number[int(stem)].append(file)
            elif head := re.match(r"(.+?)[-_ .][A-Za-z0-9]{1,3}$", stem):
                self._by_prefix[head[1]].append(file)  # several images of one patient, plate or animal

    def find(self, cell: str) -> list[str]:
        """Return the images that ``cell`` means: none, one, or all of a name that several share."""
        value = cell.strip().replace("\\", "/").removeprefix("./").strip("/")
        if "://" in value:  # an address: what follows the path does not count
            value = re.split(r"[?#]", value)[0]
        if not value:
            return []
        for exact in (self._base + value, value):
            if exact in self._exact:
                return [exact]
        name = value.rpartition("/")[2]
        found = self._by_name.get(name) or self._by_stem.get(name)
        if found is None and re.fullmatch(r"\d+([.]0+)?", name):  # a number that a spreadsheet wrote
            found = self._by_number.get(int(name.partition(".")[0]))
        if found is None:  # another case, or the extension of another format
            value = re.sub(r"[.][A-Za-z]{3,5}$", "", value)
            found = self._by_lower.get(_folded(value.rpartition("/")[2]))
        if found is None:
            return self._by_prefix.get(name, [])
        if len(found) > 1:
            # the same name in several folders: only the rest of the path can tell
            tail = f"/{value}".lower()
            found = [file for file in found if f"/{file}".lower().endswith(tail) or _without_type(file).endswith(tail)]
            return found if len(found) == 1 else []
        return found


def _folded(name: str) -> str:
    """Return a name in lower case, with accents in one encoding: macOS stores them apart from their letters."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).lower()


def _without_type(file: str) -> str:
    return f"/{file.rpartition('.')[0]}".lower()


def images_meant(path: Path, files: Iterable[str]) -> tuple[str, ...]:
    """Return the images that a table can mean: those in folders of the split that its name says, if there are any."""
    every = tuple(files)
    split = split_of(re.sub(r"(?i)labels?|classes|metadata|annotations?|info", " ", path.stem))
    chosen = tuple(file for file in every if split and split_of(file.partition("/")[0]) == split)
    return chosen or every
