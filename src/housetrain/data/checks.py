"""Catalog -> findings: the checks of a folder as a whole, its classes and layout.

In: a `Catalog`. Out: `Finding` values. No image is opened, and nothing is moved or deleted: a finding at most names
images that training excludes. The checks of single images are in `housetrain.data.image_checks`, those of copies in
`housetrain.data.duplicate_checks`.

Excluded are: unreadable images, every copy but the first of identical files, all copies of an image that has two
labels, and all but the test's copy of an image in two ready-made splits. Everything else is for a person to judge.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from housetrain.data import duplicate_checks as duplicate_checks  # these register their kinds
from housetrain.data import group_proposals as group_proposals
from housetrain.data import image_checks as image_checks
from housetrain.data import shortcuts as shortcuts
from housetrain.data.corrections import LEAVE_OUT
from housetrain.data.findings import KINDS as KINDS
from housetrain.data.findings import (
    SEVERITIES,
    Finding,
    Noticed,
    count_files,
    count_images,
    finding_kind,
    listed,
)
from housetrain.system.text import format_list

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog

FEW = 30
"""Usable images in a class: with fewer, neither training nor its test is meaningful."""

LEAST_VALIDATION = 50
"""Validation images with which one standard error of an accuracy of 85 % is 5 percentage points."""

LEAST = 3
"""Usable images in a class: with fewer there is none for each of train, validation and test."""

_IMBALANCED, _VERY_IMBALANCED = 1.5, 5.0  # largest class / smallest class
_SUMMED = 20  # classes from which one line stands for all


def check(catalog: Catalog) -> tuple[Finding, ...]:
    """Find everything that hurts training or its test.

    Args:
        catalog: What `housetrain.scan` returned.

    Returns:
        Findings, the most severe first; empty when there are none.
    """
    found = [finding for kind in KINDS.values() for finding in kind.find(catalog)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


# ------------------------------------------------------------------------------------------------- classes
@finding_kind(
    "one-class",
    "Only one class",
    severity="error",
    do="put the images of each class into a folder of its own; where labels are in a table (a spreadsheet saved as "
    "CSV), use --labels FILE, where they are in the file names, --label-from-name REGEX",
)
def _one_class(catalog: Catalog) -> Iterator[Noticed]:
    if len(catalog.classes) != 1:
        return
    (label,) = catalog.classes
    inner = list(Counter(image.path.split("/")[1] for image in catalog.images if image.path.count("/") > 1))
    nested = len(inner) > 1 and not catalog.ready_made
    guess = f"put the images of each class into a folder of its own; or use the folder {label}, which holds "
    yield Noticed(f"there is only one class: {label}", do=guess + listed(inner[:3]) if nested else "")


@finding_kind(
    "empty-class",
    "Empty class",
    severity="warning",
    do="add images, or remove the folder if it is not a class",
)
def _empty_class(catalog: Catalog) -> Iterator[Noticed]:
    for label in catalog.empty_classes:
        yield Noticed(f"the class folder {label} holds no images")


@finding_kind(
    "few-images",
    "Few images",
    severity="warning",
    do=f"add images: with fewer than {FEW} the test result of this class is mostly chance",
)
def _few_images(catalog: Catalog) -> Iterator[Noticed]:
    few = {label: count for label, count in catalog.counts().items() if count < FEW}
    if len(few) > _SUMMED:
        fewest = sorted(few, key=few.__getitem__)[:5]
        shown = ", ".join(f"{label} {few[label]:,}" for label in fewest)
        yield Noticed(
            f"{len(few):,} classes have fewer than {FEW} images that can be used (fewest: {shown})",
            severity="error" if min(few.values()) < LEAST else "warning",
        )
        return
    for label, count in few.items():
        if count < LEAST:
            yield Noticed(
                f"the class {label} has {count_images(count)} that can be used",
                severity="error",
                do=f"add images: at least {LEAST} are needed, one each for train, validation and test, and {FEW} or "
                "more for a useful result",
            )
        else:
            yield Noticed(f"the class {label} has only {count_images(count)} that can be used")


@finding_kind(
    "imbalance",
    "Class imbalance",
    severity="note",
    do="nothing to do: class weights compensate in training (--balance weights); judge the result by the scores of "
    "each class, not by accuracy alone",
)
def _imbalance(catalog: Catalog) -> Iterator[Noticed]:
    filled = {label: count for label, count in catalog.counts().items() if count >= LEAST}
    if len(filled) < 2:
        return
    least, most = min(filled, key=filled.__getitem__), max(filled, key=filled.__getitem__)
    ratio = filled[most] / filled[least]
    if ratio >= _IMBALANCED:
        yield Noticed(
            f"{most} has {ratio:.1f} times as many images as {least} ({filled[most]:,} and {filled[least]:,})",
            severity="warning" if ratio >= _VERY_IMBALANCED else "note",
        )


@finding_kind(
    "case-only-classes",
    "Class names that differ only in case",
    severity="warning",
    do="if they are one class, move the images into one folder; now they are trained as different classes",
)
def _case_only_classes(catalog: Catalog) -> Iterator[Noticed]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for label in (*catalog.classes, *catalog.empty_classes):
        seen = "".join(c for c in label if unicodedata.category(c) != "Cf")  # joiners, zero-width blanks
        names[" ".join(unicodedata.normalize("NFKC", seen).casefold().split())].append(label)
    for alike in names.values():
        if len(alike) > 1:
            yield Noticed(
                f"class names differ only in case, invisible characters or the encoding of accents: {listed(alike)}"
            )


# ------------------------------------------------------------------------------------------------- layout
def _layout(name: str, catalog: Catalog) -> Iterator[Noticed]:
    return (Noticed(note.message, do=note.do) for note in catalog.notes if note.kind == name)


@finding_kind("nested-folders", "Nested class folders", severity="warning", do="choose the level of the classes")
def _nested_folders(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("nested-folders", catalog)


@finding_kind("inner-folder", "Class folders one level down", severity="note", do="name the inner folder")
def _inner_folder(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("inner-folder", catalog)


@finding_kind("unlabeled-folder", "Folder without labels", severity="note", do="predict these images with the model")
def _unlabeled_folder(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("unlabeled-folder", catalog)


@finding_kind("other-folder", "Folders that are no classes", severity="note", do="check that they are none")
def _other_folder(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("other-folder", catalog)


@finding_kind(
    "paired-folders", "Classes that are pairs", severity="warning", do="keep the images of a pair in one split"
)
def _paired_folders(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("paired-folders", catalog)


@finding_kind("splits-in-classes", "Splits inside class folders", severity="note", do="check that they are splits")
def _splits_in_classes(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("splits-in-classes", catalog)


@finding_kind("companion-folder", "Folders of masks", severity="warning", do="nothing needs doing if they are masks")
def _companion_folder(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("companion-folder", catalog)


@finding_kind("label-table", "Labels from a table", severity="note", do="check that the table is complete")
def _label_table(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("label-table", catalog)


@finding_kind("unused-table", "Labels beside class folders", severity="warning", do="choose where labels come from")
def _unused_table(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("unused-table", catalog)


@finding_kind("corrections", "Corrected labels", severity="note", do="check that the file is the one you mean")
def _corrections(catalog: Catalog) -> Iterator[Noticed]:
    details = {path: f"labeled {label} in the folder" for path, label in catalog.relabeled.items()}
    details |= dict.fromkeys(catalog.left_out, LEAVE_OUT)
    for found in _layout("corrections", catalog):
        yield found._replace(paths=tuple(details), details=tuple(details.values()), leaves_out=catalog.left_out)


@finding_kind(
    "small-validation",
    "The ready-made validation folder is small",
    severity="warning",
    do="add images to it; or draw validation from the training images: name only the others, --train-dir FOLDER "
    "--test-dir FOLDER",
)
def _small_validation(catalog: Catalog) -> Iterator[Noticed]:
    images = sum(image.split == "validation" for image in catalog.usable)
    least = max(LEAST_VALIDATION, 2 * len(catalog.classes))
    if 0 < images < least:
        yield Noticed(
            f"the ready-made validation folder has {count_images(images)} of {len(catalog.classes):,} classes: too few "
            f"to choose a model by, {least:,} are the least"
        )


@finding_kind(
    "validation-lacks-classes",
    "The ready-made validation folder lacks classes",
    severity="warning",
    do="nothing needs doing; to draw all of validation from the training images: --train-dir FOLDER --test-dir FOLDER",
)
def _validation_lacks_classes(catalog: Catalog) -> Iterator[Noticed]:
    has = {image.label for image in catalog.usable if image.split == "validation"}
    lacks = [label for label in catalog.classes if label not in has]
    if has and lacks:
        yield Noticed(
            f"the ready-made validation folder has {len(has):,} of {len(catalog.classes):,} classes; for "
            f"{format_list(lacks)} validation images are drawn from train"
        )


@finding_kind("class-map", "Renamed, merged or dropped classes", severity="note", do="check the map of classes")
def _class_map(catalog: Catalog) -> Iterator[Noticed]:
    return _layout("class-map", catalog)


@finding_kind(
    "companion",
    "Files that belong to other images",
    severity="warning",
    do="nothing to do: training excludes them; if they are images of their own, use --keep-masks",
)
def _companion(catalog: Catalog) -> Iterator[Noticed]:
    words = {
        "mask": "look like masks of the image of the same name",
        "thumbnail": "look like thumbnails of the image of the same name",
        "depth": "look like depth images of the image of the same name",
        "raw": "are raw files of an image that is there as well",
        "same-shot": "are the same image as the file of the same name and another type",
    }
    for kind, what in words.items():
        paths = tuple(path for path, own in catalog.companions.items() if own == kind)
        if paths:
            yield Noticed(f"{count_files(len(paths))} {what}", paths, paths, (kind,) * len(paths))
