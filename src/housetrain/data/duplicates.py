"""Image records -> groups of exact and near-duplicates.

In: the hashes of image records. Out: groups of records. It does not judge, and opens images only where hashes cannot
tell (see `housetrain.data.shared_content`): in sets whose images share most of their content, and in long chains.

Two images are near-duplicates when both of their hashes agree: at most 8 of the 64 bits of the perceptual hash differ
(which finds candidates quickly) and at most 0.3 of the rising steps of the finer 256-bit hash (which confirms them).
Measured on 8,600 cats and dogs with 190 true pairs (the same photo at two sizes, or consecutive frames): true pairs
differ in at most 8 and 23 bits, and of all unrelated pairs within 8 bits the closest differs in 96. This finds copies
that were rescaled, recompressed, brightened, or cropped by 2 %.

Copies that were mirrored, rotated by a multiple of 90 degrees, or cropped by up to about 10 % of both sides are found
by their low frequencies (`housetrain.data.turned_shapes`) and confirmed by alignment
(`housetrain.data.aligned_copies`), outside of sets whose images share most of their content: there the finding
``turned-copies`` says that they were not looked for. Recall and false pairs:
benchmarks/RECORDS.md.

Images smaller than 64 pixels are compared with larger ones only, and those with little structure (drawings on an empty
background, handwritten digits) not at all: their hashes agree although the images differ. Their exact duplicates are
found all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from housetrain.data.aligned_copies import agree_in_own_content, aligned_pairs
from housetrain.data.chains import Chains
from housetrain.data.image_record import NearCopies
from housetrain.data.shared_content import own_content, same_pairs
from housetrain.data.turned_shapes import candidates, distinct, unpacked

if TYPE_CHECKING:
    from housetrain.data.image_record import ImageRecord

NEAR_BITS = 8
"""The most bits of the perceptual hash, of 64, in which near-duplicates differ."""

NEAR_DETAIL = 0.3
"""The most bits of the finer hash in which they differ, as a share of its rising steps."""

LEAST_SIDE = 64
"""Pixels: smaller images are not compared with each other."""

LEAST_COPY = 20
"""Pixels of the smallest copies that are looked for of larger images."""

LEAST_STEPS = 64
"""Rising (and falling) steps of the finer hash, of 256: images with fewer are not compared by their hashes."""

LEAST_STEPS_ALIGNED = 48
"""Likewise, of images that are compared by alignment, which is safer."""

LEAST_SET = 40
"""Images from which a set can be homogeneous."""

HOMOGENEOUS = 80.0
"""Bits of the finer hash in which two random images of a set differ on average, below which its images share most of
their content: photographs differ in 127 of 256, screenshots of one program in 47, parts in one frame in 19, frames of
one camera in 2."""

LONG_CHAIN = 20
"""Images of a chain from which it is compared by content, if it also has a twentieth of the set."""

Open = Callable[[Sequence[str]], npt.NDArray[np.uint8]]

_BLOCK = 64  # rows compared at once: the differences of 64 rows stay in the processor's cache


def exact_groups(images: Iterable[ImageRecord]) -> list[list[ImageRecord]]:
    """Return groups of two or more images whose files are identical, each sorted by path, in the order of paths."""
    by_content: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in images:
        if image.sha256:
            by_content[image.sha256].append(image)
    return sorted(
        (sorted(group, key=_path) for group in by_content.values() if len(group) > 1), key=lambda group: group[0].path
    )


def near_groups(
    images: Sequence[ImageRecord], open_images: Open | None = None, *, bits: int = NEAR_BITS
) -> list[list[ImageRecord]]:
    """Return the groups of `near_copies`, which has the same arguments."""
    return [list(group) for group in near_copies(images, open_images, bits=bits).groups]


def near_copies(images: Sequence[ImageRecord], open_images: Open | None = None, *, bits: int = NEAR_BITS) -> NearCopies:
    """Find groups of two or more images that look the same though their files differ.

    Of identical files only the first is compared. Groups are chains: in a burst of frames each only has to resemble
    the next.

    Args:
        images: Usable images.
        open_images: Returns small grayscale images of paths, uint8 (N, SIDE, SIDE); by default only hashes count.
        bits: The most bits of the perceptual hash, of 64, in which two may differ; 0 to 16.
    """
    first: dict[str, ImageRecord] = {}
    for image in sorted(images, key=_path):
        if image.hashes.coarse and _side(image) >= LEAST_COPY:
            first.setdefault(image.sha256, image)
    detail, steps = _detail(list(first.values()))
    some = np.minimum(steps, 256 - steps) >= LEAST_STEPS_ALIGNED
    compared, detail, steps = list(compress(first.values(), some)), detail[some], steps[some]
    is_large = np.array([_side(image) >= LEAST_SIDE for image in compared], dtype=np.bool_)
    if len(compared) < 2 or not is_large.any():
        return NearCopies(())
    large = np.nonzero(is_large & (np.minimum(steps, 256 - steps) >= LEAST_STEPS))[0]
    small = partial(_small, compared, open_images) if open_images else None
    if small and len(large) >= LEAST_SET and expected_difference(detail[large]) < HOMOGENEOUS:
        left, right = same_pairs(small(large.tolist()))
        chains = Chains(zip(large[left].tolist(), large[right].tolist(), strict=True)).parts()
        return NearCopies(_images_of(chains, compared), turned=False)
    hashes = np.frombuffer(bytes.fromhex("".join(one.hashes.coarse for one in compared)), dtype=np.uint64)
    left, right = (large[ends] for ends in _close_pairs(hashes[large], bits))
    differ = np.bitwise_count(detail[left] ^ detail[right]).sum(axis=1, dtype=np.int64)
    confirmed = differ <= NEAR_DETAIL * np.minimum(steps[left], steps[right])
    chains = Chains(zip(left[confirmed].tolist(), right[confirmed].tolist(), strict=True)).parts()
    turned = True
    if small:
        least = max(LONG_CHAIN, len(large) // 20)
        chains = [part for chain in chains for part in (_verified(chain, small) if len(chain) >= least else [chain])]
        chains, turned = _with_copies(compared, chains, is_large, small, hashes)
    return NearCopies(_images_of(chains, compared), turned)


def _images_of(chains: Iterable[Iterable[int]], compared: Sequence[ImageRecord]) -> tuple[tuple[ImageRecord, ...], ...]:
    return tuple(tuple(compared[number] for number in chain) for chain in chains)


def _with_copies(
    compared: Sequence[ImageRecord],
    chains: Sequence[Sequence[int]],
    is_large: npt.NDArray[np.bool_],
    small: Callable[[Sequence[int]], npt.NDArray[np.uint8]],
    hashes: npt.NDArray[np.uint64],
) -> tuple[list[list[int]], bool]:
    """Return the chains with mirrored, rotated, cropped and small copies, of which one of two images is large.

    And whether such copies can be told from other images of the set.
    """
    from threadpoolctl import threadpool_limits

    shapes = unpacked([image.hashes.shape for image in compared])
    known = [(chain[0], other) for chain in chains for other in chain[1:]]
    joined = np.arange(len(compared))
    for chain in chains:
        joined[chain] = chain[0]
    with threadpool_limits(1, user_api="blas"):  # matrices this small are multiplied faster by one thread
        pairs = candidates(shapes, joined)
        pairs = pairs.where(is_large[pairs.left] | is_large[pairs.right])
        aligned = aligned_pairs(pairs, shapes, small, joined, hashes)
    found = aligned or []
    for chain in Chains((pair.left, pair.right) for pair in found).parts():
        if len(chain) >= LONG_CHAIN:  # images that share a frame or a background, not copies: see `shared_content`
            own = dict(zip(chain, own_content(small(chain), components=0), strict=True))
            found = [pair for pair in found if pair.left not in own or agree_in_own_content(pair, own)]
    return Chains([*known, *((pair.left, pair.right) for pair in found)]).parts(), aligned is not None


def expected_difference(detail: npt.NDArray[np.uint64]) -> float:
    """Return in how many bits of the finer hash two random images of the set differ on average.

    Args:
        detail: Finer hashes, uint64 (N, 4).
    """
    ones = np.unpackbits(detail.view(np.uint8), axis=1).mean(axis=0)
    return float((2 * ones * (1 - ones)).sum())


def _detail(images: Sequence[ImageRecord]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the finer hashes, (N, 4), and their numbers of rising steps."""
    bits = np.frombuffer(bytes.fromhex("".join(one.hashes.fine for one in images)), dtype=np.uint64).reshape(-1, 4)
    return bits, np.bitwise_count(bits).sum(axis=1, dtype=np.int64)


