"""Files beside images that belong to them: masks, label images, depth images, thumbnails, raw files of the same shot.

In: the records of a catalog. Out: which of them are companions, and of which kind. A companion trained on as an image
flatters the test: an empty mask is always of the class without a defect. It opens a few images of each group of pairs
whose names alone do not tell which of the two is the mask.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from housetrain.data.folder_layout import MASK_WORDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from housetrain.data.image_record import ImageRecord

Kind = Literal["mask", "thumbnail", "depth", "raw", "same-shot"]

RAW = frozenset(
    f".{suffix}" for suffix in ("cr2", "cr3", "nef", "nrw", "arw", "dng", "raf", "orf", "rw2", "pef", "srw")
)
"""Suffixes of cameras' raw files: a raw file beside the JPEG of the same shot counts once."""

_AFFIX = re.compile(
    r"^(?:(?P<prefix>mask|gt|seg|label|thumb|depth)[ ._-]+)?(?P<base>.+?)"
    r"(?:[ ._-]+(?P<suffix>mask|masks|gt|groundtruth|seg|segmentation|annotation|annotated|label|labels|trimap|contour"
    r"|lbl|matte|overlay|heatmap|thumb|thumbnail|depth|disparity|instanceids|labelids)(?:[ ._-]*\d+)?)?$",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[ ._-]+(rgb|colou?r|image|img|photo|orig|original|leftimg8bit)$", re.IGNORECASE)
"""What the image itself may be called beside ``a_depth.png``."""

_THUMBS = frozenset(("thumb", "thumbs", "thumbnail", "thumbnails"))
_DEPTHS = frozenset(("depth", "disparity"))
_LEAST = 3  # pairs of one folder
_SHARE = 0.5  # of the files of one type in a folder that must have a partner
_OPENED = 6  # pairs of a folder that are opened
_TWO_VALUES = 0.9  # share of an image's pixels that its two commonest values cover: a mask, not a photograph
_FLAT = 0.97  # share that its eight commonest values cover: a mask of several classes
_GROUPS = 8  # additions to names that are looked at
_SAME_BITS = 6  # of the 64-bit perceptual hash in which two files of one shot differ at most

Open = Callable[[Sequence[str]], "NDArray[np.uint8]"]
"""Returns the pixels of paths, uint8 (N, height, width)."""


def companions(images: Sequence[ImageRecord], open_images: Open) -> dict[str, Kind]:
    """Return path -> kind of every file that belongs to another image.

    Args:
        images: Records of a catalog, unreadable ones included.
        open_images: Returns the pixels of a few paths, in grayscale.

    Returns:
        The companions. The image itself is never among them.
    """
    usable = [image for image in images if image.usable]
    found = _by_folder(usable)
    found |= _by_affix([image for image in usable if image.path not in found])
    found |= _by_type([image for image in usable if image.path not in found], open_images)
    found |= _by_addition([image for image in usable if image.path not in found], open_images)
    shots = {(image.label, _shot(image.path).rpartition("/")[2]) for image in usable if image.path not in found}
    raw = (image for image in images if not image.usable and posixpath.splitext(image.path)[1].lower() in RAW)
    return found | {image.path: "raw" for image in raw if (image.label, _shot(image.path).rpartition("/")[2]) in shots}


def _by_folder(images: Iterable[ImageRecord]) -> dict[str, Kind]:
    """Folders called ``masks`` and the like inside a class, whose files share their names with the class's images."""
    beside: defaultdict[str, list[str]] = defaultdict(list)
    inside: defaultdict[tuple[str, str], list[ImageRecord]] = defaultdict(list)
    for image in images:
        words = [part for part in image.path.lower().split("/")[1:-1] if part in MASK_WORDS]
        if words:
            inside[image.label, words[-1]].append(image)
        else:
            beside[image.label].append(image.path)
    found: dict[str, Kind] = {}
    for (label, word), group in inside.items():
        stems = {_base(path)[0] for path in beside[label]}
        shared = sum(_base(image.path)[0] in stems for image in group)
        if shared >= max(1, _SHARE * len(group)):
            found |= {image.path: _kind(word) for image in group}
    return found


def _by_affix(images: Sequence[ImageRecord]) -> dict[str, Kind]:
    """``a_mask.png`` beside ``a.jpg``."""
    plain = {_shot(image.path) for image in images}
    plain |= {_PLAIN.sub("", shot) for shot in plain}
    found: dict[str, Kind] = {}
    for image in images:
        base, word = _base(image.path)
        if word and f"{_folder(image.path)}/{base}" in plain:
            found[image.path] = _kind(word)
    return found


def _by_type(images: Sequence[ImageRecord], open_images: Open) -> dict[str, Kind]:
    """``a.png`` beside ``a.jpg``: masks, or one shot in two files."""
    pairs: defaultdict[tuple[str, str, str], list[tuple[ImageRecord, ImageRecord]]] = defaultdict(list)
    by_shot: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in images:
        by_shot[_shot(image.path)].append(image)
    for shot, group in by_shot.items():
        if len(group) == 2:
            first, second = sorted(group, key=lambda image: (image.header.format != "JPEG", image.path))
            pairs[shot.rpartition("/")[0], first.header.format, second.header.format].append((first, second))
    found: dict[str, Kind] = {}
    for couples in pairs.values():
        if len(couples) < _LEAST:
            continue
        same = sum(_distance(first.hashes.coarse, second.hashes.coarse) <= _SAME_BITS for first, second in couples)
        if same >= 0.8 * len(couples):
            found |= {second.path: "same-shot" for _, second in couples}
        elif (mask := _mask_of(couples, open_images)) is not None:
            found |= {couple[mask].path: "mask" for couple in couples}
    return found


def _by_addition(images: Sequence[ImageRecord], open_images: Open) -> dict[str, Kind]:
    """``a_m.png``, ``a.jpg.mask.png`` or ``a-150x150.jpg`` beside ``a.jpg``: the same addition to many names.

    What the addition means is not known, so pixels decide: masks, or small versions of the same image.
    """
    if not any(re.search(r"[a-zA-Z][^/]*[.][^./]*$", image.path) for image in images):  # numbers are no additions
        return {}
    shots = {_shot(image.path): image for image in images}
    within: list[str] = []
    added: defaultdict[tuple[str, str], list[tuple[ImageRecord, ImageRecord]]] = defaultdict(list)
    for shot in sorted(shots):
        while within and not shot.startswith(within[-1]):
            within.pop()
        rest = shot[len(within[-1]) :] if within else ""
        if any(map(str.isalpha, rest)) and "/" not in rest:
            added[_folder(shot), re.sub(r"\d+", "#", rest)].append((shots[within[-1]], shots[shot]))
        within.append(shot)
    per_folder = Counter(_folder(shot) for shot in shots)
    large = [pairs for (folder, _), pairs in added.items() if len(pairs) >= max(_LEAST, 0.1 * per_folder[folder])]
    found: dict[str, Kind] = {}
    for couples in sorted(large, key=len, reverse=True)[:_GROUPS]:
        if sum(_is_small_copy(second, first) for first, second in couples) >= 0.8 * len(couples):
            found |= {second.path: "thumbnail" for _, second in couples}
        elif _mask_of(couples, open_images) == 1:
            found |= {second.path: "mask" for _, second in couples}
    return found


def _is_small_copy(image: ImageRecord, of: ImageRecord) -> bool:
    smaller = 2 * image.header.width * image.header.height < of.header.width * of.header.height
    return smaller and _distance(image.hashes.coarse, of.hashes.coarse) <= _SAME_BITS


def _mask_of(pairs: Sequence[tuple[ImageRecord, ImageRecord]], open_images: Open) -> int | None:
    """Return which of the two files of each pair is a mask, by the pixels of a few; ``None`` where neither is."""
    opened = pairs[:: max(1, len(pairs) // _OPENED)][:_OPENED]
    first, second = (sum(map(is_flat, open_images([pair[place].path for pair in opened]))) for place in range(2))
    if max(first, second) < 0.8 * len(opened) or min(first, second) > 0.5 * len(opened):
        return None
    return 0 if first > second else 1


def is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Return whether few gray values cover an image, as they do a mask."""
    counts = np.sort(np.bincount(pixels.ravel(), minlength=256))
    return bool(counts[-2:].sum() >= _TWO_VALUES * pixels.size or counts[-8:].sum() >= _FLAT * pixels.size)


def _base(path: str) -> tuple[str, str]:
    """Return the name without its affix, in lower case, and the affix or ``""``."""
    stem = posixpath.splitext(posixpath.basename(path))[0].lower()
    match = _AFFIX.match(stem)
    if match is None:
        return stem, ""
    return match["base"], (match["suffix"] or match["prefix"] or "").lower()


def _kind(word: str) -> Kind:
    return "thumbnail" if word in _THUMBS else "depth" if word in _DEPTHS else "mask"


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _shot(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{posixpath.splitext(name)[0].lower()}"


def _distance(first: str, second: str) -> int:
    return (int(first, 16) ^ int(second, 16)).bit_count() if first and second else 64
