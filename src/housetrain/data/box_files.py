"""Files of boxes and outlines beside images: Pascal VOC, YOLO, COCO, KITTI, DOTA, Labelme, Supervisely, CVAT, tables.

In: a folder and the names of the folders in it. Out: what the files are, in words, or ``""``. It reads the beginnings
of annotation files, and opens no image.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from housetrain.data.folder_layout import (
    IMAGE_WORDS,
    MASK_WORDS,
    entries,
    folders,
    has_images,
    head_of,
    images_in,
    is_file,
    is_image_name,
)
from housetrain.data.label_proposals import tables
from housetrain.data.split_names import split_of
from housetrain.system.text import format_count

_LOOK = 40  # annotation files opened to find out what they are
_HEAD = 1 << 20  # bytes of a JSON file looked at
_LINES = 1 << 16  # bytes of a file for one image


def boxes_of(root: Path, tops: Sequence[str]) -> str:
    """Return what the files of boxes in a folder are, such as ``YOLO: 12 files of boxes``; ``""`` where there are none.

    Boxes beside class folders, as camera traps have them, are not looked at.

    Args:
        root: The folder.
        tops: The names of the folders in it.
    """
    return (
        _pascal_voc(root, tops)
        or _yolo(root)
        or _coco(root, tops)
        or _beside(root, tops)
        or _box_folders(root, tops)
        or _box_table(root, tops)
    )


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


def _box_folders(root: Path, tops: Sequence[str]) -> str:
    """Return what the files in one folder are where each belongs to an image of the folder beside it."""
    for place in (root, *(root / top for top in tops if split_of(top))):
        names = folders(place)
        if all(has_images(place / name) for name in names):
            continue
        images = {name: images_in(place / name) for name in names}
        held = [name for name in names if images[name]]
        if len(held) > 1 and any(re.sub(r"[\W\d_]+", "", name).lower() not in IMAGE_WORDS for name in held):
            continue  # these may be classes
        stems = {PurePosixPath(image).stem for name in held for image in images[name]}
        for name in names:
            for suffix, kind, has_boxes in _BOX_FILES if not images[name] and stems else ():
                files = [one for one in entries(place / name) if one.name.lower().endswith(suffix)]
                own = [one for one in files if _stem(one.name[: -len(suffix)]) in stems]
                heads = [head for one in own[:_LOOK] if (head := head_of(Path(one.path), _LINES)).strip()]
                if heads and all(map(has_boxes, heads)):
                    return f"{kind}: {format_count(len(files), 'file')} of boxes in {name}"
    return ""


def _stem(name: str) -> str:
    """Return the name of an image without its suffix; some files of boxes keep it: ``1.jpg.json``."""
    return PurePosixPath(name).stem if is_image_name(name) else name


def _box_table(root: Path, tops: Sequence[str]) -> str:
    """Return the name of a table with a row a box or an outline, where no folder can be a class."""
    flat = [root / top for top in tops if split_of(top) or top.lower() in IMAGE_WORDS or len(tops) == 1]
    if len(flat) < len(tops) or any(folders(place) for place in flat):
        return ""
    only_splits = all(map(split_of, tops))
    for path in (path for place in (root, *flat) for path in tables(place)):
        head = head_of(path, _HEAD).decode("latin-1")
        first, _, rows = head.partition("\n")
        columns = [re.sub(r"[^a-z0-9]", "", name) for name in re.split(r"[,;\t]", first.lower())]
        if "encodedpixels" in columns:
            return f"{path.name} holds outlines"
        named = any(kind <= set(columns) for kind in _BOX_COLUMNS)
        if named and ((only_splits and "xmin" in columns) or _repeats(rows, columns)):
            return f"{path.name} holds boxes"
    return ""


_BOX_COLUMNS = ({"xmin", "xmax", "ymin", "ymax"}, {"x1", "x2", "y1", "y2"}, {"bbox"})


def _repeats(rows: str, columns: Sequence[str]) -> bool:
    """Whether one image has several rows of a table: one that has one row for each may hold its class, too."""
    number = next((n for n, name in enumerate(columns) if re.search("image|file|path|name", name)), 0)
    lines = rows.splitlines()[:-1] or rows.splitlines()
    separator = max(",;\t", key=rows.count)
    try:
        cells = [row[number] for row in csv.reader(lines, delimiter=separator) if len(row) > number]
    except csv.Error:
        return False
    return len(set(cells)) < len(cells)


def _yolo_lines(text: bytes) -> bool:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return bool(lines) and all(re.fullmatch(rb"\d+(\s+-?[\d.eE+-]+){4,}", line) for line in lines)


def _kitti_lines(text: bytes) -> bool:
    lines = [line.strip() for line in text.splitlines()[:_LOOK] if line.strip()]
    return bool(lines) and all(re.fullmatch(rb"[A-Za-z_]+(\s+-?[\d.]+){14,15}", line) for line in lines)


def _dota_lines(text: bytes) -> bool:
    lines = [line.strip() for line in text.splitlines()[:_LOOK] if line.strip()]
    boxes = [line for line in lines if not re.match(rb"(imagesource|gsd|acquisition)\S*:", line)]
    return bool(boxes) and all(re.fullmatch(rb"(-?[\d.]+\s+){8}[^\d\s]\S*(\s+\d)?", line) for line in boxes)


_BOX_FILES = (
    (".txt", "YOLO", _yolo_lines),
    (".txt", "KITTI", _kitti_lines),
    (".txt", "DOTA", _dota_lines),
    (".xml", "Pascal VOC", lambda text: b"<bndbox" in text),
    (".xml", "oriented boxes", lambda text: b"<robndbox" in text or b"<rbox" in text),
    (".json", "Labelme", lambda text: b'"shapes"' in text and b'"points"' in text),
    (".json", "Supervisely", lambda text: b'"objects"' in text and b'"classTitle"' in text),
)


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