def _side(image: ImageRecord) -> int:
    return min(image.header.width, image.header.height)


def _small(compared: Sequence[ImageRecord], open_images: Open, numbers: Sequence[int]) -> npt.NDArray[np.uint8]:
    return open_images([compared[number].path for number in numbers])


def _verified(chain: list[int], small: Callable[[Sequence[int]], npt.NDArray[np.uint8]]) -> list[list[int]]:
    """Return the parts of a long chain whose images agree in what the chain does not share."""
    left, right = same_pairs(small(chain), components=0)
    numbers = np.asarray(chain)
    return Chains(zip(numbers[left].tolist(), numbers[right].tolist(), strict=True)).parts()


def _close_pairs(hashes: npt.NDArray[np.uint64], bits: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the indices (left < right) of all pairs of hashes that differ in at most ``bits`` bits.

    Pigeonhole: of ``bits + 1`` bands of the hash at least one is equal in both, so only pairs within a band's bucket
    are compared. Where most images share their buckets, comparing all pairs at once is faster.
    """
    bands = [_band(hashes, number, bits + 1) for number in range(bits + 1)]
    within = sum(float((np.bincount(band).astype(np.float64) ** 2).sum()) for band in bands) / 2
    # a pair by way of a bucket costs about ten times one of a whole block
    found = _pairs_in_blocks(hashes, bits) if within > len(hashes) ** 2 / 20 else _pairs_in_bands(hashes, bands, bits)
    return found[0], found[1]


def _band(hashes: npt.NDArray[np.uint64], number: int, count: int) -> npt.NDArray[np.int64]:
    low, high = number * 64 // count, (number + 1) * 64 // count
    high = min(high, low + 16)  # a table of 65,536 buckets is enough
    return ((hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)).astype(np.int64)


def _pairs_in_bands(
    hashes: npt.NDArray[np.uint64], bands: list[npt.NDArray[np.int64]], bits: int
) -> npt.NDArray[np.intp]:
    found = [np.empty((2, 0), dtype=np.intp)]
    for band in bands:
        order = np.argsort(band, kind="stable")
        keys, sorted_hashes = band[order], hashes[order]
        at, step = np.arange(len(order)), 0
        while len(at):
            step += 1
            at = at[at + step < len(order)]
            at = at[keys[at] == keys[at + step]]
            near = at[np.bitwise_count(sorted_hashes[at] ^ sorted_hashes[at + step]) <= bits]
            if len(near):
                found.append(np.sort(np.stack((order[near], order[near + step])), axis=0))
    return distinct(np.concatenate(found, axis=1), len(hashes))


def _pairs_in_blocks(hashes: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.intp]:
    found = [np.empty((2, 0), dtype=np.intp)]
    for start in range(0, len(hashes), _BLOCK):
        close = np.bitwise_count(hashes[start : start + _BLOCK, np.newaxis] ^ hashes[np.newaxis, start:]) <= bits
        left, right = np.nonzero(close)
        later = left < right
        found.append(np.stack((left[later] + start, right[later] + start)))
    return np.concatenate(found, axis=1)


def _path(image: ImageRecord) -> str:
    return image.path
