"""Where the labels of images without class folders seem to be: tables, file names, files that are not read.

In: a folder. Out: the flags that would give its images their labels; the error for a folder without class folders, with
what to do. It lists folders and reads tables, and opens no image.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from housetrain.data.array_labels import SUFFIXES as ARRAYS
from housetrain.data.folder_layout import (
    entries,
    file_names,
    folders,
    head_of,
    image_paths,
    images_in,
    is_file,
    is_image_name,
    listed,
)
from housetrain.data.foreign_files import instead_of_images
from housetrain.data.label_files import ORDER, UNREAD, in_order_of, instead_of
from housetrain.data.label_from_name import labels_from_names, pattern_for
from housetrain.data.label_table import LABEL_NAMES, SUFFIXES, LabelTable, preference
from housetrain.data.split_names import split_of
from housetrain.errors import FolderError
from housetrain.system.text import format_list

_MOST_FOLDERS = 12  # folders that are searched for tables
_SMALL_TABLE = 16 << 20  # bytes of a table that is read though no one asked for it


def no_labels(root: Path, tops: Sequence[str]) -> FolderError | None:
    """Return the error for a folder whose images have no class folders, ``None`` where the top folders are classes.

    A single folder of images beside a table of labels is no class.
    """
    if len(tops) > 1:
        return None
    at = root / tops[0] if tops else root
    while tops and not images_in(at) and len(below := folders(at)) == 1:
        at /= below[0]
    if tops and (folders(at) or not images_in(at)):
        return None
    if not tops:
        return no_class_folders(root, tops)
    for place, names in ((root, tops), (at.parent, [at.name]), (at, [])):
        if proposals(place) or unread_table(place):
            return no_class_folders(place, names)
    return None


def no_class_folders(root: Path, tops: Sequence[str], *, kind: str = "splits") -> FolderError:
    """Return the error for images without class folders: where their labels seem to be, the command that uses them."""
    what = "There are no class folders"
    if not tops and not any(root.iterdir()):
        what = "The folder is empty"
    elif len(tops) == 1:
        what = f"{tops[0]} is one folder of images, and there are no class folders"
    elif tops:
        what = f"{listed(tops)} look like {kind}, not classes, and hold no class folders"
    found = proposals(root)
    if not found and not any(image_paths(root)):
        said, do = instead_of_images(name for name in file_names(root) if not is_image_name(name))
        if do:
            return FolderError(f"{what}, and no images, but {said}", expected="class folders", do=do, folder=str(root))
    if not found and (unread := unread_table(root) or pixel_table(root)):
        return FolderError(f"{what}, but {unread.said}", expected="class folders", do=unread.flag, folder=str(root))
    if not found:
        return FolderError(
            what,
            expected=f"{root.name}/<class>/image, one folder a class; or train, validation and test folders of these",
            do="put the images of each class into a folder of its name; where labels are in a table use --labels FILE, "
            "where they are in the file names use --label-from-name REGEX (cat.0.jpg: '^(.+?)[._-]')",
            folder=str(root),
        )
    commands = " or ".join(f"`housetrain run {shlex.quote(str(root))} {proposal.flag}`" for proposal in found[:3])
    return FolderError(
        f"{what}, but {found[0].said}", expected="class folders, or a flag that says where the labels are", do=commands
    )


class Proposal(NamedTuple):
    """A flag that would give images their labels, and what was seen."""

    flag: str
    said: str


def proposals(root: Path) -> list[Proposal]:
    """Return the flags that would give the images of a folder their labels, the likeliest first."""
    names = list(image_paths(root))
    found: list[Proposal] = []
    for paths in (*([path] for path in tables(root)), *_split_tables(root)) if names else ():
        try:
            read = [LabelTable.read(path, names, root=root) for path in paths]
        except FolderError:
            if len(paths) == 1 and (order := in_order_of(paths[0], names)):
                said = f"{paths[0].name} holds {len(names):,} labels and no file names; in the order of these: {order}"
                found.append(Proposal(f"--labels {shlex.quote(f'{paths[0].name}:{ORDER}')}", said))
            continue
        table, named = read[0], sum(one.named for one in read)
        rows = sum(len(one.rows) for one in read)
        commands = table.commands()[:3]
        if commands and (named >= 0.5 * len(names) or named >= 0.9 * rows):
            said = f"{paths[0].name} names {named:,} of the {len(names):,} images; {_columns_of(table)}"
            found += [Proposal(command, said) for command in commands]
    trained = [name for name in names if split_of(name.partition("/")[0]) in {None, "train"}]
    pattern = pattern_for(trained) if trained else None
    if pattern:
        labels = sorted(set(labels_from_names(trained, pattern).values()))
        shown = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
        found.append(Proposal(f"--label-from-name '{pattern}'", f"the file names carry classes: {shown}"))
    return found


def _columns_of(table: LabelTable) -> str:
    """Return what the columns of a table of labels hold, in words."""
    if table.one_hot:
        return f"one column a class: {format_list([table.header[number] for number in table.one_hot])}"
    if not table.label_columns and (cut := table.numbers()):
        return f"column {cut[0]} holds numbers"
    said = f"columns: {', '.join(map(str, table.label_columns[:4]))}"
    return f"{said}; an image may have several labels (multi-label), which are not supported" if table.several else said


def unread_table(root: Path) -> Proposal | None:
    """Return what to do about a table beside the images that is not read, such as a spreadsheet."""
    for entry in entries(root):
        path = Path(entry.path)
        if path.suffix.lower() in UNREAD and is_file(entry):
            return Proposal(instead_of(path), f"{path.name}, which may hold the labels, is not read")
        if path.suffix.lower() == ".mat" and b"MATLAB 7.3" in head_of(path, 128):
            do = "save it for other programs, in MATLAB: save('labels.mat', 'labels', '-v7')"
            return Proposal(do, f"{path.name} is a MATLAB 7.3 file, which is not read")
    return None


def pixel_table(root: Path) -> Proposal | None:
    """Return what to do about a table that holds the pixels of images as numbers: FER-2013, MNIST as CSV."""
    for path in tables(root):
        columns = head_of(path, 1 << 16).partition(b"\n")[0].decode("latin-1").strip().split(",")
        label = next((name for name in columns if preference(name) < len(LABEL_NAMES) or name == "emotion"), "label")
        numbered = sum(bool(re.fullmatch(r"(pixel|px|p)?_?\d+(x\d+)?", name)) for name in columns)
        side = round(numbered**0.5)
        read = f"t = pandas.read_csv({path.name!r})"
        if "pixels" in columns:
            x = "numpy.stack([numpy.array(p.split(), 'uint8').reshape(48, 48) for p in t['pixels']])"
        elif side > 7 and side * side == numbered:
            x = f"t.drop(columns={label!r}).to_numpy('uint8').reshape(-1, {side}, {side})"
        else:
            continue
        do = f"save them as arrays, in Python: {read}; numpy.savez('images.npz', x={x}, y=t[{label!r}])"
        return Proposal(f"{do}; then: housetrain prepare images.npz", f"{path.name} holds pixels as numbers")
    return None


def unused_table(root: Path, labels: Mapping[str, str]) -> tuple[str, str] | None:
    """Return what a table beside class folders says, and how to use it, where it labels their images otherwise.

    Args:
        root: The folder.
        labels: Path of each image -> its class folder.

    Returns:
        ``None`` where no table has a column that is called a label, or where the folders say the same.
    """
    for path in tables(root):
        if path.suffix.lower() in ARRAYS:  # nothing says that these are labels
            continue
        try:
            table = LabelTable.read(path, labels, root=root) if path.stat().st_size <= _SMALL_TABLE else None
        except (FolderError, OSError):
            continue
        if table is None or table.named < 0.9 * len(labels):
            continue
        columns = [column for column in table.label_columns if preference(column.name) < len(LABEL_NAMES)]
        if columns and not any(_says_the_same(table, column.number, labels) for column in table.label_columns):
            said = f"{path.name} labels {table.named:,} of the {len(labels):,} images, too: {columns[0]}"
            return said, f"{table.commands()[0]}"
    return None


def _says_the_same(table: LabelTable, number: int, labels: Mapping[str, str]) -> bool:
    """Whether nearly all images of each class folder have one value of a column."""
    try:
        of = table.labels(None, str(number)).of
    except FolderError:
        return True
    values: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path, value in of.items():
        values[labels[path]][value] += 1
    return all(counts.most_common(1)[0][1] >= 0.9 * counts.total() for counts in values.values())


def _split_tables(root: Path) -> list[list[Path]]:
    """Return the tables of one name that lie in folders of a split, or in folders without images: ``labels/a.csv``."""
    tops = [top for top in folders(root) if split_of(top) or not images_in(root / top)][:_MOST_FOLDERS]
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for top in tops:
        for path in tables(root / top):
            by_name[path.name].append(path)
    return list(by_name.values())


def tables(root: Path) -> list[Path]:
    """Return files beside the images that may be tables of labels: those called so first."""
    found = [
        Path(entry.path) for entry in entries(root) if Path(entry.name).suffix.lower() in SUFFIXES and is_file(entry)
    ]
    words = ("label", "train", "metadata", "annotation", "class", "index", "ground")
    rank = {path: next((n for n, word in enumerate(words) if word in path.stem.lower()), len(words)) for path in found}
    return sorted(found, key=lambda path: (rank[path], path.name))[:12]
