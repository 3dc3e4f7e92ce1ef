"""Catalog -> rules by which its images may belong together: sub-folders, prefixes of file names, bursts of one camera.

In: a `Catalog`. Out: a finding for each rule, with what to type. No image is opened.

A rule is proposed when the names or times have the structure of groups (several in every class, most of them of several
images) and the images of a group are more alike than others of their class. The second is a permutation test, so names
that say nothing about the images are proposed in at most 1 % of folders.
"""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.data.findings import Finding, Noticed, finding_kind
from housetrain.data.groups import BURST, PARENT, ImageGroups, groups_of
from housetrain.errors import HousetrainError
from housetrain.system.text import format_percent

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.image_record import ImageRecord

KIND = "related-images"
FIRST_WORD, BEFORE_NUMBER = r"([^/_ .-]+)[_ .-][^/]*[.]\w+$", r"([^/]+?)[ ._-]+\(?\d+\)?[.]\w+$"
RULES = {
    PARENT: "lie in {groups:,} folders inside their class folders",
    FIRST_WORD: "have names that begin with one of {groups:,} words",
    BEFORE_NUMBER: "have names of {groups:,} words with a number at the end",
    BURST: "were taken by one camera within seconds, in {groups:,} bursts",
}
"""Rule -> how its groups are described. The coarser rule of file names comes first."""

LEAST_GROUPS = 5
"""Groups of a class: with fewer they are rather kinds of images than single subjects."""

_IN_GROUPS = 0.5  # share of the images that belong to a group of at least two
_NEW = 0.05  # share of the images whose group is larger than their near-duplicates
_LEVEL = 0.01  # probability of a proposal where names say nothing about the images
_PERMUTATIONS = 1999
_TIMES, _MORE = 2.0, 0.03  # times by chance, and above it: how often the most similar image is of the same group
_MOST = 4000  # images that are compared


class Proposal(NamedTuple):
    """A rule that seems to say which images belong together.

    Attributes:
        groups: The groups by this rule.
        nearest: Share of the images whose most similar image of their class is of their group.
        by_chance: That share if groups said nothing about images.
    """

    groups: ImageGroups
    nearest: float
    by_chance: float

    @property
    def option(self) -> str:
        """What to type."""
        return f"--group-by {shlex.quote(self.groups.rule)}"


@finding_kind(
    KIND,
    "Images that may belong together",
    severity="note",
    do="if they show one animal, plant, patient or scene, keep them in one split",
)
def _related_images(catalog: Catalog) -> Iterator[Noticed]:
    for found in catalog.group_proposals:
        sizes = Counter(found.groups.of.values())
        name, size = sizes.most_common(1)[0]
        listed = tuple(sorted(path for path, group in found.groups.of.items() if group == name))
        what = RULES[found.groups.rule].format(groups=len(sizes))
        yield Noticed(
            f"{len(found.groups.of):,} images {what}, such as the {size:,} of {listed[0]}; the image most similar to "
            f"one is of its group in {format_percent(found.nearest)}, by chance in {format_percent(found.by_chance)}",
            listed,
            do="if they show one animal, plant, patient or scene, keep them in one split, or the test accuracy is too "
            f"high: {found.option}",
        )


def without_proposals(findings: Iterable[Finding], groups: object) -> tuple[Finding, ...]:
    """Return findings without proposals, where groups are given."""
    return tuple(finding for finding in findings if groups is None or finding.kind != KIND)


def proposals(catalog: Catalog) -> list[Proposal]:
    """Return the rules that seem to say which images belong together, at most one of file names."""
    candidates = [named for rule in RULES if (named := _candidate(catalog, rule))]
    found: list[Proposal] = []
    for named in candidates:
        if found and named.rule == BEFORE_NUMBER and found[-1].groups.rule == FIRST_WORD:
            continue
        nearest, by_chance, p_value = likeness(catalog.usable, named.of)
        if p_value <= _LEVEL / len(RULES) and nearest >= max(_TIMES * by_chance, by_chance + _MORE):
            found.append(Proposal(named, nearest, by_chance))
    return found


def rule_of_names(paths: Mapping[str, str]) -> str:
    """Return the rule that names alone suggest, as it is typed, or ``""``; nothing is known of the images.

    Args:
        paths: Path of each image -> its class.
    """
    from housetrain.data.groups import pattern_key

    for rule in (FIRST_WORD, BEFORE_NUMBER):
        key = pattern_key(rule, option="group_by")
        of = {path: name for path in paths if (name := key(path))}
        if _is_structure(of, paths):
            return rule
    return ""


