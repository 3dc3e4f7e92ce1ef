"""A folder of prepared images, opened: what training, its test and the studio read.

In: a folder that `housetrain.data.prepare` wrote. Out: `Prepared`: memory-mapped images, labels, names. It writes
nothing, and checks sizes and checksums before it believes a manifest.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from housetrain.data.split_manifest import SPLITS, Row, SplitManifest, SplitName
from housetrain.errors import CorruptError, IncompleteError
from housetrain.images.input_spec import InputSpec

MANIFEST = "prepared.json"
"""Written last: where it is, the folder is complete."""

FORMAT = 1


@dataclass(frozen=True)
class Prepared:
    """Images ready for training, in a folder. Make one with `prepare`, open one with `Prepared.load`.

    Attributes:
        folder: Where it lies.
        spec: Size, color and resize rule of the images; a model trained on them carries it along.
        classes: Names of the classes, sorted; a label is an index into it.
        split: What each image is, and what was left out.
        fingerprint: 64 hex digits over split and spec: equal content has an equal fingerprint.
        file: The array file, ``(N, height, width, channels)`` uint8.
        decoder: Versions of what decoded them: another one may give other pixels for the same files.
    """

    folder: Path
    spec: InputSpec
    classes: tuple[str, ...]
    split: SplitManifest
    fingerprint: str
    file: Path
    decoder: Mapping[str, str] = field(default_factory=dict, compare=False)

    def images(self, name: SplitName) -> np.memmap[Any, np.dtype[np.uint8]]:
        """Return the images of a split: read-only ``(N, height, width, channels)`` uint8, mapped, not loaded."""
        start, stop = self._range(name)
        everything = np.load(self.file, mmap_mode="r")
        return everything[start:stop]  # type: ignore[no-any-return]

    def labels(self, name: SplitName) -> np.ndarray:
        """Return the labels of a split: ``(N,)`` int64, each an index into ``classes``."""
        index = {label: number for number, label in enumerate(self.classes)}
        return np.array([index[row.label] for row in self._rows(name)], dtype=np.int64)

    def paths(self, name: SplitName) -> tuple[str, ...]:
        """Return where each image of a split came from, relative to ``split.root``, in the order of the arrays."""
        return tuple(row.path for row in self._rows(name))

    def sha256(self, name: SplitName) -> tuple[str, ...]:
        """Return the sha256 of each file of a split, in the order of the arrays."""
        return tuple(row.sha256 for row in self._rows(name))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many images each split has of each class."""
        return self.split.counts()

    @property
    def balance(self) -> str:
        """How classes of unequal size are treated: ``"weights"``, ``"trim"`` or ``"none"``."""
        return str(self.split.options.get("balance", "weights"))

    @classmethod
    def load(cls, folder: Path) -> Prepared:
        """Open a prepared folder.

        Raises:
            IncompleteError: There is none, or preparing it was cut off.
            CorruptError: A file is missing, or is not what was written.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        try:
            return cls.of_manifest(folder, manifest)
        except CorruptError:
            # Another process may just have replaced the content that this manifest named.
            newer = read_manifest(folder)
            if newer == manifest:
                raise
            return cls.of_manifest(folder, newer)

    @classmethod
    def of_manifest(cls, folder: Path, manifest: dict[str, Any]) -> Prepared:
        """Open what a manifest names.

        Raises:
            CorruptError: A file is missing, or is not what was written.
        """
        file, listing = folder / manifest["images"]["file"], folder / manifest["split"]["file"]
        try:
            size, data = file.stat().st_size, listing.read_bytes()
        except OSError as error:
            raise CorruptError(
                "a prepared folder lacks a file", do="prepare again", folder=folder, cause=str(error)
            ) from error
        if size != manifest["images"]["bytes"] or hashlib.sha256(data).hexdigest() != manifest["split"]["sha256"]:
            raise CorruptError(
                "a prepared folder was changed after it was written",
                do="delete it and prepare again",
                folder=folder,
                file=(listing if size == manifest["images"]["bytes"] else file).name,
            )
        split = SplitManifest.from_bytes(data, name=str(listing))
        spec = InputSpec.from_json(manifest["spec"])
        return cls(folder, spec, split.classes, split, manifest["fingerprint"], file, manifest.get("decoder", {}))

    def _rows(self, name: SplitName) -> Sequence[Row]:
        start, stop = self._range(name)
        return self.split.rows[start:stop]

    def _range(self, name: SplitName) -> tuple[int, int]:
        if name not in SPLITS:
            raise ValueError(f"no such split: {name!r}; one of {', '.join(SPLITS)}")
        starts = bounds(self.split)
        place = SPLITS.index(name)
        return starts[place], starts[place + 1]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a folder says it holds.

    Raises:
        IncompleteError: It says nothing: there is none, or preparing it was cut off.
        CorruptError: It is not a manifest of this format, or names files elsewhere.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if not isinstance(manifest, dict) or manifest["format"] != FORMAT:
            raise ValueError("another format")
        for name in ("images", "split"):
            # The names come from a file: none may lead out of the folder.
            if Path(manifest[name]["file"]).name != manifest[name]["file"]:
                raise ValueError("a file outside of the folder")
        return manifest
    except (FileNotFoundError, NotADirectoryError):
        raise IncompleteError(
            "no prepared images here", expected=f"the file {MANIFEST}", do="run housetrain prepare", folder=folder
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(
            f"{MANIFEST} cannot be read", do="delete the folder and prepare again", folder=folder, cause=str(error)
        ) from error


def bounds(split: SplitManifest) -> list[int]:
    """Return where train, validation and test begin among the rows, and where the last ends."""
    place = {name: number for number, name in enumerate(SPLITS)}
    starts = range(len(SPLITS) + 1)
    return [bisect.bisect_left(split.rows, start, key=lambda row: place[row.split]) for start in starts]
