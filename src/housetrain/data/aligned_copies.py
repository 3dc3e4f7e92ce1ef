"""Candidate pairs -> the pairs that are copies: one image aligned with a part of the other.

In: candidates of `housetrain.data.turned_shapes`, small gray images of those that are left. Out: the pairs that agree.
It does not find candidates and does not know records.

Two steps, so that few images are opened. First the crop is estimated from the shapes alone: the frequencies of a
crop are a linear function of those of the whole, one matrix for each side, and Gauss-Newton finds scale and place of
both sides. Then the two images of 64x64 pixels are aligned (Evangelidis and Psarakis 2008, the ECC criterion), and
must agree in what both show: in gray values and, separately, in what a blur removes. The second is what tells a copy
from an image of the same composition.

Measured on 8,000 cats and dogs and on planted copies (5 and 10 % crops, thumbnails, mirrored, recompressed,
brightened): copies agree by 0.95 in gray values and by 0.9 in detail; two frames of one scene by 0.98 and 0.78; of the
other pairs that fit, the closest by 0.945 and 0.57, and 0.78 and 0.68.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from housetrain.data.chains import Chains
from housetrain.data.turned_shapes import SIZE, Array, Candidates, Indices, frequencies_of, turn_pixels

FITS = 0.9
"""The least similarity of the weighted frequencies of a part and of the fitted crop of the whole."""

GRAY = 0.95
"""The least correlation of the gray values of copies."""

DETAIL = 0.75
"""The least correlation of their details."""

CROWD = 12
"""Images from which a component of pairs that fit must be `DENSE`. One of at most `MOST_COPIES` can be copies of one
image: of 2,624 solar cells 752 are in one component with 7 % of its pairs, of 8,000 cats and dogs 7 with 38 %."""

DENSE = 0.4
"""The least share of the pairs of such a component that fit."""

MOST_COPIES = 40
"""The most images of a component that can be copies."""

ONE_KIND = 0.05
"""The share of images in such components from which a set is of one kind, and no pair of it is called a copy: of 53
pairs of solar cells that would be, a tenth to a third are different cells."""

SYMMETRIC, CROPPED = 0.05, 0.03
"""Up to this difference of similarity a turned image looks as it was, and up to this share of a side it is not cropped.
Such pairs must agree in their hashes, too: parts in one frame agree by 0.95 in gray values and detail, but their hashes
differ in 14 to 22 bits."""

UNMOVED_BITS = 8
"""The most bits of the perceptual hash in which copies differ that are neither turned nor cropped."""

OWN = 0.6
"""The least correlation of what two images of a long chain do not share with it."""

STEPS = 0.45
"""The least agreement of the steps from pixel to pixel of 32x32, which count the same where there is little contrast:
of 10 % crops 99 in 100 reach 0.49; pairs of parts in one frame that agree otherwise have 0.41 at most."""

OVERLAP = 0.4
"""The least share of the smaller image that both show."""

_HOPELESS = 0.88  # correlation of gray values below which images are not aligned further
_FAILURES = 3  # pairs of an image that do not agree after which its other pairs, which are less alike, are given up
_EDGE = 2  # pixels at which a blur knows too little
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 1e-3)

_LEAST_SCALE, _MOST_SCALE, _OUTSIDE = 0.7, 1.05, 0.05
_STEPS = ((4, 0.0), (5, 0.8), (7, 0.85), (SIZE, 0.88))
"""Of each step: the frequencies of a side that are fitted, and the similarity below which a pair is given up after."""

_CHUNK = 4096  # pairs fitted at once
_V, _U = np.mgrid[:SIZE, :SIZE].astype(np.float32)
_WEIGHTS: Array = np.sqrt(np.hypot(_V, _U), dtype=np.float32)
_SAMPLES: Array = np.asarray((np.arange(16) + 0.5) / 16, dtype=np.float32)
_NUMBER: Array = np.arange(SIZE, dtype=np.float32)
_NORM: Array = np.sqrt(np.where(_NUMBER == 0, 1, 2) / np.float32(16), dtype=np.float32)
_COSINES: Array = (_NORM[:, np.newaxis] * np.cos(np.pi * _NUMBER[:, np.newaxis] * _SAMPLES)).astype(np.float32)


class Aligned(NamedTuple):
    """A pair of copies: how the left image is turned, and what the part shows of the whole.

    The whole is the left image, or the right one if ``swapped``.
    """

    left: int
    right: int
    turn: int
    box: Array
    swapped: bool

    def of(self, left: npt.NDArray[Any], right: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the images as whole and part, in one turn."""
        left = turn_pixels(left, self.turn)
        return (right, left) if self.swapped else (left, right)


