"""A table of labels -> the class of each image.

In: a CSV, TSV, blank-separated, JSON, JSON-lines, NumPy or MATLAB file, and the paths of the images below a folder.
Out: `Labels`, or the columns that could be meant. It opens no image.

The separator, the header, the column that names the images and the column of labels are recognized by their content:
a column names the images when its values are paths, file names, file names without extension or numbers of files that
exist. Where more than one column could be the label, nothing is guessed: the error names them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from housetrain.data.image_index import ImageIndex, images_meant
from housetrain.data.label_columns import LABEL_NAMES as LABEL_NAMES
from housetrain.data.label_columns import Column, are_flags, numbers_another, several_in
from housetrain.data.label_columns import preference as preference
from housetrain.data.label_files import read_rows
from housetrain.data.split_names import split_of
from housetrain.data.table_cells import as_number, class_names, filled
from housetrain.errors import FolderError
from housetrain.system.text import natural_key

SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".lst", ".dat", ".jsonl", ".ndjson", ".json", ".mat", ".npy", ".npz"})
"""Suffixes of files that may be tables of labels."""

MAX_BYTES = 256 << 20
"""Larger files are no tables of labels."""

_ENOUGH = 0.5  # share of the rows that must name an image for the column to be the one that names images
_SAMPLE = 2_000  # rows looked at to find out what a column is


@dataclass(frozen=True)
class Labels:
    """The class of each image.

    Attributes:
        of: Path of an image, relative to the folder of images, to its class.
        split: Path to ``train``, ``validation`` or ``test``, where the table has such a column.
        source: Where the labels come from, in words: ``labels.csv, column 2``.
        absent: Rows that name no image of the folder.
    """

    of: dict[str, str]
    split: dict[str, str]
    source: str
    absent: int = 0


@dataclass
class LabelTable:
    """One table, read.

    Args:
        path: The file.
        cells: Rows of equal width, the header included.
        keyed: Whether the first row is a header for certain (JSON).
        files: Paths of the images, relative to the folder of images, with ``/``.
        base: Folder of the table relative to the folder of images, with ``/`` at its end: its paths are looked for
            there first.
    """

    path: Path
    cells: list[list[str]]
    keyed: bool
    files: Sequence[str]
    base: str = ""
    _index: ImageIndex = field(init=False)

    def __post_init__(self) -> None:
        self._index = ImageIndex(self.files, self.base)

    @classmethod
    def read(cls, path: Path, files: Iterable[str], *, root: Path | None = None, in_order: bool = False) -> LabelTable:
        """Read a table of the images ``files`` below ``root``, or labels ``in_order`` of their names.

        Raises:
            FolderError: It is missing, too large, or no table.
        """
        try:
            if path.stat().st_size > MAX_BYTES:
                raise FolderError("The table of labels is too large", expected="256 MB at most", file=str(path))
            every = list(files)
            meant = images_meant(path, every)
            cells, keyed = read_rows(path, meant, in_order=in_order, alone=len(meant) < len(every))
        except OSError as error:
            raise FolderError(f"The table of labels cannot be read ({error.strerror})", file=str(path)) from error
        if len(cells) < 2 or len(cells[0]) < 2:
            raise FolderError(
                "This is no table of labels",
                expected="a file of at least two columns, one of them the images' names, and one row an image",
                file=str(path),
            )
        inside = root is not None and path.absolute().is_relative_to(root.absolute())
        base = path.absolute().parent.relative_to(root.absolute()).as_posix() if root and inside else "."
        return cls(path, cells, keyed, meant, "" if base == "." else f"{base}/")

    # ------------------------------------------------------------------------------------- what the columns are
    @cached_property
    def image_column(self) -> int | None:
        """Index of the column whose values name images, or ``None``."""
        shares = [self._share(column) for column in range(len(self.cells[0]))]
        # numbers of patients may be those of images, too: names of images differ more
        best = max(range(len(shares)), key=lambda column: (shares[column], len({row[column] for row in self.cells})))
        return best if shares[best] >= _ENOUGH else None

    @cached_property
    def header(self) -> tuple[str, ...]:
        """Names of the columns; empty without a header."""
        first, rest = self.cells[0], self.cells[1:]
        if self.keyed:
            return tuple(first)
        column = self.image_column
        if column is not None and self._index.find(first[column]):
            return ()
        repeated = any(
            first[other] and any(row[other] == first[other] for row in rest[:_SAMPLE])
            for other in range(len(first))
            if other != column
        )
        numeric = any(as_number(cell) is not None for other, cell in enumerate(first) if other != column)
        return () if repeated or numeric else tuple(cell.strip() for cell in first)

    @property
    def rows(self) -> list[list[str]]:
        """The rows below the header."""
        return self.cells[1:] if self.header else self.cells

    @cached_property
    def label_columns(self) -> tuple[Column, ...]:
        """Columns that could be the label, those with a name that means so first."""
        found = []
        for number in range(len(self.cells[0])):
            if number == self.image_column:
                continue
            values = [filled(row[number]) for row in self.rows]
            counts = Counter(value for value in values if value)
            present = sum(counts.values())
            if present < 0.5 * len(values) or not 2 <= len(counts) <= max(2, present // 2):
                continue
            if all(split_of(value) for value in counts):
                continue
            name = self.header[number] if self.header else ""
            shown = tuple(value for value, _ in counts.most_common(4))
            found.append(Column(number + 1, name, tuple(sorted(shown, key=natural_key)), len(counts)))
        found = [column for column in found if not numbers_another(column, found, self.rows)]
        return tuple(
            sorted(
                found, key=lambda column: (preference(column.name), column.name.lower().endswith("id"), column.number)
            )
        )

    @cached_property
    def split_column(self) -> int | None:
        """Index of a column that holds nothing but names of splits, or ``None``."""
        for number in range(len(self.cells[0])):
            values = {row[number].strip() for row in self.rows if row[number].strip()}
            if number != self.image_column and len(values) > 1 and all(split_of(value) for value in values):
                return number
        return None

    @cached_property
    def one_hot(self) -> tuple[int, ...]:
        """Indexes of columns of which each row has exactly one 1 and zeros else; empty where there are none."""
        binary = [
            number
            for number in range(len(self.cells[0]))
            if number != self.image_column and all(as_number(row[number]) in (0.0, 1.0) for row in self.rows)
        ]
        if not self.header or len(binary) < 2:
            return ()
        whole = all(sum(as_number(row[number]) or 0.0 for number in binary) == 1.0 for row in self.rows)
        return tuple(binary) if whole else ()

    @property
    def several(self) -> bool:
        """Whether the columns mark several labels an image, or a cell holds several."""
        columns = self.label_columns
        if not columns or are_flags(columns):
            return bool(columns)
        return bool(several_in({filled(row[columns[0].number - 1]) for row in self.rows}, columns[0].name))

    @cached_property
    def named(self) -> int:
        """How many of the folder's images the table names."""
        column = self.image_column
        if column is None:
            return 0
        return len({file for row in self.rows for file in self._index.find(row[column])})

    # ------------------------------------------------------------------------------------- the labels
    def labels(
        self, image_column: str | None = None, label_column: str | None = None, *, threshold: float | None = None
    ) -> Labels:
        """Return the class of each image that the table names.

        Args:
            image_column: Name or number (from 1) of the column of images; by default the one that names them.
            label_column: Name or number of the column of labels; by default the only one that can be meant.
            threshold: Makes two classes of a numeric column: above it, and up to it.

        Raises:
            FolderError: There is no such column, more than one can be meant, or an image has two labels.
        """
        images = self._numbered(image_column) if image_column else self.image_column
        if images is None:
            raise FolderError(
                "No column of the table names the images of the folder",
                expected="paths, file names or file names without extension of images in the folder",
                do="check that the table belongs to this folder, or name its columns: "
                "--labels FILE:PATH_COLUMN,LABEL_COLUMN",
                file=str(self.path),
                first_row=", ".join(self.cells[0][:6]),
            )
        if label_column is None and self.one_hot:
            names = {number: self.header[number] for number in self.one_hot}
            wanted = [next(names[n] for n in names if as_number(row[n]) == 1.0) for row in self.rows]
            where = f"columns {names[self.one_hot[0]]} to {names[self.one_hot[-1]]}"
        else:
            number = self._numbered(label_column) if label_column else self._only_label()
            wanted, where = self._column_labels(number, threshold)
        return self._collected(images, wanted, f"{self.path.name}, {where}")

    def groups(self, column: str) -> dict[str, str]:
        """Return path -> value of a column of groups; empty cells are left out.

        Raises:
            FolderError: There is no such column, no column names images, or an image has two values.
        """
        number, images = self._numbered(column), self.image_column
        if images is None:
            raise FolderError(
                "No column of the table names the images of the folder",
                do="check that the table belongs to this folder", file=str(self.path),
                first_row=", ".join(self.cells[0][:6]),
            )  # fmt: skip
        found: dict[str, str] = {}
        for row in self.rows:
            value = row[number].strip()
            for file in self._index.find(row[images]) if value else ():
                if found.setdefault(file, value) != value:
                    raise FolderError(
                        "An image is in two groups of the table", expected="one group an image", file=str(self.path),
                        image=file, groups=f"{found[file]}, {value}",
                    )  # fmt: skip
        return found

    def _column_labels(self, number: int, threshold: float | None) -> tuple[list[str], str]:
        values = [filled(row[number]) for row in self.rows]
        where = f"column {self.header[number] if self.header else number + 1}"
        if threshold is not None:
            numbers = [as_number(value) for value in values]
            if any(one is None for one, value in zip(numbers, values, strict=True) if value):
                raise FolderError(
                    "A threshold needs a column of numbers",
                    do="leave the threshold out, or name another column",
                    file=str(self.path),
                    column=number + 1,
                )
            cut = f"{threshold:g}"
            return ["" if one is None else f"above {cut}" if one > threshold else f"up to {cut}" for one in numbers], (
                f"{where} cut at {cut}"
            )
        if several_in(set(values), self.header[number] if self.header else ""):
            cell = max(values, key=len)
            raise FolderError(
                f"The cells of {where} hold several labels: multi-label data is not supported",
                expected="one label an image",
                do="keep the images of one label, or add a column that is to be told",
                file=str(self.path),
                cell=cell,
            )
        names = class_names(self.path, set(values) - {""})
        return [names.get(value, value) for value in values], where

    def _collected(self, images: int, wanted: list[str], source: str) -> Labels:
        of: dict[str, str] = {}
        split: dict[str, str] = {}
        two: dict[str, set[str]] = defaultdict(set)
        absent = 0
        for row, label in zip(self.rows, wanted, strict=True):
            files = self._index.find(row[images])
            absent += not files
            for file in files if label else ():
                two[file].add(label)
                of[file] = label
                if self.split_column is not None and (name := split_of(row[self.split_column])):
                    split[file] = name
        double = sorted(file for file, labels in two.items() if len(labels) > 1)
        if double:
            raise FolderError(
                f"{len(double):,} images have more than one label in the table: multi-label data is not supported",
                expected="one label an image",
                do="keep one row an image",
                file=str(self.path),
                image=double[0],
                labels=", ".join(sorted(two[double[0]])),
            )
        if not of:
            raise FolderError(
                "The table names no image of the folder", do="check that the table belongs to it", file=str(self.path)
            )
        return Labels(of, split, source, absent)

    def _only_label(self) -> int:
        columns = self.label_columns
        if are_flags(columns):
            raise FolderError(
                "The table marks several labels an image: multi-label data is not supported",
                expected="one label an image",
                do=f"name one column to tell images with this label from those without: "
                f"--labels {self.path.name}:{self._image_key},{columns[0].key}",
                file=str(self.path),
            )
        if not columns:
            raise FolderError(
                "No column of the table can be the label",
                expected="a column of at least two values that repeat",
                do="name it: --labels FILE:PATH_COLUMN,LABEL_COLUMN",
                file=str(self.path),
            )
        first = preference(columns[0].name)
        if len(columns) == 1 or (first < len(LABEL_NAMES) and preference(columns[1].name) > first):
            return columns[0].number - 1
        raise FolderError(
            f"More than one column of {self.path.name} can be the label: {'; '.join(map(str, columns[:8]))}",
            do=f"name one: --labels {self.path.name}:{self._image_key},{columns[0].key}",
            file=str(self.path),
        )

    @property
    def _image_key(self) -> str:
        column = self.image_column or 0
        return Column(column + 1, self.header[column] if self.header else "", (), 0).key

    def _numbered(self, column: str) -> int:
        if column in self.header:
            return self.header.index(column)
        if column.isdecimal() and 1 <= int(column) <= len(self.cells[0]):
            return int(column) - 1
        raise FolderError(
            f"The table has no column {column!r}",
            expected=f"one of {', '.join(self.header)}" if self.header else f"a number from 1 to {len(self.cells[0])}",
            file=str(self.path),
        )

    def _share(self, column: int) -> float:
        values = [row[column] for row in self.cells[:_SAMPLE] if row[column].strip()]
        distinct = set(values)
        if len(distinct) < 2:
            return 0.0
        found = sum(bool(self._index.find(value)) for value in values)
        # a column of class numbers may hit files 0.png, 1.png: names of images hardly repeat
        return found / len(values) * min(1.0, 4 * len(distinct) / len(values))

    def numbers(self) -> tuple[str, float] | None:
        """Return the key of the only column of numbers that could be cut into two classes, and their median."""
        found = []
        for number in range(len(self.cells[0])):
            values = [as_number(row[number]) for row in self.rows if filled(row[number])]
            cut = sorted(value for value in values if value is not None)
            if number != self.image_column and len(cut) == len(values) > 2 and any(value % 1 for value in cut):
                name = self.header[number] if self.header else ""
                found.append((Column(number + 1, name, (), 0).key, cut[len(cut) // 2 - 1]))
        return found[0] if len(found) == 1 else None

    def commands(self) -> list[str]:
        """Return what ``--labels`` may be given, the likeliest first, as it is typed."""
        if not self.label_columns and not self.one_hot and (cut := self.numbers()):
            return [f"--labels {self.path.name}:{self._image_key},{cut[0]} --threshold {cut[1]:g}"]
        if self.one_hot or len(self.label_columns) == 1:
            return [f"--labels {self.path.name}"]
        return [f"--labels {self.path.name}:{self._image_key},{column.key}" for column in self.label_columns]
