"""Pairs of similar hashes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from housetrain.data import duplicates

pytestmark = pytest.mark.usefixtures("looked")


@pytest.mark.parametrize("count", [2, 50, 3000])
def test_pairs_are_those_of_comparing_all_with_all(count: int) -> None:
    draw = np.random.default_rng(count)
    hashes = draw.integers(0, 1 << 63, count, dtype=np.uint64)
    for number in range(0, count - 1, 5):  # some that differ in a few bits
        flips = draw.choice(64, draw.integers(0, 12), replace=False).astype(np.uint64)
        hashes[number + 1] = hashes[number] ^ np.bitwise_or.reduce(np.uint64(1) << flips, initial=np.uint64(0))
    for bits in (0, 3, 8, 16):
        bands = [duplicates._band(hashes, number, bits + 1) for number in range(bits + 1)]
        by_bands = {tuple(pair) for pair in duplicates._pairs_in_bands(hashes, bands, bits).T.tolist()}
        by_blocks = {tuple(pair) for pair in duplicates._pairs_in_blocks(hashes, bits).T.tolist()}
        assert (
            by_bands
            == by_blocks
            == {tuple(pair) for pair in np.array(duplicates._close_pairs(hashes, bits)).T.tolist()}
        )
        sample = random.Random(0).sample(range(count), min(count, 60))
        for one in sample:
            near = np.flatnonzero(np.bitwise_count(hashes ^ hashes[one]) <= bits).tolist()
            assert {(min(one, other), max(one, other)) for other in near if other != one} == {
                pair for pair in by_blocks if one in pair
            }