def aligned_pairs(
    pairs: Candidates,
    shapes: Array,
    open_images: Callable[[Sequence[int]], npt.NDArray[np.uint8]],
    joined: Indices,
    hashes: npt.NDArray[np.uint64],
) -> list[Aligned] | None:
    """Return candidates that are copies, as many as it takes to join all that belong together.

    Args:
        pairs: Candidates.
        shapes: The weighted shapes that their indices refer to.
        open_images: Returns the small gray images of indices, uint8 (N, SIDE, SIDE).
        joined: A number for each image, equal for those that are joined already.
        hashes: Their perceptual hashes.

    Returns:
        ``None`` for a set of one kind, in which copies cannot be told from other images: see `ONE_KIND`.
    """
    count = len(pairs.left)
    similar, boxes, swapped = np.empty(count, np.float32), np.empty((count, 4), np.float32), np.empty(count, np.bool_)
    for start in range(0, count, _CHUNK):
        some = slice(start, start + _CHUNK)
        similar[some], boxes[some], swapped[some] = fitted_crops(*pairs.where(some).in_one_turn(shapes))
    order = np.argsort(-similar, kind="stable")
    order = order[similar[order] >= FITS]
    crowded = in_crowds(joined[pairs.left[order]], joined[pairs.right[order]])
    if len(set(joined[pairs.left[order]][crowded].tolist())) > ONE_KIND * len(shapes):
        return None
    order = order[~crowded]
    moved = _moved(shapes[pairs.left[order]], shapes[pairs.right[order]], pairs.alike[order], boxes[order])
    differ = np.bitwise_count(hashes[pairs.left[order]] ^ hashes[pairs.right[order]])
    order = order[moved | (differ <= UNMOVED_BITS)]
    ends = sorted({*pairs.left[order].tolist(), *pairs.right[order].tolist()})
    images = dict(zip(ends, open_images(ends), strict=True)) if ends else {}
    found, failed, chains = [], Counter[int](), Chains()
    for number in order.tolist():
        one, other, turn = int(pairs.left[number]), int(pairs.right[number]), int(pairs.turn[number])
        if chains.joined(*joined[[one, other]].tolist()) or max(failed[one], failed[other]) >= _FAILURES:
            continue
        pair = Aligned(one, other, turn, boxes[number], bool(swapped[number]))
        if agrees(*pair.of(images[one], images[other]), pair.box):
            chains.join(*joined[[one, other]].tolist())
            found.append(pair)
        else:
            failed.update((one, other))
    return found


def _moved(left: Array, right: Array, alike: Array, boxes: Array) -> npt.NDArray[np.bool_]:
    """Return which pairs are turned or cropped: they are less alike as they are, or the part is not the whole."""
    turned_ = alike - np.einsum("nij,nij->n", left, right) > SYMMETRIC
    cropped = np.abs(boxes - np.array([1, 0, 1, 0], np.float32)).max(axis=1) > CROPPED
    return np.asarray(turned_ | cropped, dtype=np.bool_)


def in_crowds(left: Indices, right: Indices) -> npt.NDArray[np.bool_]:
    """Return which pairs are in a component that is too large, or too loosely connected, for copies of one image.

    Parts in one frame, or digits, are all alike in some turn: each fits some others, which fit others again. Nothing
    tells a mirrored copy among them from another part.
    """
    pairs = set(zip(np.minimum(left, right).tolist(), np.maximum(left, right).tolist(), strict=True))
    crowded: set[int] = set()
    parts = Chains(pairs).parts()
    part_of = {number: place for place, part in enumerate(parts) for number in part}
    links = Counter(part_of[one] for one, _ in pairs)
    for place, part in enumerate(parts):
        density = links[place] / (len(part) * (len(part) - 1) / 2)
        if len(part) > MOST_COPIES or (len(part) >= CROWD and density < DENSE):
            crowded.update(part)
    return np.array([one in crowded for one in left.tolist()], dtype=np.bool_)


