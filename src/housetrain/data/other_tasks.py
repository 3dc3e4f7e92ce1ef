"""Data of object detection and segmentation, which is no classification: named and refused.

In: a folder and the names of the folders in it. Out: an error that says what the data is, or nothing. It reads the
beginnings of annotation files, and opens no image.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from housetrain.data.folder_layout import (
    IMAGE_WORDS,
    MASK_WORDS,
    entries,
    folders,
    head_of,
    images_in,
    is_file,
    proposals,
    tables,
)
from housetrain.data.split_names import split_of
from housetrain.errors import FolderError
from housetrain.system.text import format_count, format_list

_LOOK = 40  # annotation files opened to find out what they are
_HEAD = 1 << 20  # bytes of a JSON file looked at
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
        FolderError: It is Pascal VOC, YOLO, COCO or the like.
    """
    task = _pascal_voc(root, tops) or _yolo(root) or _coco(root, tops) or _beside(root, tops) or _box_table(root, tops)
    if task:
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


def _beside(root: Path, tops: Sequence[str]) -> str:
    """Return what the files of boxes beside images are that lie in no class folder: one of the image's name each."""
    places = [root, *(root / top for top in tops if split_of(top) or top.lower() in IMAGE_WORDS)]
    for place in places:
        stems = {PurePosixPath(name).stem for name in images_in(place)}
        for suffix, name, has_boxes in _BOX_FILES:
            ends = [one for one in entries(place) if one.name.lower().endswith(suffix)] if stems else []
            files = [one for one in ends if one.name[: -len(suffix)] in stems]
            heads = [head_of(Path(one.path), 1 << 16) for one in files[:_LOOK]]
            with_boxes = [head for head in heads if head.strip()]
            if with_boxes and all(map(has_boxes, with_boxes)):
                return f"{name}: {format_count(len(files), 'file')} of boxes"
    return ""


def _box_table(root: Path, tops: Sequence[str]) -> str:
    """Return the name of a table with a row a box, where no folder can be a class."""
    splits = [root / top for top in tops if split_of(top)]
    if len(splits) < len(tops) or any(folders(place) for place in splits):
        return ""
    for path in (path for place in (root, *splits) for path in tables(place)):
        first = head_of(path, 1 << 10).partition(b"\n")[0].decode("latin-1").lower()
        header = set(re.split(r"[^a-z]+", first))
        if {"xmin", "ymin", "xmax", "ymax"} <= header:
            return f"{path.name} holds boxes"
    return ""


def _yolo_lines(text: bytes) -> bool:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return bool(lines) and all(re.fullmatch(rb"\d+(\s+-?[\d.eE+-]+){4,}", line) for line in lines)


_BOX_FILES = (
    (".txt", "YOLO", _yolo_lines),
    (".xml", "Pascal VOC", lambda text: b"<bndbox" in text),
    (".json", "Labelme", lambda text: b'"shapes"' in text and b'"points"' in text),
)


def _table_of(root: Path) -> bool:
    return any(proposal.flag.startswith("--labels") for proposal in proposals(root))


def _pascal_voc(root: Path, tops: Sequence[str]) -> str:
    for top in tops:
        if top.lower() in {"annotations", "xml", "xmls", "labels"}:
            files = [entry for entry in entries(root / top) if entry.name.lower().endswith(".xml")]
            boxes = [entry for entry in files[:_LOOK] if b"<bndbox" in head_of(Path(entry.path), 1 << 16)]
            if boxes:
                return f"Pascal VOC: {format_count(len(files), 'annotation')} with boxes"
    return ""


def _yolo(root: Path) -> str:
    places = [root, *(root / name for name in folders(root) if split_of(name) or name.lower() in IMAGE_WORDS)]
    for place in places:
        labels = place / "labels"
        files = [entry for sub in (labels, *(labels / name for name in folders(labels))) for entry in entries(sub)]
        texts = [entry for entry in files if entry.name.lower().endswith(".txt")]
        if _yolo_lines(b"\n".join(head_of(Path(entry.path), 1 << 14) for entry in texts[:_LOOK])):
            return f"YOLO: {format_count(len(texts), 'file')} of boxes"
    return ""


def _coco(root: Path, tops: Sequence[str]) -> str:
    """Boxes beside folders that are no classes; detections beside class folders, as of camera traps, harm nothing."""
    beside = {top for top in tops if split_of(top) or top.lower() in MASK_WORDS | IMAGE_WORDS}
    if len(beside) < len(tops) or any(split_of(top) and folders(root / top) for top in tops):
        return ""
    for place in (root, *(root / top for top in sorted(beside))):
        files = [one for one in entries(place) if one.name.lower().endswith((".json", ".xml")) and is_file(one)]
        for entry in files[:_LOOK]:
            head = head_of(Path(entry.path), _HEAD)
            for name, mark, others in _MARKS:
                if mark in head and any(other in head for other in others):
                    return f"{name}: {entry.name} holds boxes"
    return ""


_MARKS = (  # of one file for all images
    ("COCO", b'"bbox"', (b'"annotations"', b'"categories"', b'"image_id"')),
    ("CreateML", b'"coordinates"', (b'"annotations"',)),
    ("VIA", b'"shape_attributes"', (b'"regions"',)),
    ("CVAT", b"<image ", (b"<box ", b"<polygon ", b"<polyline ")),
)
