"""Groups of images -> splits in which each class has its share, as near as whole groups allow.

In: how many images of each class a group has, and where each group is. Out: where it is to be. It does not know images.

The problem of scikit-learn's ``StratifiedGroupKFold``, with two differences: a group may stay where it was before, and
others move only where that brings a class nearer to its share. Groups move one at a time, the best move first; of
equally good moves, that of the group nearest to the boundary in the hash order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from housetrain.data.split_manifest import SplitName

_MISSING = 10.0
"""Cost of a split without an image of a class, in shares of a class."""


def meet_shares(
    order: Sequence[str],
    labels: Mapping[str, Mapping[str, int]],
    assigned: dict[str, SplitName],
    *,
    wanted: SplitName,
    targets: Mapping[str, float],
    by_chance: Collection[str],
    fixed: Collection[str],
) -> None:
    """Move groups into or out of a split until no move brings the classes nearer to their shares.

    Args:
        order: The groups, those that are to be in ``wanted`` first.
        labels: Group -> class -> images.
        assigned: Group -> split; changed.
        wanted: Test, or validation after it.
        targets: Class -> images that ``wanted`` should have.
        by_chance: Classes so large that their share is left to the hash order.
        fixed: Groups that stay where they are.
    """
    classes = sorted(targets)
    sizes = np.array([[labels[group].get(label, 0) for label in classes] for group in order], dtype=np.float64)
    goal = np.array([targets[label] for label in classes])
    weights = np.where([label in by_chance for label in classes], 0.0, 1 / np.maximum(sizes.sum(axis=0), 1))
    least = 2 if wanted == "test" else 1  # groups of a class that must be left for validation and train
    rest: tuple[SplitName, ...] = ("train", "validation") if wanted == "test" else ("train",)
    movable = np.array([group not in fixed for group in order])

    def cost(have: NDArray[np.float64], left: NDArray[np.float64]) -> NDArray[np.float64]:
        missing = (have <= 0).sum(axis=-1) + (left < least).sum(axis=-1)
        return np.asarray(abs(have - goal) @ weights + _MISSING * missing)

    for _ in order:
        inside = np.array([assigned[group] == wanted for group in order])
        outside = np.array([assigned[group] in rest for group in order])
        have, left = sizes[inside].sum(axis=0), (sizes[outside] > 0).sum(axis=0)
        moves = np.r_[np.flatnonzero(outside & movable), np.flatnonzero(inside & movable)[::-1]]
        sign = np.where(inside[moves], -1.0, 1.0)[:, np.newaxis]
        costs = cost(have + sign * sizes[moves], left - sign * (sizes[moves] > 0))
        if not len(moves) or costs.min() >= cost(have, left) - 1e-9:
            return
        best = moves[int(costs.argmin())]
        assigned[order[best]] = "train" if inside[best] else wanted
