"""Where the labels of a folder of images come from, as one value: class folders, a table, or the file names.

In: the keyword arguments of `scan`. Out: a checked `LabelSource`. It opens no file; `class_folders` applies it.
"""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from housetrain.data.class_map import ClassMap, MapLike
from housetrain.data.label_from_name import compiled_pattern
from housetrain.errors import FolderError, RecipeError

ClassLevel = int | Literal["leaf", "name"]


class LabelOptions(TypedDict, total=False):
    """The keyword arguments of `scan` that say where labels come from, for functions that pass them on."""

    labels: str | Path | None
    label_from_name: str | None
    threshold: float | None
    class_level: ClassLevel | None
    validation_dir: str | Path | None
    test_dir: str | Path | None
    keep_companions: bool
    class_map: MapLike | None
    corrections: str | Path | None


@dataclass(frozen=True)
class LabelSource:
    """Where labels come from. The default is class folders, with ready-made splits recognized.

    Attributes:
        labels: A table of labels, ``FILE`` or ``FILE:PATH_COLUMN,LABEL_COLUMN``; ``FILE:order`` for one label an
            image in the natural order of their names.
        label_from_name: A regular expression whose group is the class, searched in each file name.
        threshold: Makes two classes of a numeric column of the table.
        class_level: Which level of nested folders is the class, from 1; ``"leaf"``: the folder that the image is in;
            ``"name"``: likewise, and folders of one name are one class.
        validation_dir: A folder of class folders for validation; the scanned folder is train then.
        test_dir: A folder of class folders for the test; the scanned folder is train then.
        keep_companions: Whether files that look like masks or thumbnails of other images are images all the same.
        class_map: Names of classes -> new names: see `housetrain.data.class_map`.
        corrections: A file of label corrections: see `housetrain.data.corrections`.
    """

    labels: str = ""
    label_from_name: str = ""
    threshold: float | None = None
    class_level: ClassLevel | None = None
    validation_dir: Path | None = None
    test_dir: Path | None = None
    keep_companions: bool = False
    class_map: Mapping[str, str] = field(default_factory=dict)
    corrections: Path | None = None

    @classmethod
    def of(cls, options: LabelOptions) -> LabelSource:
        """Return the checked value of keyword arguments.

        Raises:
            RecipeError: They contradict each other; all problems are in the message.
        """
        source = cls(
            str(options.get("labels") or ""),
            options.get("label_from_name") or "",
            options.get("threshold"),
            options.get("class_level"),
            _path(options.get("validation_dir")),
            _path(options.get("test_dir")),
            bool(options.get("keep_companions")),
            ClassMap.of(options.get("class_map")).names,
            _path(options.get("corrections")),
        )
        problems = []
        if source.labels and source.label_from_name:
            problems.append("labels come from a table or from file names, not from both")
        if source.threshold is not None and not source.labels:
            problems.append("a threshold cuts a column of a table: it needs --labels FILE")
        if source.class_level is not None and (source.labels or source.label_from_name):
            problems.append("a class level is for class folders")
        level = source.class_level
        if isinstance(level, int) and level < 1:
            problems.append("a class level is 1 or more, 'leaf' or 'name'")
        if problems:
            raise RecipeError("; ".join(problems).capitalize(), **source.given())
        if source.label_from_name:
            compiled_pattern(source.label_from_name)
        return source

    @property
    def from_folders(self) -> bool:
        """Whether class folders carry the labels."""
        return not self.labels and not self.label_from_name

    def given(self) -> dict[str, Any]:
        """Return what differs from the default, JSON-plain: it tells two catalogs of one folder apart."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items() if value}

    def found(self, root: Path) -> list[Path]:
        """Return the files that ``labels`` names: as it is given, else in ``root``, else in each folder of ``root``."""
        return _found(Path(self.labels), root)

    def table(self, root: Path) -> tuple[list[Path], str | None, str | None]:
        """Return the tables, the column of images and the column of labels; columns are ``None`` to be recognized.

        The file is looked for as it is given, then in ``root``, then in each folder of ``root`` (a table a split).

        Raises:
            FolderError: There is no such file.
        """
        name, image, label = self.labels, None, None
        head, colon, columns = name.rpartition(":")
        if colon and head and not _found(Path(name), root) and _found(Path(head), root):
            name = head
            first, comma, second = columns.rpartition(",")
            image, label = (first.strip() or None, second.strip() or None) if comma else (None, columns.strip())
        found = _found(Path(name), root)
        if not found:
            raise FolderError(
                "There is no such table of labels",
                expected="a CSV, TSV, JSON, JSON-lines, MATLAB or NumPy file",
                labels=self.labels,
            )
        return found, image, label


def typed(options: LabelOptions) -> str:
    """Return the options as they are typed after a command, with a blank before each. A map must be a file."""
    words: list[str] = []
    for name, value in options.items():
        flag = {"keep_companions": "--keep-masks", "class_map": "--map"}.get(name, f"--{name.replace('_', '-')}")
        if value is True:
            words.append(flag)
        elif isinstance(value, str | Path | int | float) and value is not False and value != "":
            words += [flag, shlex.quote(str(value))]
    return "".join(f" {word}" for word in words)


def source_folders(
    root: Path, given: Mapping[str, Any], split_paths: Iterable[tuple[str | None, str]]
) -> tuple[Path, ...]:
    """Return the folders of images, which nothing is written into.

    Args:
        root: The folder that paths are relative to.
        given: What `LabelSource.given` returned.
        split_paths: (split, path) of each image.

    Returns:
        ``root``; or each split's own folder where the splits lie apart, since ``root`` is only above them then.
    """
    if not {"validation_dir", "test_dir"} & set(given):
        return (root,)
    by_split: defaultdict[str | None, set[str]] = defaultdict(set)
    for split, path in split_paths:
        by_split[split].add(path.rpartition("/")[0])
    return tuple(root / os.path.commonpath(folders) for folders in by_split.values())


def parse_class_level(text: str | None) -> ClassLevel | None:
    """Return the class level that a person typed.

    Raises:
        RecipeError: It is no number from 1, ``leaf`` or ``name``.
    """
    if text is None:
        return None
    if text in {"leaf", "name"}:
        return cast(ClassLevel, text)
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise RecipeError("This is no class level", expected="1, 2, ..., leaf or name", class_level=text)


def _found(path: Path, root: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_absolute() or ".." in path.parts:
        return []
    if (root / path).is_file():
        return [root / path]
    return sorted(one for one in root.glob(f"*/{path.name}") if one.is_file()) if len(path.parts) == 1 else []


def _path(value: str | Path | None) -> Path | None:
    return Path(value) if value else None
