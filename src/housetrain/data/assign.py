"""Groups of images -> splits: the rules that decide which group is in train, validation and test.

In: images with their groups, and the position of each group in the hash order. Out: group -> split. It does not know
where groups come from.

Test is at the low end of the hash order and validation at the high end, so that neither moves when the share of the
other changes. In large classes the position alone decides, and adding an image moves no other. In small classes, and in
those with a large group, chance would be too coarse: the groups nearest to the boundary move until the class has its
share, to within one image where the groups allow it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from housetrain.data.group_shares import meet_shares
from housetrain.data.split_manifest import SplitName

if TYPE_CHECKING:
    from housetrain.data.image_record import ImageRecord

SMALL_CLASS = 500
"""Images below which a class gets its exact share: the share of 500 images by chance alone varies by a tenth."""

LARGE_GROUP = 0.05
"""Share of a class from which one group makes chance too coarse."""

Labels = Mapping[str, Counter[str]]
"""Group -> how many images of each class it has."""


def position(seed: int, group: str) -> float:
    """Return the position of a group in the hash order: in [0, 1), given by seed and content."""
    # 53 bits: more than a float holds would round up to 1.0.
    return (int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big") >> 11) / 2**53


def assign(
    images: Sequence[ImageRecord],
    groups: Mapping[str, str],
    *,
    seed: int,
    validation_split: float,
    test_split: float,
    per_class: int | None,
    named: bool = False,
    fixed: Mapping[str, SplitName] = MappingProxyType({}),
) -> tuple[dict[str, SplitName], list[str]]:
    """Assign each group to a split.

    Args:
        images: The images to split.
        groups: Path -> group.
        seed: Seed of the hash order.
        validation_split: Share of each class for validation; 0 for none.
        test_split: Share of each class for the test; 0 for none.
        per_class: Number of test images of each class instead of a share.
        named: Whether there are named groups: each class gets its share, or ``per_class``, as near as these allow.
        fixed: Groups that keep the split that they had before.

    Returns:
        Group -> split, and the problems that make ``per_class`` impossible.
    """
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for image in images:
        labels[groups[image.path]][image.label] += 1
    place = {group: position(seed, group) for group in labels}
    ordered = sorted(labels, key=lambda group: (place[group], group))
    assigned: dict[str, SplitName] = {
        group: "test"
        if place[group] < test_split and per_class is None
        else "validation"
        if place[group] >= 1.0 - validation_split
        else "train"
        for group in ordered
    }
    assigned.update((group, split) for group, split in fixed.items() if group in assigned)
    by_class = _by_class(ordered, labels)
    if named:
        shares: dict[SplitName, float] = {"test": test_split, "validation": validation_split}
        _balance(ordered, by_class, labels, assigned, shares=shares, per_class=per_class, fixed=fixed)
        return assigned, []
    problems: list[str] = []
    if per_class is not None and test_split:
        problems = _take_test(by_class, labels, assigned=assigned, per_class=per_class, fixed=fixed)
    for label in sorted(by_class):
        own = [group for group in by_class[label] if len(labels[group]) == 1]
        if test_split and per_class is None:
            _meet_share(label, by_class[label], own, labels, assigned, wanted="test", share=test_split, fixed=fixed)
            _at_least_one(own, assigned, wanted="test", fixed=fixed)
        if validation_split:
            back, share = own[::-1], validation_split
            _meet_share(label, by_class[label], back, labels, assigned, wanted="validation", share=share, fixed=fixed)
            _at_least_one(back, assigned, wanted="validation", fixed=fixed)
        kept = {group for group in own if assigned[group] == "test"} if per_class is not None else set()
        _at_least_one(own, assigned, wanted="train", fixed=kept | fixed.keys())
    return assigned, problems


def _by_class(ordered: Sequence[str], labels: Labels) -> dict[str, list[str]]:
    by_class: defaultdict[str, list[str]] = defaultdict(list)
    for group in ordered:
        for label in labels[group]:
            by_class[label].append(group)
    return by_class


def _balance(
    ordered: Sequence[str],
    by_class: Mapping[str, Sequence[str]],
    labels: Labels,
    assigned: dict[str, SplitName],
    *,
    shares: Mapping[SplitName, float],
    per_class: int | None,
    fixed: Collection[str],
) -> None:
    """Give test, then validation, the share of each class as near as whole groups allow; changes ``assigned``."""
    totals = {label: sum(labels[group][label] for group in groups) for label, groups in by_class.items()}
    largest = {label: max(labels[group][label] for group in groups) for label, groups in by_class.items()}
    by_chance = {
        label for label, total in totals.items() if total >= SMALL_CLASS and largest[label] <= LARGE_GROUP * total
    }
    for wanted, share in shares.items():
        if not share:
            continue
        exact = per_class is not None and wanted == "test"
        targets = {label: float(per_class or 0) if exact else share * total for label, total in totals.items()}
        meet_shares(
            ordered if wanted == "test" else ordered[::-1], labels, assigned, wanted=wanted, targets=targets,
            by_chance=() if exact else by_chance, fixed=fixed,
        )  # fmt: skip


def _meet_share(
    label: str,
    groups: Sequence[str],
    own: Sequence[str],
    labels: Labels,
    assigned: dict[str, SplitName],
    *,
    wanted: SplitName,
    share: float,
    fixed: Collection[str],
) -> None:
    """Move groups of a small class between ``wanted`` and train until the class has its share.

    Args:
        label: The class.
        groups: All groups of the class.
        own: Groups of this class alone, the first to be in ``wanted`` first; the others stay where they are.
        labels: What each group holds.
        assigned: Group -> split; changed.
        wanted: Test or validation.
        share: Its share of the class.
        fixed: Groups that stay where they are.
    """
    sizes = {group: labels[group][label] for group in groups}
    total = sum(sizes.values())
    if total >= SMALL_CLASS and max(sizes.values()) <= LARGE_GROUP * total:
        return
    target = max(1, round(share * total))
    missing = target - sum(sizes[group] for group in groups if assigned[group] == wanted)
    own = [group for group in own if group not in fixed]
    for group in reversed(own):
        if assigned[group] == wanted and missing < 0 and abs(missing + sizes[group]) <= abs(missing):
            assigned[group] = "train"
            missing += sizes[group]
    for group in own:
        if assigned[group] == "train" and sizes[group] <= missing:
            assigned[group] = wanted
            missing -= sizes[group]


def _take_test(
    by_class: Mapping[str, Sequence[str]],
    labels: Labels,
    *,
    assigned: dict[str, SplitName],
    per_class: int,
    fixed: Mapping[str, SplitName],
) -> list[str]:
    """Give test exactly ``per_class`` images of each class, the lowest groups that fit whole; return the problems."""
    problems = []
    for label in sorted(by_class):
        room = per_class - sum(labels[group][label] for group in by_class[label] if fixed.get(group) == "test")
        for group in by_class[label]:
            # A group of two classes would count for both; it stays in train.
            if len(labels[group]) == 1 and group not in fixed and labels[group][label] <= room:
                assigned[group] = "test"
                room -= labels[group][label]
        if room or all(assigned[group] == "test" for group in by_class[label]):
            problems.append(f"class {label!r} has too few different images for {per_class} in test")
    return problems


def _at_least_one(
    groups: Sequence[str], assigned: dict[str, SplitName], *, wanted: SplitName, fixed: Collection[str]
) -> None:
    """Move the first group that can be spared to ``wanted`` if that is empty."""
    if any(assigned[group] == wanted for group in groups):
        return
    held = Counter(assigned[group] for group in groups)
    for group in groups:
        if group not in fixed and held[assigned[group]] > 1:
            assigned[group] = wanted
            return
