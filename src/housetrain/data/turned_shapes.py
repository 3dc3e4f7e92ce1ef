"""Low frequencies of images -> pairs that may be copies of each other: mirrored, rotated, cropped or scaled down.

In: `Hashes.shape` of image records. Out: candidate pairs with the turn that makes them most alike. It opens no file
and does not decide: see `housetrain.data.aligned_copies`.

A shape is the lowest 8x8 frequencies of the cosine transform. Mirroring an image changes the signs of its odd
frequencies, and a rotation by 90 degrees also swaps rows and columns; so all eight turns of an image are known without
its pixels. Each shape is brought into one standard turn: its two lowest frequencies positive, the horizontal one the
larger. Copies then agree whatever their turn. Where a sign or the order is nearly a tie, a crop can change it, so both
turns are compared.

Measured on 8,000 cats and dogs: of 256 million pairs of turned images, 1,711 are candidates; of copies that lack 10 %
of both sides, cut off at random, 80 % are, and 99.4 % of those that lack 5 %.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

SIZE = 8
"""Frequencies of a side of a shape."""

ALIKE = 0.85, 0.7
"""The least cosine similarity of candidates: of the lowest 5x5 weighted frequencies, and of all 8x8."""

TURNS = (
    "", "mirrored", "mirrored top to bottom", "rotated by 180°",
    "mirrored and rotated by 90°", "rotated by 90°", "rotated by 90°", "mirrored and rotated by 90°",
)  # fmt: skip
"""What each turn is called. Bit 0: mirrored left to right; bit 1: top to bottom; then bit 2: rows become columns."""

MOST = 8
"""Candidates kept per image, the most alike: sets of one kind of image have more that are alike."""

_TIE = 0.07  # difference of two frequencies of a shape, of length 1, up to which a crop can change their order
_NEAR = 0.11  # likewise, the most that a crop changes the lowest frequency: 95 % of the copies above
_SYMMETRIC = 0.02  # difference of similarity up to which an image looks the same when it is turned
_COARSE = 5  # frequencies of a side that all pairs are compared by
_ROWS, _COLUMNS = 256, 1024  # compared at once: a block stays in the processor's cache

_V, _U = np.mgrid[:SIZE, :SIZE].astype(np.float32)
_WEIGHTS = np.sqrt(np.hypot(_U, _V))  # natural images have less of high frequencies; crops change these most
_SIGNS = np.stack([(1 - 2 * (_U % 2)) ** (turn & 1) * (1 - 2 * (_V % 2)) ** (turn >> 1 & 1) for turn in range(8)])


class Candidates(NamedTuple):
    """Pairs of indices, the turn (0 to 7) that makes the left one like the right one, and how alike they then are."""

    left: Indices
    right: Indices
    turn: Indices
    alike: Array

    def where(self, chosen: npt.NDArray[np.bool_] | Indices | slice) -> Candidates:
        """Return some of them."""
        return Candidates(self.left[chosen], self.right[chosen], self.turn[chosen], self.alike[chosen])

    def in_one_turn(self, shapes: Array) -> tuple[Array, Array]:
        """Return the left shapes, turned, and the right ones."""
        return turned(shapes[self.left], self.turn), shapes[self.right]


def packed(frequencies: npt.NDArray[np.floating]) -> str:
    """Return a shape as 84 characters.

    Args:
        frequencies: float (SIZE, SIZE), the lowest frequencies of the cosine transform.
    """
    weighted = frequencies * _WEIGHTS  # the first weight, that of the mean, is 0
    scaled = weighted * (127 / max(cv2.norm(weighted, cv2.NORM_INF), 1e-6))
    return binascii.b2a_base64(np.rint(scaled, out=scaled).astype(np.int8).tobytes()[1:], newline=False).decode("ascii")


def unpacked(shapes: Sequence[str]) -> Array:
    """Return weighted shapes of length 1: float32 (N, SIZE, SIZE)."""
    values = np.frombuffer(binascii.a2b_base64("".join(shapes)), dtype=np.int8).reshape(len(shapes), -1)
    shape = np.zeros((len(shapes), SIZE * SIZE), np.float32)
    shape[:, 1:] = values
    return _unit(shape).reshape(-1, SIZE, SIZE)


def turned(shapes: Array, turns: int | Indices) -> Array:
    """Return the shapes of the turned images; one turn for all, or one each."""
    signed: Array = shapes * _SIGNS[turns]
    across = np.broadcast_to(np.asarray(turns) >> 2 & 1, len(shapes)).astype(bool)
    return np.where(across[:, np.newaxis, np.newaxis], signed.swapaxes(1, 2), signed).astype(np.float32, copy=False)


def turn_pixels(image: npt.NDArray[np.uint8], turn: int) -> npt.NDArray[np.uint8]:
    """Return a turned image."""
    image = image[:, ::-1] if turn & 1 else image
    image = image[::-1] if turn & 2 else image
    return np.ascontiguousarray(image.T if turn & 4 else image)


def frequencies_of(shapes: Array) -> Array:
    """Return the frequencies without weights; the mean, which shapes do not have, is 0."""
    return np.asarray(shapes / np.maximum(_WEIGHTS, 1), dtype=np.float32)


def best_turns(left: Array, right: Array) -> tuple[Indices, Array]:
    """Return the turn of each left shape that makes it like the right one, and their similarity."""
    alike = np.stack([np.einsum("nij,nij->n", turned(left, turn), right) for turn in range(8)])
    turns = alike.argmax(axis=0)
    return turns, alike[turns, np.arange(len(left))]


def turn_between(shape: str, other: str) -> str:
    """Return how an image is turned in comparison with its copy, in words; ``""`` if it is not, or not known."""
    if not (shape and other):
        return ""
    one = unpacked([shape, other])
    alike = [float((turned(one[:1], turn)[0] * one[1]).sum()) for turn in range(8)]
    best = int(np.argmax(alike))
    return TURNS[best] if alike[best] > alike[0] + _SYMMETRIC else ""


def candidates(shapes: Array, joined: Indices) -> Candidates:
    """Return the pairs (left < right) whose shapes are alike in some turn, about `MOST` per image.

    Args:
        shapes: What `unpacked` returned.
        joined: A number for each image, equal for those whose pairs are known: these are left out.
    """
    left, right = distinct(_alike_pairs(_standard(shapes), joined), len(shapes))
    found = Candidates(left, right, *best_turns(shapes[left], shapes[right]))
    return found.where(found.alike >= ALIKE[1])


def distinct(pairs: Indices, count: int) -> Indices:
    """Return pairs of indices below ``count``, (2, N), sorted and once each; `numpy.unique` would import for 14 ms."""
    keys = np.sort(pairs[0] * count + pairs[1])
    keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))] if len(keys) else keys
    return np.stack(np.divmod(keys, count))


def _standard(shapes: Array) -> Array:
    flipped = (shapes[:, 0, 1] < 0).astype(np.intp) + 2 * (shapes[:, 1, 0] < 0)
    return turned(shapes, flipped + 4 * (np.abs(shapes[:, 0, 1]) < np.abs(shapes[:, 1, 0])))


def _probes(standard: Array) -> tuple[Indices, Array]:
    """Return the turns of the standard shapes that a crop of the image may have, and whose they are."""
    across, down = standard[:, 0, 1], standard[:, 1, 0]
    whose, shapes = [], []
    for turn in range(8):
        could = np.ones(len(standard), dtype=bool)
        could &= (across < _TIE) | (not turn & 1)
        could &= (down < _TIE) | (not turn & 2)
        could &= (across - down < _TIE) | (not turn & 4)
        chosen = np.nonzero(could)[0]
        whose.append(chosen)
        shapes.append(turned(standard[chosen], turn))
    return np.concatenate(whose), np.concatenate(shapes)


def _alike_pairs(standard: Array, joined: Indices) -> Indices:
    """Return pairs (left < right), (2, N). Sorted by the lowest frequency, only neighbors need to be compared."""
    key = standard[:, 0, 1]
    order = np.argsort(key, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    known, keys, groups = _coarse(standard)[order], key[order], joined[order]
    whose, probes = _probes(standard)
    sequence = np.argsort(rank[whose], kind="stable")
    asked, ranks = _coarse(probes)[sequence], rank[whose][sequence]
    space, high = np.empty(_ROWS * _COLUMNS, np.float32), np.empty(_ROWS * _COLUMNS, np.bool_)
    kept = _Kept(MOST * len(standard), ALIKE[0])
    for start in range(0, len(asked), _ROWS):
        rows = asked[start : start + _ROWS]
        end = int(np.searchsorted(keys, keys[ranks[start + len(rows) - 1]] + _NEAR))
        for column in range(int(ranks[start]), end, _COLUMNS):
            block = known[column : min(column + _COLUMNS, end)]
            used = slice(len(rows) * len(block))
            similar = np.matmul(rows, block.T, out=space[used].reshape(len(rows), len(block))).ravel()
            at = np.flatnonzero(np.greater_equal(similar, kept.least, out=high[used]))
            row, place = np.divmod(at, len(block))
            one, other = ranks[start + row], place + column
            new = (one < other) & (groups[one] != groups[other])
            if new.any():
                kept.add(np.stack((order[one[new]], order[other[new]])), similar[at[new]])
    return np.sort(kept.pairs(), axis=0)


class _Kept:
    """The most alike of the pairs that are added, about as many as asked for."""

    def __init__(self, most: int, least: float) -> None:
        self.most, self.least = most, least
        self._pairs: list[Indices] = [np.empty((2, 0), np.intp)]
        self._alike: list[Array] = [np.empty(0, np.float32)]
        self._count = 0

    def add(self, pairs: Indices, alike: Array) -> None:
        """Add pairs, and forget the least alike when there are twice too many."""
        self._pairs.append(pairs)
        self._alike.append(alike)
        self._count += len(alike)
        if self._count > 2 * self.most:
            all_alike = np.concatenate(self._alike)
            best = np.argpartition(-all_alike, self.most)[: self.most]
            self._pairs, self._alike = [self.pairs()[:, best]], [all_alike[best]]
            self._count, self.least = self.most, float(all_alike[best].min())

    def pairs(self) -> Indices:
        """Return the pairs that are kept, (2, N)."""
        return np.concatenate(self._pairs, axis=1)


def _coarse(shapes: Array) -> Array:
    return _unit(shapes[:, :_COARSE, :_COARSE].reshape(len(shapes), -1))


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-6), dtype=np.float32)
