"""Two folders of the same file names that show the same things twice: an image and what it becomes, and no classes.

In: a folder and the names of the folders in it. Out: an error where their names and a few of their images say that
they are pairs (``noisy`` and ``clean``, ``input`` and ``target``, ``x`` and ``y`` of masks). It opens at most
`_OPENED` images of each.

File names alone decide nothing: many sets number the images of each class from 0. A folder is the other version of
one beside it when an image resembles its namesake more than all others.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from housetrain.data.companions import is_flat
from housetrain.data.folder_layout import folders, images_in
from housetrain.data.folder_tree import LayoutNote
from housetrain.data.label_proposals import proposals
from housetrain.errors import DecodeError, FolderError
from housetrain.system.text import format_list

_FIRST = frozenset(
    (
        *("input", "source", "src", "x", "a", "noisy", "noise", "low", "lr", "lq", "blur", "blurry", "blurred", "hazy"),
        *("rain", "rainy", "degraded", "distorted", "image", "img", "images", "photo", "photos", "shadow"),
    )
)
_SECOND = frozenset(
    (
        *("target", "output", "y", "b", "clean", "clear", "high", "hr", "hq", "sharp", "gt", "groundtruth", "label"),
        *("labels", "lbl", "reference", "ref", "restored", "edges", "sketch", "sketches", "shadow free"),
    )
)
_SAME_NAMES = 0.8  # share of the files that must have a namesake
_OPENED = 8  # pairs
_LEAST = 3  # pairs of images and masks
_LEAST_FIT, _FIT = 6, 0.85  # pairs that are compared, and share that must fit: by chance in one of 10,000 folders
_SIDE = 64  # pixels
_MOST_CLASSES = 4  # with more, pairs of classes are not looked at
_GROUP = r"([^/]+)[.]\w+$"


def refuse_pairs(root: Path, names: Sequence[str]) -> None:
    """Refuse a folder of pairs.

    Args:
        root: The folder.
        names: The folders that would be the classes.

    Raises:
        FolderError: Two folders are called like the two sides of a pair, hold files of the same names, and their
            images fit each other, or one holds masks.
    """
    first, second = sorted(names, key=lambda name: _plain(name) not in _FIRST) if len(names) == 2 else ("", "")
    if _plain(first) not in _FIRST or _plain(second) not in _SECOND:
        return
    shared, one, other = _namesakes(root, first, second)
    masks = sum(map(is_flat, other)) >= 0.8 * len(other) > 0 and sum(map(is_flat, one)) <= 0.5 * len(one)
    if not masks and not fit(one, other):
        return
    what = f"{first} holds images and {second} their masks" if masks else f"{first} and {second} show the same images"
    given = root / first
    flags = [proposal.flag for proposal in proposals(given)[:1]]
    command = " ".join(["housetrain run", shlex.quote(str(given)), *(flags or ["--labels FILE"])])
    raise FolderError(
        f"{format_list([first, second])} look like pairs, not classes: {what}, file by file ({shared:,} names)",
        expected="one label an image: class folders, or a table of labels",
        do=f"give one of the two with its labels: {command}; where these folders are the classes: --class-level 1",
        folder=str(root),
    )


def pair_notes(root: Path, names: Sequence[str]) -> list[LayoutNote]:
    """Return what is to be said where two of a few classes show the same things, file by file: real and fake ones."""
    notes = []
    for first, second in combinations(names, 2) if len(names) <= _MOST_CLASSES else ():
        shared, one, other = _namesakes(root, first, second)
        if fit(one, other):
            message = (
                f"{first} and {second} hold {shared:,} files of the same names that show the same images: one of a "
                "pair may be in train and the other in test"
            )
            do = f"--group-by {shlex.quote(_GROUP)} keeps each pair in one split"
            notes.append(LayoutNote("paired-folders", message, f"{do}; if these are no classes, give one folder"))
    return notes


def _namesakes(root: Path, first: str, second: str) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
    """Return how many files of two flat folders have the same names, and the pixels of a few, in the same order."""
    from housetrain.data.image_metadata import SmallGray

    none = np.empty((0, _SIDE, _SIDE), np.uint8)
    if folders(root / first) or folders(root / second):
        return 0, none, none
    one, other = (
        {PurePosixPath(name).stem: f"{folder}/{name}" for name in images_in(root / folder)}
        for folder in (first, second)
    )
    shared = sorted(set(one) & set(other))
    if len(shared) < _LEAST or len(shared) < _SAME_NAMES * max(len(one), len(other)):
        return 0, none, none
    some = shared[:: max(1, len(shared) // _OPENED)][:_OPENED]
    open_one = SmallGray(root, _SIDE)
    pairs = []
    for stem in some:
        with contextlib.suppress(DecodeError):  # a file that is no image shows nothing; the scan names it
            pairs.append((open_one(one[stem]), open_one(other[stem])))
    if len(pairs) < _LEAST:
        return 0, none, none
    return len(shared), np.stack([left for left, _ in pairs]), np.stack([right for _, right in pairs])


def fit(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Return whether images resemble their namesakes more than all others: nearly all do, where one in N would.

    Args:
        one: (N, side, side).
        other: Likewise, in the same order.
    """
    if len(one) < _LEAST_FIT:
        return False
    for left, right in ((one, other), (_edges(one), _edges(other))):
        alike = np.abs(_normal(left) @ _normal(right).T)
        if (alike.argmax(axis=1) == np.arange(len(alike))).mean() >= _FIT:
            return True
    return False


def _edges(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    down, across = np.gradient(images.astype(np.float32), axis=(1, 2))
    return np.asarray(np.hypot(down, across), dtype=np.float32)


def _normal(images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return np.asarray(flat / length, dtype=np.float32)


def _plain(name: str) -> str:
    return re.sub(r"[\W\d_]+", " ", name).strip().lower().removesuffix(" images").removesuffix("s") or name.lower()
