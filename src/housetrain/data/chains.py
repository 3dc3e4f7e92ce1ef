"""Pairs -> chains: what is joined by pairs, directly or through others (a union-find structure).

In: pairs of numbers. Out: connected components. It does not know what the numbers stand for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


class Chains:
    """Connected components of pairs that are given one after the other."""

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._parent: dict[int, int] = {}
        for one, other in pairs:
            self.join(one, other)

    def join(self, one: int, other: int) -> None:
        """Join two numbers, and what they are joined with."""
        low, high = sorted((self._root(one), self._root(other)))
        self._parent[high] = low

    def joined(self, one: int, other: int) -> bool:
        """Return whether two numbers are in one chain."""
        return one == other or (one in self._parent and other in self._parent and self._root(one) == self._root(other))

    def parts(self) -> list[list[int]]:
        """Return the chains, each sorted, in the order of their least members."""
        chains: defaultdict[int, list[int]] = defaultdict(list)
        for number in sorted(self._parent):
            chains[self._root(number)].append(number)
        return [chains[number] for number in sorted(chains)]

    def _root(self, number: int) -> int:
        parent = self._parent
        parent.setdefault(number, number)
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number