def agree_in_own_content(pair: Aligned, own: Mapping[int, Array]) -> bool:
    """Return whether a pair agrees once what the images of its chain share is removed.

    Args:
        pair: A pair that agrees as a whole.
        own: What `housetrain.data.shared_content.own_content` returned, by index.
    """
    side = int(np.sqrt(len(own[pair.left])))
    whole, part = pair.of(own[pair.left].reshape(side, side), own[pair.right].reshape(side, side))
    return _correlations(whole, part, _map_of(pair.box, side))[0] >= OWN


def agrees(whole: npt.NDArray[Any], part: npt.NDArray[Any], box: Array) -> bool:
    """Return whether an image agrees with a part of another, in gray values and in detail.

    Args:
        whole: uint8 or float32 (SIDE, SIDE).
        part: Likewise.
        box: What the part shows of the whole: a row of what `fitted_crops` returned.
    """
    map_ = _map_of(box, len(whole))
    whole, part = np.asarray(whole, np.float32), np.asarray(part, np.float32)
    seen = _correlations(whole, part, map_)
    if _enough(seen):
        return True
    if seen[0] < _HOPELESS:
        return False
    with contextlib.suppress(cv2.error):  # it did not converge
        everywhere = np.ones(part.shape, np.uint8)
        map_ = np.asarray(cv2.findTransformECC(part, whole, map_, cv2.MOTION_AFFINE, _STOP, everywhere, 3)[1])
    return _enough(_correlations(whole, part, map_))


def _enough(seen: tuple[float, float, float]) -> bool:
    return seen[0] >= GRAY and seen[1] >= DETAIL and seen[2] >= STEPS


def _map_of(box: Array, side: int) -> Array:
    """Return the affine map from pixels of the part to those of the whole, (2, 3)."""
    width, left, height, top = (float(value) for value in box)
    # between centers of pixels
    return np.array([[width, 0, (width - 1) / 2 + left * side], [0, height, (height - 1) / 2 + top * side]], np.float32)


def _correlations(whole: Array, part: Array, map_: Array) -> tuple[float, float, float]:
    """Return the correlations of gray values and of details, and the agreement of steps, where both show something."""
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, part.shape[::-1]
    crop: Any = cv2.warpAffine(whole, map_, size, flags=flags, borderMode=cv2.BORDER_REFLECT)
    both = cv2.warpAffine(np.ones_like(whole), map_, size, flags=flags)[_EDGE:-_EDGE, _EDGE:-_EDGE] > 0.99
    if np.count_nonzero(both) < OVERLAP * part.size:
        return 0.0, 0.0, 0.0
    one, other = (_blurred(image, 0.7) for image in (crop, part))  # as blurred as the resampled one
    fine, finer = (image - _blurred(image, 2) for image in (one, other))
    gray, detail = (_correlation(first[_EDGE:-_EDGE, _EDGE:-_EDGE][both], second[_EDGE:-_EDGE, _EDGE:-_EDGE][both])
                    for first, second in ((one, other), (fine, finer)))  # fmt: skip
    return gray, detail, _agreement_of_steps(crop, part, np.pad(both, _EDGE))


def _agreement_of_steps(one: Array, other: Array, both: npt.NDArray[np.bool_]) -> float:
    """Return 1 less the steps to a brighter neighbor that differ, as a share of those of the image with fewer."""
    half = len(one) // 2
    seen = both.reshape(half, 2, half, 2).all(axis=(1, 3))
    small = [np.rint(cv2.resize(image, (half, half), interpolation=cv2.INTER_AREA)) for image in (one, other)]
    differ, fewer = 0, np.zeros(2)
    for axis in (0, 1):
        pairs = seen & np.roll(seen, -1, axis)
        first, second = ((np.roll(image, -1, axis) > image) & pairs for image in small)
        differ += int(np.count_nonzero(first ^ second))
        fewer += np.count_nonzero(first), np.count_nonzero(second)
    return 1 - differ / max(1.0, float(fewer.min()))


def _blurred(image: Array, sigma: float) -> Array:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)


def _correlation(one: Array, other: Array) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other) / max(float(np.sqrt((one @ one) * (other @ other))), 1e-6)


