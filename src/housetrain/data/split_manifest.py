"""The train/validation/test split of a folder of images, as a list.

In: rows (path, sha256, label, split, group), what was left out and why, the options. Out: a `SplitManifest`, in
memory or as ``split.json``. The list is the split: nothing is copied or moved. It does not know the rules of the split;
`housetrain.data.split` does.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from housetrain.data.label_source import source_folders
from housetrain.errors import CorruptError, DecodeError, IncompleteError
from housetrain.system import json_types
from housetrain.system.files import is_relative, write_atomic
from housetrain.system.notebook import html_table
from housetrain.system.regular_files import read_bytes
from housetrain.system.text import format_count

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
FILE_NAME = "split.json"
NO_TEST = (
    "No test split was set aside: validation only. The validation images also chose the epoch and the model, so their "
    "accuracy is optimistic"
)
"""What every page and table says of a run without test images."""
_FORMAT = 1  # raised when the same catalog would be split differently, or the layout of the file changes


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a split.

    Attributes:
        path: POSIX path relative to the root.
        sha256: Of the file's bytes, 64 hex digits.
        label: The class, by name.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        group: Key shared with the image's near duplicates; its own sha256 where it has none.
    """

    path: str
    sha256: str
    label: str
    split: SplitName
    group: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One image that is in no split, and why."""

    path: str
    label: str
    reason: str


class _Columns(TypedDict):
    split: dict[str, int]
    path: list[str]
    sha256: list[str]
    label: list[int]
    group: list[str]


class _Plain(TypedDict):
    """What `SplitManifest.to_bytes` writes."""

    format: int
    fingerprint: str
    root: str
    classes: list[str]
    options: dict[str, Any]
    rows: _Columns
    left_out: list[tuple[str, str, str]]


@dataclass(frozen=True, repr=False)
class SplitManifest:
    """The split of a folder of images. Create one with `housetrain.split`.

    Attributes:
        root: The folder of images.
        classes: Names of the classes, sorted unless an order was given; a label's index is its place here.
        rows: Train, then validation, then test; inside a split ordered by content hash, which mixes the classes.
        left_out: Images in no split, with the reason, ordered by path.
        options: seed, validation, test, test_per_class, balance, ready_made, and the catalog's fingerprint; labels
            and white (see `housetrain.InputSpec`) where they are not the defaults; corrections, how many labels were
            ``relabeled`` and images ``left_out`` by a person, where there are any.
        fingerprint: 64 hex digits over classes, rows and options; equal splits have equal fingerprints.
    """

    root: Path
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    options: dict[str, Any]
    fingerprint: str

    def __repr__(self) -> str:
        counts = " + ".join(f"{len(self.of(name)):,} {name}" for name in SPLITS)
        return (
            f"SplitManifest({str(self.root)!r}, {len(self.classes)} classes, {counts}, {len(self.left_out):,} left out)"
        )

    def _repr_html_(self) -> str:
        counts = self.counts()
        rows = [[label, *(counts[name][label] for name in SPLITS)] for label in self.classes]
        return html_table(repr(self), ["class", *SPLITS], rows)

    @classmethod
    def of_rows(
        cls,
        root: Path | str,
        classes: Sequence[str],
        *,
        rows: Iterable[Row],
        left_out: Iterable[LeftOut] = (),
        options: dict[str, Any],
    ) -> SplitManifest:
        """Create a split from rows in any order: they are sorted into the canonical order and fingerprinted."""
        place = {name: number for number, name in enumerate(SPLITS)}
        ordered = tuple(sorted(rows, key=lambda row: (place[row.split], row.sha256, row.path)))
        left = tuple(sorted(left_out, key=lambda one: one.path))
        names = tuple(classes)
        return cls(Path(root), names, ordered, left, dict(options), _fingerprint(names, ordered, options))

    @property
    def corrections(self) -> tuple[int, int]:
        """How many labels a person corrected, and how many images a person left out."""
        given = self.options.get("corrections")
        counts = [given.get(name) for name in ("relabeled", "left_out")] if isinstance(given, dict) else [0, 0]
        relabeled, left_out = (count if isinstance(count, int) else 0 for count in counts)
        return relabeled, left_out

    @property
    def source_folders(self) -> tuple[Path, ...]:
        """The folders of images, which nothing is written into: see `housetrain.data.label_source.source_folders`."""
        return source_folders(self.root, self.options.get("labels", {}), ((row.split, row.path) for row in self.rows))

    def of(self, name: SplitName) -> tuple[Row, ...]:
        """Return the rows of one split, in the order of the prepared arrays."""
        return tuple(row for row in self.rows if row.split == name)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many images each split has of each class: ``{"train": {"Cat": 2800, ...}, ...}``."""
        seen = Counter((row.split, row.label) for row in self.rows)
        return {name: {label: seen[name, label] for label in self.classes} for name in SPLITS}

    def save(self, folder: Path | str) -> Path:
        """Write ``split.json`` into ``folder`` (which must exist) in one step and return its path."""
        return self.write(Path(folder) / FILE_NAME)

    def write(self, path: Path | str) -> Path:
        """Write the split as the file ``path`` in one step (temporary file, fsync, rename)."""
        path = Path(path)
        write_atomic(path, self.to_bytes())
        return path

    def to_bytes(self) -> bytes:
        """Return the split as ASCII JSON. Columns, not rows: a third of the size and of the reading time."""
        class_of = {name: number for number, name in enumerate(self.classes)}
        plain = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "root": str(self.root),
            "classes": self.classes,
            "options": self.options,
            "counts": self.counts(),
            "rows": {
                "split": {name: sum(row.split == name for row in self.rows) for name in SPLITS},
                "path": [row.path for row in self.rows],
                "sha256": [row.sha256 for row in self.rows],
                "label": [class_of[row.label] for row in self.rows],
                "group": ["" if row.group == row.sha256 else row.group for row in self.rows],
            },
            "left_out": [[one.path, one.label, one.reason] for one in self.left_out],
        }
        return json.dumps(plain).encode("ascii")

    @classmethod
    def load(cls, folder: Path | str) -> SplitManifest:
        """Read ``split.json`` of ``folder``.

        Raises:
            IncompleteError: There is none.
            CorruptError: It is not what was written.
        """
        path = Path(folder) / FILE_NAME
        try:
            data = read_bytes(path)
        except DecodeError as error:
            if error.reason == "file not found":
                raise IncompleteError(
                    "There is no split here", expected=f"the file {FILE_NAME}", folder=folder
                ) from None
            raise CorruptError(f"{FILE_NAME} cannot be read: {error.reason}", folder=folder) from error
        return cls.from_bytes(data, name=str(path))

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = FILE_NAME) -> SplitManifest:
        """Create a split from what `to_bytes` returned; ``name`` is the file named in an error."""
        try:
            plain = json.loads(data)
            if not json_types.fits(plain, _Plain) or plain["format"] != _FORMAT:
                raise ValueError("another format")
            classes, columns = tuple(plain["classes"]), plain["rows"]
            counts = [columns["split"][name] for name in SPLITS]
            if sum(counts) != len(columns["path"]):  # before memory is taken for them
                raise ValueError("the counts are not those of the rows")
            splits = [name for name, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
            rows = tuple(
                Row(path, sha256, classes[label], split_name, group or sha256)
                for path, sha256, label, split_name, group in zip(
                    columns["path"], columns["sha256"], columns["label"], splits, columns["group"], strict=True
                )
            )
            left_out = tuple(LeftOut(*one) for one in plain["left_out"])
            fingerprint, options, root = plain["fingerprint"], plain["options"], Path(plain["root"])
            if bad := [path for path in (*columns["path"], *(one.path for one in left_out)) if not is_relative(path)]:
                raise ValueError(f"{bad[0]!r} is not below the folder of images")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise CorruptError(
                "The list of the split cannot be read", do="prepare again", path=name, cause=str(error)
            ) from error
        if fingerprint != _fingerprint(classes, rows, options):
            raise CorruptError("The list of the split was changed after it was written", do="prepare again", path=name)
        return cls(root, classes, rows, left_out, options, fingerprint)


def describe_corrections(relabeled: int, left_out: int) -> str:
    """Return ``a person corrected 12 labels and left out 3 images``; an empty text where nothing was corrected."""
    done = [f"corrected {format_count(relabeled, 'label')}"] if relabeled else []
    done += [f"left out {format_count(left_out, 'image')}"] if left_out else []
    return f"a person {' and '.join(done)}" if done else ""


def _fingerprint(classes: Sequence[str], rows: Sequence[Row], options: dict[str, Any]) -> str:
    asked = {name: value for name, value in options.items() if name != "catalog"}
    digest = hashlib.sha256(json.dumps([_FORMAT, list(classes), asked], sort_keys=True).encode())
    parts = [part for row in rows for part in (row.path, row.sha256, row.label, row.split, row.group)]
    digest.update("\0".join(parts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
