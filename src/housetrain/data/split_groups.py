"""Near-duplicates and named groups of a catalog -> groups that stay in one split; chains too long for that are cut.

In: a `Catalog`, and named groups. Out: the group of each image, and the chains that were cut. It does not know splits.

A film of one scene is one chain of near-duplicates. As one group it would take its whole class to one split, so that
nothing is left to learn from or to test with. A chain with more than half of a class is cut into parts, in the order of
the file names, which is the order of the frames: only the frames beside a cut are alike in two splits.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from housetrain.data.split_manifest import SPLITS
from housetrain.system.text import natural_key

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.groups import ImageGroups
    from housetrain.data.image_record import ImageRecord

Keep = Literal["exact", "near", "none"]

MOST = 0.5
"""Share of a class from which a chain is cut."""

PARTS = 10
"""Parts of a chain: enough for shares of 15 % to be met by whole parts."""


@dataclass(frozen=True)
class Cut:
    """A chain that was cut.

    Attributes:
        label: The class that it has most of.
        images: Images of the chain.
        of: Images of the class.
        paths: The images, in order.
    """

    label: str
    images: int
    of: int
    paths: tuple[str, ...]


def duplicate_groups(catalog: Catalog, keep: Keep = "near") -> dict[str, str]:
    """Return the group of each usable image, so that no group is in two splits.

    Args:
        catalog: The images.
        keep: Which images are one group: ``"near"``-duplicates; only ``"exact"`` ones; ``"none"``: each is its own.

    Returns:
        Path -> key of the group: the least sha256 of its images, which does not change when files are renamed.
    """
    if keep == "none":
        return _alone(catalog)
    key = {image.sha256: image.sha256 for image in catalog.usable}
    if keep == "exact":
        return {image.path: key[image.sha256] for image in catalog.usable}
    cut = {one.paths[0] for one in cut_chains(catalog)}
    for group in catalog.near_duplicates:
        ordered = in_sequence(group)
        parts = _parts(ordered) if ordered[0].path in cut else [ordered]
        for part in parts:
            least = min(image.sha256 for image in part)
            key.update((image.sha256, least) for image in part)
    return {image.path: key[image.sha256] for image in catalog.usable}


def split_groups(catalog: Catalog, keep: Keep = "near", named: ImageGroups | None = None) -> dict[str, str]:
    """Return the group of each usable image: its duplicates, joined with its named group.

    Args:
        catalog: The images.
        keep: See `duplicate_groups`.
        named: The named groups, if there are any.

    Returns:
        Path -> key of the group. A named group has the key of its name, so that a new image of it joins its side; of
        named groups that share near-duplicates, the least key.
    """
    alike = duplicate_groups(catalog, keep)
    if named is None:
        return alike
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    own = {path: key for path, key in named.keys().items() if path in alike}
    place = {key: number for number, key in enumerate({*alike.values(), *own.values()})}
    left, right = [place[alike[path]] for path in own], [place[key] for key in own.values()]
    edges = coo_array((np.ones(len(own), dtype=np.int8), (left, right)), shape=(len(place), len(place)))
    component = connected_components(edges, directed=False)[1]
    least: dict[int, str] = {}
    for keys in (sorted(set(own.values())), sorted(set(alike.values()))):
        for key in keys:
            least.setdefault(int(component[place[key]]), key)
    return {path: least[int(component[place[key]])] for path, key in alike.items()}


def _alone(catalog: Catalog) -> dict[str, str]:
    """Return a group for each image: its content, for a further copy also its path."""
    seen: set[str] = set()
    groups = {}
    for image in catalog.usable:
        again = image.sha256 in seen
        seen.add(image.sha256)
        text = f"{image.sha256}:{image.path}".encode("utf-8", "surrogatepass")
        groups[image.path] = hashlib.sha256(text).hexdigest() if again else image.sha256
    return groups


def cut_chains(catalog: Catalog) -> list[Cut]:
    """Return the chains of near-duplicates that are too long to stay in one split."""
    counts = catalog.counts()
    found = []
    for group in catalog.near_duplicates:
        label, images = Counter(image.label for image in group).most_common(1)[0]
        if len(group) >= len(SPLITS) and images > MOST * counts[label]:
            found.append(Cut(label, images, counts[label], tuple(image.path for image in in_sequence(group))))
    return found


def in_sequence(group: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Return images in the order of their paths, numbers by value: ``2.jpg`` before ``10.jpg``."""
    return sorted(group, key=lambda image: natural_key(image.path))


def _parts(ordered: Sequence[ImageRecord]) -> list[Sequence[ImageRecord]]:
    """Cut each class of a chain into parts of nearly equal length."""
    parts: list[Sequence[ImageRecord]] = []
    for label in sorted({image.label for image in ordered}):
        own = [image for image in ordered if image.label == label]
        count = min(PARTS, len(own))
        bounds = [round(number * len(own) / count) for number in range(count + 1)]
        parts += [own[low:high] for low, high in itertools.pairwise(bounds)]
    return parts