def fitted_crops(left: Array, right: Array) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Fit a crop of one image of each pair, the whole, to the other, its part.

    Args:
        left: Weighted shapes, float32 (N, SIZE, SIZE).
        right: Likewise, in the same turn.

    Returns:
        The similarity of each pair; its crop as scale and start of the columns, scale and start of the rows, in shares
        of the side of the whole, (N, 4); and whether the whole is the right image.
    """
    left, right = frequencies_of(left), frequencies_of(right)
    none = np.tile(np.array([1, 0, 1, 0], np.float32), (len(left), 1))
    first = none
    for size in (4, 5):
        first = _improved(left, right, first, size, most=1 / _LEAST_SCALE)
    swapped = first[:, 0] * first[:, 2] > 1
    whole = np.where(swapped[:, np.newaxis, np.newaxis], right, left)
    part = np.where(swapped[:, np.newaxis, np.newaxis], left, right)
    best, best_box, box = _similarity(left, right), none.copy(), none
    alive = np.arange(len(left))
    for size, least in _STEPS:
        box[alive] = _improved(whole[alive], part[alive], box[alive], size)
        found = _similarity(_cropped(whole[alive], box[alive]), part[alive])
        better = found > best[alive]
        best[alive[better]], best_box[alive[better]] = found[better], box[alive[better]]
        alive = alive[best[alive] >= least]
    return best, best_box, swapped


def _matrices(scale: Array, start: Array, size: int = SIZE) -> tuple[Array, Array]:
    """Return, for each crop of a side, the matrix from frequencies of the whole to its own: (N, whole, own).

    And the cosines' phases, that the derivatives are computed from.
    """
    at = scale[:, np.newaxis, np.newaxis] * _SAMPLES + start[:, np.newaxis, np.newaxis]
    phase = np.float32(np.pi) * _NUMBER[:size, np.newaxis] * at
    matrix: Array = (_NORM[:size, np.newaxis] * np.cos(phase)) @ _COSINES[:size].T
    return matrix, phase


def _derivatives(phase: Array) -> tuple[Array, Array]:
    """Return the derivatives of a matrix by scale and start."""
    size = phase.shape[1]
    slope = np.asarray(-np.pi * (_NUMBER * _NORM)[:size, np.newaxis] * np.sin(phase), dtype=np.float32)
    by_scale: Array = np.multiply(slope, _SAMPLES, dtype=np.float32) @ _COSINES[:size].T
    by_start: Array = slope @ _COSINES[:size].T
    return by_scale, by_start


def _cropped(whole: Array, box: Array) -> Array:
    """Return the frequencies of the crops."""
    across, down = _matrices(box[:, 0], box[:, 1])[0], _matrices(box[:, 2], box[:, 3])[0]
    return down.swapaxes(1, 2) @ (whole @ across)


def _improved(whole: Array, part: Array, box: Array, size: int, most: float = _MOST_SCALE) -> Array:
    """Return the boxes after one step of Gauss-Newton on the lowest frequencies, with a free contrast."""
    whole, part, weights = whole[:, :size, :size], part[:, :size, :size], _WEIGHTS[:size, :size].ravel()
    (across, across_phase), (down, down_phase) = (_matrices(box[:, at], box[:, at + 1], size) for at in (0, 2))
    half, other = whole @ across, down.swapaxes(1, 2) @ whole
    crop = down.swapaxes(1, 2) @ half
    slopes = [other @ one for one in _derivatives(across_phase)]
    slopes += [one.swapaxes(1, 2) @ half for one in _derivatives(down_phase)]
    columns = np.stack((*slopes, crop), axis=1).reshape(len(whole), 5, size * size) * weights
    crop, target = columns[:, 4], part.reshape(len(part), size * size) * weights
    contrast = (crop * target).sum(axis=1) / np.maximum((target**2).sum(axis=1), 1e-9)
    target = target * np.clip(contrast, 0.2, 5)[:, np.newaxis]
    normal = columns @ columns.swapaxes(1, 2)
    normal += 1e-4 * np.trace(normal, axis1=1, axis2=2)[:, np.newaxis, np.newaxis] * np.eye(5, dtype=np.float32)
    step = np.linalg.solve(normal, columns @ (target - crop)[:, :, np.newaxis])[:, :4, 0]
    moved: Array = box + np.clip(step, -0.12, 0.12)
    for scale, start in ((0, 1), (2, 3)):
        moved[:, scale] = np.clip(moved[:, scale], _LEAST_SCALE, most)
        moved[:, start] = np.clip(moved[:, start], -_OUTSIDE, 1 + _OUTSIDE - moved[:, scale])
    return moved


def _similarity(crop: Array, part: Array) -> Array:
    one, other = ((values * _WEIGHTS).reshape(-1, SIZE * SIZE) for values in (crop, part))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    similar: Array = (one * other).sum(axis=1) / np.maximum(lengths, np.float32(1e-6))
    return similar
