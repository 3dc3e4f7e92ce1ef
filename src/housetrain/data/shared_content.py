"""Near-duplicates among images that share most of their content: one camera, one lamp, one frame.

In: small gray images. Out: which pairs are near-duplicates once what all images share is removed.
It opens no file and does not know records.

Hashes compare whole images. Where all images of a set show the same frame, they agree although each shows another
part. So the mean image, and the main ways in which the images of the set vary together (brightness, small shifts), are
removed first: principal components, as in eigenfaces (Turk and Pentland, 1991). What is left is what an image has of
its own, and two images are near-duplicates when that agrees.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

SIDE = 64
"""Pixels of a side of the compared images."""

AGREE = 0.6, 0.9
"""Least and most correlation, of what two images have of their own, from which they are near-duplicates. Between these
the set decides: halfway from the correlation that one in a thousand random pairs has to 1. On parts in one frame, with
shifts of two pixels and turns of one degree, unrelated pairs reach 0.77, recompressed and brightened copies 0.96."""

NOTHING = 0.6
"""Gray levels, of 255: standard deviation of what an image has of its own, up to which it has nothing: frames of an
unchanged scene, which differ by the noise of the sensor only."""

SMOOTH = 0.5, 3.0
"""Gray levels: standard deviation of the finest detail between which an image is smooth, such as an X-ray image. There
two images of a kind agree in all but the noise of the detector, which tells copies from others."""

DETAIL = 0.3
"""Least correlation of the finest detail of smooth near-duplicates. Drawn X-ray images with noise of 2.5 gray levels:
copies recompressed at quality 80 reach 0.61 or more, all other pairs 0.09 at most."""

COMPONENTS = 8
"""The most common ways of varying that are removed, with at least forty images for each."""

_EDGE = 2  # pixels
_BLOCK = 256  # rows compared at once
_PAIRS = 20_000  # random pairs that say what correlation is usual in the set
_SAMPLE = 512  # images that the components are computed from


def same_pairs(
    images: npt.NDArray[np.uint8], *, components: int = COMPONENTS
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the pairs of images that agree in what the set does not share.

    Args:
        images: uint8 (N, SIDE, SIDE), the whole set.
        components: The most principal components to remove; 0 removes the mean only.

    Returns:
        Indices (left < right) of the pairs.
    """
    own = own_content(images, components=components)
    spread = own.std(axis=1)
    own /= (np.maximum(spread, 1e-6) * np.sqrt(own.shape[1]))[:, np.newaxis]
    one, other = np.random.default_rng(0).integers(0, len(images), (2, _PAIRS))
    usual = np.quantile([own[i] @ own[j] for i, j in zip(one, other, strict=True) if i != j] or [0.0], 0.999)
    least = float(np.clip((usual + 1) / 2, *AGREE))
    nothing = spread <= NOTHING
    detail, smooth = _finest_detail(images)
    lefts, rights = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for start in range(0, len(own), _BLOCK):
        block = own[start : start + _BLOCK]
        agree = block @ own[start:].T
        same = agree >= least
        same |= nothing[start : start + _BLOCK, np.newaxis] & nothing[np.newaxis, start:]
        if smooth[start : start + _BLOCK].any():
            both = smooth[start : start + _BLOCK, np.newaxis] & smooth[np.newaxis, start:]
            copies = detail[start : start + _BLOCK] @ detail[start:].T >= DETAIL
            same = np.where(both, copies & (agree >= AGREE[0]), same)
        left, right = np.nonzero(same)
        later = left < right
        lefts.append(left[later] + start)
        rights.append(right[later] + start)
    return np.concatenate(lefts), np.concatenate(rights)


def own_content(images: npt.NDArray[np.uint8], *, components: int) -> npt.NDArray[np.float32]:
    """Return what each image does not share with the set, in gray levels: float32 (N, SIDE * SIDE).

    Args:
        images: uint8 (N, SIDE, SIDE).
        components: The most principal components to remove; 0 removes the mean only.
    """
    flat = images.reshape(len(images), -1).astype(np.float32)
    # brightness and contrast of the lamp: each image is fitted to the mean image first
    mean = flat.mean(axis=0)
    centered = mean - mean.mean()
    gain = (flat - flat.mean(axis=1, keepdims=True)) @ centered / max(float(centered @ centered), 1e-6)
    rest = flat - flat.mean(axis=1, keepdims=True) - gain[:, np.newaxis] * centered
    count = min(components, len(images) // 40)
    if count:
        step = max(1, len(rest) // _SAMPLE)
        basis = np.linalg.svd(rest[::step][:_SAMPLE], full_matrices=False)[2][:count]
        rest -= (rest @ basis.T) @ basis
    own: npt.NDArray[np.float32] = rest - rest.mean(axis=1, keepdims=True)
    return own


def _finest_detail(images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return what a blur of one pixel removes, each of length 1, and which images are smooth."""
    fine = np.stack([image - cv2.GaussianBlur(image, (0, 0), 1) for image in images.astype(np.float32)])
    fine = fine[:, _EDGE:-_EDGE, _EDGE:-_EDGE].reshape(len(images), -1)  # at the edges a blur changes all alike
    fine -= fine.mean(axis=1, keepdims=True)
    spread = fine.std(axis=1)
    fine /= (np.maximum(spread, 1e-6) * np.sqrt(fine.shape[1]))[:, np.newaxis]
    return fine, (spread > SMOOTH[0]) & (spread < SMOOTH[1])
