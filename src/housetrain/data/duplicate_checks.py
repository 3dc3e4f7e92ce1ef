"""Catalog -> findings about copies: identical files and near-duplicates, with two labels or in two splits or neither.

In: a `Catalog`. Out: what `housetrain.data.checks.check` reports. It does not search for copies: see
`housetrain.data.duplicates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from housetrain.data.duplicates import exact_groups
from housetrain.data.findings import Noticed, finding_kind, grouped, listed
from housetrain.data.split_groups import cut_chains
from housetrain.data.turned_shapes import turn_between

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.image_record import ImageRecord

_ORDER = {"test": 0, "validation": 1, "train": 2}


# ------------------------------------------------------------------------------------------------- exact duplicates
@finding_kind(
    "two-labels",
    "Identical images with different labels",
    severity="error",
    do="decide which label is right and remove the other file; until then training excludes both. If both are right: "
    "multi-label data is not supported; make a class of the combination, or train one model a label",
)
def _two_labels(catalog: Catalog) -> Iterator[Noticed]:
    return grouped(
        [group for group in exact_groups(catalog.usable) if _labels(group) > 1],
        message=lambda group: f"the same image is labeled {listed({image.label for image in group})}",
        merged=lambda n, groups: f"{groups} images have more than one label ({n:,} files)",
        detail=lambda one, group: f"labeled {one.label}, but {_other(one, group).label} as {_other(one, group).path}",
        leaves_out=lambda group: group,
    )


@finding_kind(
    "split-leak",
    "Leakage: the same image in two splits",
    severity="error",
    do="nothing to do: only one copy is used, preferably in test, then in validation, so that the test stays unbiased",
)
def _split_leak(catalog: Catalog) -> Iterator[Noticed]:
    return grouped(
        [
            sorted(group, key=lambda image: (_ORDER[image.split or "train"], image.path))
            for group in exact_groups(catalog.usable)
            if _labels(group) == 1 and _splits(group) > 1
        ],
        message=lambda group: f"the same image is in {listed({image.split or '' for image in group})}",
        merged=lambda n, groups: f"{groups} images are in more than one of train, validation and test ({n:,} files)",
        detail=lambda one, group: f"the same image as {_other(one, group).path}",
        leaves_out=lambda group: group[1:],
    )


@finding_kind(
    "exact-duplicate",
    "Exact duplicates",
    severity="warning",
    do="nothing to do: training uses the first copy and excludes the others",
)
def _exact_duplicate(catalog: Catalog) -> Iterator[Noticed]:
    return grouped(
        [group for group in exact_groups(catalog.usable) if _labels(group) == _splits(group) == 1],
        message=lambda group: f"{len(group)} files are the same image",
        merged=lambda n, groups: f"{groups} images have copies ({n:,} files)",
        detail=lambda one, group: f"the same image as {_other(one, group).path}",
        leaves_out=lambda group: group[1:],
    )


# ------------------------------------------------------------------------------------------------- near-duplicates
@finding_kind(
    "near-two-labels",
    "Near-duplicates with different labels",
    severity="warning",
    do="compare them side by side: if they show the same thing, one of them is mislabeled",
)
def _near_two_labels(catalog: Catalog) -> Iterator[Noticed]:
    return grouped(
        [group for group in catalog.near_duplicates if _labels(group) > 1],
        message=lambda group: f"near-duplicate images are labeled {listed({image.label for image in group})}",
        merged=lambda n, count: f"{count} groups of near-duplicates have more than one label ({n:,} files)",
        detail=lambda one, group: f"labeled {one.label}, {_looks(one, group)}",
    )


@finding_kind(
    "near-split-leak",
    "Leakage: near-duplicates in two splits",
    severity="warning",
    do="move near-duplicates into one split: otherwise the test overestimates the accuracy on new images",
)
def _near_split_leak(catalog: Catalog) -> Iterator[Noticed]:
    groups = [group for group in catalog.near_duplicates if _labels(group) == 1 and _splits(group) > 1]
    return grouped(
        groups,
        message=lambda group: (
            f"near-duplicate images are in {listed({image.split or '' for image in group})}" + _turned([group])
        ),
        merged=lambda n, count: (
            f"{count} groups of near-duplicates are in more than one split ({n:,} files)" + _turned(groups)
        ),
        detail=_looks,
    )


@finding_kind(
    "near-duplicate",
    "Near-duplicates",
    severity="note",
    do="nothing to do: near-duplicates are kept in the same split",
)
def _near_duplicate(catalog: Catalog) -> Iterator[Noticed]:
    groups = [group for group in catalog.near_duplicates if _labels(group) == _splits(group) == 1]
    return grouped(
        groups,
        message=lambda group: f"{len(group)} files are near-duplicates" + _turned([group]),
        merged=lambda n, count: f"{count} groups of near-duplicates ({n:,} files)" + _turned(groups),
        detail=_looks,
    )


@finding_kind(
    "turned-copies",
    "Mirrored and rotated copies were not looked for",
    severity="note",
    do="if there may be such copies, of augmented images for example, say which images belong together: --group-by",
)
def _turned_copies(catalog: Catalog) -> Iterator[Noticed]:
    if not catalog.near_copies.turned:
        yield Noticed(
            "could not tell whether there are mirrored, rotated or cropped copies: the images share one background, "
            "so any two of them look like such copies"
        )


def _looks(one: ImageRecord, group: Sequence[ImageRecord]) -> str:
    other = _other(one, group)
    how = turn_between(other.hashes.shape, one.hashes.shape)
    return f"looks like {other.path}" + f", {how}" * bool(how)


def _turned(groups: Sequence[Sequence[ImageRecord]]) -> str:
    """Return what is to be said of groups of which some images are turned."""
    shapes = ((image.hashes.shape, group[0].hashes.shape) for group in groups for image in group[1:])
    return ", some mirrored or rotated" if any(turn_between(*pair) for pair in shapes) else ""


def _labels(group: Sequence[ImageRecord]) -> int:
    return len({image.label for image in group})


def _splits(group: Sequence[ImageRecord]) -> int:
    return len({image.split for image in group})


def _other(one: ImageRecord, group: Sequence[ImageRecord]) -> ImageRecord:
    """Return an image of the group to compare with: one with another label if there is one, else the first other."""
    others = [image for image in group if image is not one]
    return next((image for image in others if image.label != one.label), others[0])


@finding_kind(
    "long-chain",
    "One scene makes up a class",
    severity="warning",
    do="add images of other scenes or recordings; until then the test accuracy is optimistic: frames beside a cut are "
    "nearly the same in train and in test",
)
def _long_chain(catalog: Catalog) -> Iterator[Noticed]:
    for chain in cut_chains(catalog):
        yield Noticed(
            f"{chain.images} of {chain.of} images of {chain.label} are one chain of near-duplicates; "
            "it is cut into parts in the order of the file names, so that each split gets some",
            chain.paths,
        )