def likeness(images: Sequence[ImageRecord], of: Mapping[str, str]) -> tuple[float, float, float]:
    """Return how often the most similar image of the same class is of the same group, by chance, and the p-value.

    Similarity is that of the 4x4 thumbnails, and that of the finer perceptual hashes; the better of both counts, and
    the p-value allows for the choice. Groups are permuted within the classes.

    Args:
        images: Usable images.
        of: Path -> group.
    """
    chosen = _sample([image for image in images if image.path in of and image.hashes.tiny], of)
    by_class: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in chosen:
        by_class[image.label].append(image)
    random = np.random.default_rng(0)
    hits, drawn = np.zeros(2), np.zeros((2, _PERMUTATIONS))
    total, numbers = 0, {name: number for number, name in enumerate(sorted(set(of.values())))}
    for members in by_class.values():
        own = np.array([numbers[of[image.path]] for image in members])
        if len(own) < 2:
            continue
        total += len(own)
        shuffled = random.permuted(np.tile(own, (_PERMUTATIONS, 1)), axis=1)
        for measure, near in enumerate(_nearest(members)):
            hits[measure] += (own == own[near]).sum()
            drawn[measure] += (shuffled == shuffled[:, near]).sum(axis=1)
    if not total:
        return 0.0, 0.0, 1.0
    best = int((hits - drawn.mean(axis=1)).argmax())
    p_value = 2 * (1 + int((drawn[best] >= hits[best]).sum())) / (_PERMUTATIONS + 1)
    return float(hits[best] / total), float(drawn[best].mean() / total), min(1.0, p_value)


def _candidate(catalog: Catalog, rule: str) -> ImageGroups | None:
    """Return the groups by a rule if they have the structure of groups, and are more than near-duplicates."""
    try:
        named = groups_of(catalog, rule)
    except HousetrainError:
        return None
    assert named is not None
    labels = {image.path: image.label for image in catalog.usable}
    if not _is_structure(named.of, labels, least=_IN_GROUPS / 2 if rule == BURST else _IN_GROUPS):
        return None
    alike = {image.path: number for number, group in enumerate(catalog.near_duplicates) for image in group}
    members: defaultdict[str, set[object]] = defaultdict(set)
    for path, name in named.of.items():
        members[name].add(alike.get(path, path))
    new = sum(len(members[name]) > 1 for name in named.of.values())
    return named if new >= _NEW * len(labels) else None


def _is_structure(of: Mapping[str, str], labels: Mapping[str, str], *, least: float = _IN_GROUPS) -> bool:
    """Return whether names of groups have the structure of groups of images.

    Args:
        of: Path -> group.
        labels: Path -> class, of all images.
        least: Share of the images that must be in a group of two or more.
    """
    sizes = Counter(of.values())
    if not labels or sum(size for size in sizes.values() if size > 1) < least * len(labels):
        return False
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path, label in labels.items():
        groups[label][of.get(path, path)] += 1
    return all(len(own) >= LEAST_GROUPS and 2 * own.most_common(1)[0][1] <= own.total() for own in groups.values())


def _sample(images: Sequence[ImageRecord], of: Mapping[str, str]) -> list[ImageRecord]:
    """Return whole groups, in an order that does not depend on their names, until there are enough images."""
    members: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in images:
        members[of[image.path]].append(image)
    chosen: list[ImageRecord] = []
    for name in sorted(members, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()):
        if len(chosen) >= _MOST:
            break
        chosen += members[name]
    return chosen


def _nearest(images: Sequence[ImageRecord]) -> Iterator[NDArray[np.intp]]:
    """Yield the most similar other image of each: by thumbnails, then by the finer hashes."""
    tiny = np.array([list(bytes.fromhex(image.hashes.tiny)) for image in images], dtype=np.float32)
    fine = np.array([list(bytes.fromhex(image.hashes.fine or "00" * 32)) for image in images], dtype=np.uint8)
    bits = np.unpackbits(fine, axis=1).astype(np.float32)
    for values in (tiny, bits):
        squares = (values**2).sum(axis=1)
        apart = squares[:, np.newaxis] + squares - 2 * values @ values.T
        np.fill_diagonal(apart, np.inf)
        yield apart.argmin(axis=1)
