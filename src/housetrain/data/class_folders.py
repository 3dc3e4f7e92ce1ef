"""A folder -> the files in it that should be images, with their labels and ready-made splits.

In: a folder and a `LabelSource`. Out: a `Tree`: one `Entry` per file, what was ignored, which class folders are empty,
what is to be said about the layout. It opens no image: it lists and stats, so that a folder of 25,000 takes a fraction
of a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from housetrain.data import folder_layout, paired_folders, which_folder
from housetrain.data.beside_classes import (
    annotation_folders,
    annotation_note,
    no_class_note,
    refuse_copies,
    repeated_sets,
    unlabeled_beside,
    unlabeled_notes,
)
from housetrain.data.folder_layout import IMAGE_WORDS, MASK_WORDS
from housetrain.data.folder_tree import LayoutNote, Tree
from housetrain.data.folder_walk import files_below, folders_in
from housetrain.data.label_files import ORDER
from housetrain.data.label_from_name import labels_from_names
from housetrain.data.label_proposals import no_labels, unused_table
from housetrain.data.label_source import LabelSource
from housetrain.data.label_table import SUFFIXES, Labels, LabelTable
from housetrain.data.other_tasks import mask_folders, refuse_masks, refuse_other_tasks
from housetrain.data.split_layout import Splits, ready_made, splits_inside
from housetrain.data.split_names import split_of
from housetrain.errors import FolderError
from housetrain.system.text import format_count, format_list, natural_key

OUTSIDE = "files outside the class folders"
BESIDE = "folders beside the ready-made splits"
UNLABELED = "images without a label"
MASKS = "folders of masks beside class folders"
ANNOTATIONS = "folders without images"
REPEATED = "folders of the same classes once more"


def walk(root: Path, source: LabelSource = LabelSource()) -> Tree:  # noqa: B008 - a frozen value
    """List a folder of images.

    Args:
        root: The folder; read, never written.
        source: Where the labels come from.

    Returns:
        What it holds.

    Raises:
        FolderError: It is missing, not a folder, its images have no labels, or it or a folder in it cannot be read.
    """
    tree = Tree()
    if source.from_folders:
        _class_folders(root, source, tree)
    else:
        _labeled_elsewhere(root, source, tree)
    tree.entries.sort()
    tree.ignored = +tree.ignored
    return tree


def walk_splits(root: Path, dirs: dict[str, Path], source: LabelSource) -> Tree:
    """List separate folders of class folders, one a split.

    Args:
        root: A folder above them all: paths of entries are relative to it.
        dirs: ``train`` and at least one of ``validation`` and ``test`` to a folder below ``root``.
        source: Where the labels come from; only its class level counts.

    Raises:
        FolderError: A folder is missing, cannot be read, or train holds no class folders.
    """
    tree = Tree(ready_made=True)
    classes: set[str] = set()
    for split, folder in dirs.items():
        parts = folder.absolute().relative_to(root).parts
        for label in folders_in(folder, tree, count_files=OUTSIDE):
            classes.add(label)
            tree.entries.extend(files_below(root, (*parts, label), tree, label=label, split=split))
    if not any(entry.split == "train" for entry in tree.entries):
        raise FolderError("The training folder holds no class folders", folder=str(dirs["train"]))
    tree.classes = tuple(sorted(classes, key=natural_key))
    _set_level(
        tree, source, above=0, roots={split: folder.absolute().relative_to(root) for split, folder in dirs.items()}
    )
    tree.entries.sort()
    tree.ignored = +tree.ignored
    return tree


def _class_folders(root: Path, source: LabelSource, tree: Tree) -> None:
    tops = folders_in(root, tree, count_files=OUTSIDE)
    if source.class_level != 1:
        refuse_other_tasks(root, tops)
        tops = _without_annotations(root, tops, tree)
    if error := no_labels(root, tops):
        raise which_folder.no_classes(root, error)
    splits = Splits({}, ()) if source.class_level == 1 else ready_made(root, tops, parts=source.class_level is not None)
    classes: set[str] = set()
    if splits.of:
        _ready_made(root, splits, classes, tree)
        tree.ignored[BESIDE] += len(tops) - len(splits.of) - len(splits.unlabeled)
        _add_unlabeled(tree, unlabeled_notes(root, splits.unlabeled))
        if source.class_level is None and not source.keep_companions:
            paired_folders.refuse_pairs(root / _train_of(splits), sorted(classes))
    else:
        if source.class_level is None:
            tops = _without_others(root, tops, tree)
            refuse_copies(root, tops, source.class_map)
            if not source.keep_companions:
                paired_folders.refuse_pairs(root, tops)
                tree.notes += paired_folders.pair_notes(root, tops)
        masks = {} if source.class_level == 1 or source.keep_companions else mask_folders(tops)
        for label in tops:
            if label not in masks:
                classes.add(label)
                tree.entries.extend(files_below(root, (label,), tree, label=label, split=None))
        for top, owner in masks.items():
            tree.ignored[MASKS] += 1
            message = f"{top} holds what belongs to the images of {owner}, by its name, and is no class"
            tree.notes.append(LayoutNote("companion-folder", message, "if it is a class: --class-level 1"))
        if source.class_level is None:
            counts = Counter(entry.label for entry in tree.entries)
            inside = {label: set(folder_layout.folders(root / label)) for label in tops}
            folder_layout.refuse_examples(root, counts, inside)
            if splits_inside(root, tops):
                _split_inside(tree)
            elif other := unused_table(root, {entry.path: entry.label for entry in tree.entries}):
                said, flag = other
                do = f"if the table is right: {flag}; --class-level 1 silences this"
                tree.notes.append(LayoutNote("unused-table", f"{said}; the folders are used", do))
    tree.classes = tuple(sorted(classes, key=natural_key))
    depths = {2 if top in splits.inside else 1 for top in splits.of} or {0}
    several = len(depths) > 1 and source.class_level is None  # the levels of such splits cannot be compared
    if not several and not (tree.ready_made and not splits.of):
        _set_level(tree, source, above=min(depths))


def _ready_made(root: Path, splits: Splits, classes: set[str], tree: Tree) -> None:
    """List the class folders of ready-made splits. A class that train spells in another case has the name of train."""
    tree.ready_made = True
    spelled: dict[str, str] = {}
    for top, split in sorted(splits.of.items(), key=lambda item: item[1] != "train"):
        above = (top, splits.inside[top]) if top in splits.inside else (top,)
        for name in folders_in(root.joinpath(*above), tree, count_files=OUTSIDE):
            label = name if split == "train" else spelled.get(name.lower(), name)
            spelled.setdefault(label.lower(), label)
            classes.add(label)
            tree.entries.extend(files_below(root, (*above, name), tree, label=label, split=split))
    if not splits.inside:
        refuse_masks(root / _train_of(splits), sorted(classes))


def _train_of(splits: Splits) -> str:
    return next(top for top, split in splits.of.items() if split == "train")


def _split_inside(tree: Tree) -> None:
    """Take the splits that lie inside each class folder: ``cat/train``, ``cat/test``."""
    tree.ready_made = True
    named = [(entry, split_of(entry.path.split("/")[1])) for entry in tree.entries]
    tree.entries = [entry._replace(split=split) for entry, split in named if split and split != "unlabeled"]
    tree.ignored[UNLABELED] += len(named) - len(tree.entries)
    tree.notes.append(
        LayoutNote(
            "splits-in-classes",
            "each class folder holds splits of its own, which are used",
            "nothing needs doing if that is meant; --class-level 1 splits all images again",
        )
    )


def _without_others(root: Path, tops: Sequence[str], tree: Tree) -> list[str]:
    """Return the class folders without the folders beside them that are none, which are said and counted."""
    unlabeled = unlabeled_beside(tops)
    _add_unlabeled(tree, unlabeled_notes(root, unlabeled, beside_classes=True))
    repeated = repeated_sets(root, tops)
    if repeated:
        inside = sorted({name for top in repeated for name in folder_layout.folders(root / top)}, key=natural_key)
        tree.notes.append(no_class_note(repeated, f"it holds {format_list(inside)} once more, which are not used"))
    tree.ignored[REPEATED] += len(repeated)
    return [top for top in tops if top not in unlabeled and top not in repeated]


def _without_annotations(root: Path, tops: list[str], tree: Tree) -> list[str]:
    others = annotation_folders(root, tops)
    if others and len(others) < len(tops):
        tree.ignored[ANNOTATIONS] += len(others)
        tree.notes.append(annotation_note(others))
        return [top for top in tops if top not in others]
    return tops


def _add_unlabeled(tree: Tree, notes: Sequence[tuple[int, LayoutNote]]) -> None:
    for held, note in notes:
        tree.ignored[UNLABELED] += held
        tree.notes.append(note)


def _set_level(tree: Tree, source: LabelSource, *, above: int, roots: dict[str, Path] | None = None) -> None:
    """Label nested class folders by the level that is asked for, and say what the other levels would be."""
    if roots:  # each split lies at its own depth
        for split, top in roots.items():
            part = Tree([entry for entry in tree.entries if entry.split == split])
            _set_level(part, source, above=len(top.parts))
            rest = [entry for entry in tree.entries if entry.split != split]
            tree.entries = [*rest, *part.entries]
            tree.notes += [note for note in part.notes if note not in tree.notes]
        tree.classes = tuple(
            sorted(
                {entry.label for entry in tree.entries} | set(tree.classes if not source.class_level else ()),
                key=natural_key,
            )
        )
        return
    level = source.class_level
    if level is not None and level != 1:
        labels = folder_layout.labels_at(
            [entry.path for entry in tree.entries],
            level if isinstance(level, int) else None,
            above=above,
            by_name=level == "name",
        )
        tree.entries = [entry._replace(label=labels[entry.path]) for entry in tree.entries if entry.path in labels]
        tree.classes = tuple(sorted(set(labels.values()), key=natural_key))
        return
    levels = folder_layout.levels_of((entry.path for entry in tree.entries), above=above)
    if levels is None or level == 1 or _no_levels(levels):
        return
    names = _listed(levels.nested)
    if levels.recurring and levels.second > levels.top:
        inner = _listed(levels.recurring)
        message = f"{names} hold folders of the same names ({inner}): {levels.top} classes at the top, which are used"
        do = (
            "nothing needs doing if these are sites, cameras, animals or days; images of one group can then lie in "
            "train and in test. If they are classes: --class-level name makes one of each name, "
            f"--class-level {levels.level} one of each folder"
        )
    else:
        message = (
            f"{names} hold folders: {levels.top} classes at the top, which are used; "
            f"{levels.second} on {'the second level' if levels.level == 2 else f'level {levels.level}'}, "
            f"{levels.leaves} leaves"
        )
        do = (
            f"--class-level {levels.level} or --class-level leaf makes the inner folders the classes; "
            "--class-level 1 silences this"
        )
    tree.notes.append(LayoutNote("nested-folders", message, do))


def _no_levels(levels: folder_layout.Levels) -> bool:
    """Whether class folders only divide images from what belongs to them: ``cat/images``, ``cat/masks``."""
    return bool(levels.recurring) and {name.lower() for name in levels.recurring} <= MASK_WORDS | IMAGE_WORDS


def _labeled_elsewhere(root: Path, source: LabelSource, tree: Tree) -> None:
    """List all images below ``root`` and label them by a table or by their names."""
    entries = [
        entry
        for entry in files_below(root, (), tree, label="", split=None)
        if not entry.path.lower().endswith(tuple(SUFFIXES))
    ]
    paths = [entry.path for entry in entries]
    if source.labels:
        found = _from_tables(root, source, paths)
    else:
        found = Labels(labels_from_names(paths, source.label_from_name), {}, "the file names")
        if not found.of:
            raise FolderError(
                "No file name matches the expression",
                expected="an expression whose group is the class",
                do="try it on one of the names",
                label_from_name=source.label_from_name,
                name=paths[0] if paths else "",
            )
    tops = {entry.path.partition("/")[0] for entry in entries if "/" in entry.path and entry.path in found.of}
    splits = {top: split for top in tops if (split := split_of(top)) and split != "unlabeled"}
    by_folder = "train" in splits.values() and len(splits) == len(tops) > 1
    for entry in entries:
        label = found.of.get(entry.path)
        if label is None:
            tree.ignored[UNLABELED] += folder_layout.is_image_name(entry.path)
            continue
        place: str | None = found.split.get(entry.path)
        if place is None and by_folder:
            place = splits[entry.path.partition("/")[0]]
        tree.entries.append(entry._replace(label=label, split=place))
    if found.split:  # a row without a split is trained on
        tree.entries = [entry._replace(split=entry.split or "train") for entry in tree.entries]
    tree.ready_made = by_folder or bool(found.split)
    tree.classes = tuple(sorted(set(found.of.values()), key=natural_key))
    without = tree.ignored[UNLABELED]
    if without or found.absent:
        tree.notes.append(
            LayoutNote(
                "label-table",
                f"{found.source} label {len(tree.entries):,} images; {without:,} images have no label and are not used"
                + (f", {format_count(found.absent, 'row')} of the table name no image" if found.absent else ""),
                "nothing needs doing if that is meant",
            )
        )


def _from_tables(root: Path, source: LabelSource, paths: list[str]) -> Labels:
    files, image, label = source.table(root)
    in_order = image is None and label == ORDER
    read = [LabelTable.read(file, paths, root=root, in_order=in_order) for file in files]
    label = None if in_order else label
    parts = [table.labels(image, label, threshold=source.threshold) for table in read]
    merged = Labels({}, {}, ", ".join(part.source for part in parts), sum(part.absent for part in parts))
    for part in parts:
        merged.of.update(part.of)
        merged.split.update(part.split)
    return merged


def _listed(names: tuple[str, ...]) -> str:
    shown = [*names[:5], *([f"{len(names) - 5} more"] if len(names) > 5 else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
