"""Data of object detection and segmentation, which is no classification: named and refused.

In: a folder and the names of the folders in it. Out: an error that says what the data is, or nothing. Files of boxes
are recognized by `housetrain.data.box_files`. It opens no image.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from housetrain.data.box_files import boxes_of
from housetrain.data.folder_layout import (
    IMAGE_WORDS,
    MASK_WORDS,
    folders,
    images_in,
)
from housetrain.data.label_proposals import proposals
from housetrain.data.split_names import split_of
from housetrain.errors import FolderError
from housetrain.system.text import format_list

_VERSIONS = frozenset(
    (
        *("resized", "cropped", "processed", "preprocessed", "augmented", "enhanced", "segmented", "grayscale"),
        *("gray", "ir", "thermal", "infrared", "nir", "label", "labels", "lr", "hr"),
    )
)
"""Names of folders that hold other versions of images, where a folder of images is beside them."""


def refuse_other_tasks(root: Path, tops: Sequence[str]) -> None:
    """Refuse data of object detection and segmentation.

    Raises:
        FolderError: It is Pascal VOC, YOLO, COCO, images with files of boxes, or pairs of images and masks.
    """
    refuse_boxes(root, tops)
    refuse_masks(root, tops)


def refuse_boxes(root: Path, tops: Sequence[str]) -> None:
    """Refuse data of object detection.

    Raises:
        FolderError: It is Pascal VOC, YOLO, COCO or the like: see `boxes_of`.
    """
    if task := boxes_of(root, tops):
        raise FolderError(
            f"This is object-detection data ({task})",
            expected="one label an image: class folders, or a table of labels",
            do="cut the objects out into class folders, or train a detector with another program",
            folder=str(root),
        )


def refuse_masks(root: Path, names: Sequence[str]) -> None:
    """Refuse folders of images beside folders of their masks, or of other versions of them.

    Args:
        root: The folder.
        names: The folders that would be the classes: those in ``root``, or in its ready-made splits.

    Raises:
        FolderError: The names are those of images and of what belongs to them.
    """
    plain = {_plain(name) for name in names}
    masks = bool(plain & MASK_WORDS) and plain <= MASK_WORDS | IMAGE_WORDS
    versions = plain <= MASK_WORDS | IMAGE_WORDS | _VERSIONS | {""} and _share_folders(root, names)
    if len(names) < 2 or not (masks or versions) or _table_of(root):
        return
    images = [name for name in names if _plain(name) in IMAGE_WORDS and len(folders(root / name)) > 1]
    flat = [name for name in names if _plain(name) in IMAGE_WORDS and images_in(root / name)]
    flags = [proposal.flag for proposal in proposals(root / flat[0])[:1]] if len(flat) == 1 else []
    given = f"housetrain run {shlex.quote(str(root / (images or flat or names)[0]))}"
    hold = "images and what belongs to them" if masks else "versions of the same images"
    raise FolderError(
        f"{'This looks like segmentation data: ' * masks}{format_list(names)} hold {hold}, not classes",
        expected="one label an image: class folders, or a table of labels",
        do=f"give the folder of images alone: {' '.join([given, *flags])}"
        if len(images) == 1 or flags
        else "give the folder of images alone, with --labels FILE or in class folders",
        folder=str(root),
    )


def _plain(name: str) -> str:
    """Return a name of a folder without the words that say nothing, in lower case; ``""`` for a size in pixels."""
    words = re.split(r"[ ._-]+", re.sub(r"\b\d+x\d+\b|dataset", "", name.lower()))
    return " ".join(word for word in words if word)


def _share_folders(root: Path, names: Sequence[str]) -> bool:
    """Whether all hold the same folders, at least two."""
    inside = [set(folders(root / name)) for name in names]
    return len(inside[0]) > 1 and all(one == inside[0] for one in inside) if inside else False


def mask_folders(tops: Sequence[str]) -> dict[str, str]:
    """Return class folder -> the one that its masks belong to: ``cat_masks`` -> ``cat``.

    A single pair is none, unless it is that of a split: ``face`` and ``face_mask`` are two classes.
    """
    lowered = {top.lower(): top for top in tops}
    found = {}
    for top in tops:
        base, _, word = re.sub(r"[ ._-]+", " ", top.lower()).rpartition(" ")
        owner = next((one for low, one in lowered.items() if re.sub(r"[ ._-]+", " ", low) == base), None)
        if word in MASK_WORDS and owner:
            found[top] = owner
    sets = any(split_of(owner) or owner.lower() in IMAGE_WORDS for owner in found.values())
    return found if len(found) > 1 or sets else {}


def _table_of(root: Path) -> bool:
    return any(proposal.flag.startswith("--labels") for proposal in proposals(root))
