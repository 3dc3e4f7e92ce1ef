"""Catalog -> Findings: what is wrong with these pictures, and what to do about it.

In: a `Catalog`. Out: findings. It opens no picture, and nothing is ever moved or
deleted: a finding at most names pictures that training leaves out.

Left out are: what cannot be read, every copy but the first of identical files, all copies of a file that has two
labels, and of a picture that is in two ready-made splits all but the test's. Everything else is for the eye to judge.
"""

from __future__ import annotations

import statistics
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from housetrain.data.duplicates import LEAST_SIDE, NEAR_BITS, exact_groups, near_groups
from housetrain.data.duplicates import duplicate_groups as duplicate_groups
from housetrain.data.findings import SEVERITIES, grouped
from housetrain.data.findings import Finding as Finding
from housetrain.data.findings import write_findings as write_findings
from housetrain.data.formats import EXTENSIONS

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog, Picture

FEW = 30
"""Usable pictures in a class: with fewer, neither training nor its test means much."""

LEAST = 3
"""Usable pictures in a class: with fewer there is none for each of train, validation and test."""

DARK = 20.0
"""Mean brightness, 0 to 255, below which a picture is dark. The darkest of 8,000 pet photos that shows a pet has 27."""

UNIFORM = 6.0
"""Standard deviation of brightness below which a picture shows next to nothing. The flattest pet photo has 14."""

BLURRY = 0.03
"""Variance of the Laplacian over variance of brightness, of the thumbnail: below it only soft shapes are left. Blurring
photos with a sigma of 3 % of their short side gives 0.015 (median); the softest of 8,000 pet photos has 0.047."""

ASPECT = 3.0
"""Longer side over shorter side above which a picture suffers from being fitted into a square."""

SMALL = 0.25
"""Short side, as a share of the folder's median short side, below which a picture under 64 pixels is odd in size."""

USUAL = 0.2
"""When more than this share of all pictures is dark (or flat, soft, long), that is what the data is like: one line says
so, and no picture is singled out."""


def check(catalog: Catalog, *, near_duplicate_bits: int = NEAR_BITS) -> tuple[Finding, ...]:
    """Look for everything that hurts training or its test.

    Args:
        catalog: What :func:`housetrain.data.catalog.scan` gave.
        near_duplicate_bits: The most bits of the 64-bit perceptual hash in which near duplicates differ; 0 to 16.

    Returns:
        Findings, the most severe first. None when all is well.
    """
    found = [
        *_unreadable(catalog),
        *_identical(catalog),
        *_near(catalog, near_duplicate_bits),
        *_classes(catalog),
        *_files(catalog),
        *_looks(catalog),
    ]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _unreadable(catalog: Catalog) -> Iterator[Finding]:
    by_reason: defaultdict[str, list[Picture]] = defaultdict(list)
    for picture in catalog.pictures:
        if picture.status != "ok":
            by_reason[picture.reason].append(picture)
    yield from grouped(
        "unreadable",
        "error",
        [by_reason[reason] for reason in sorted(by_reason)],
        message=lambda group: f"{_files_word(len(group))} cannot be used: {group[0].reason}",
        merged=lambda n, groups: f"{n:,} files cannot be used, for {groups} different reasons",
        detail=lambda one, _: one.reason,
        do="replace it with a good copy if you have one; it is left out of training",
        leaves_out=lambda group: group,
    )


def _identical(catalog: Catalog) -> Iterator[Finding]:
    """Identical files: copies, copies under two labels, copies in two ready-made splits."""
    copies: list[list[Picture]] = []
    contradictions: list[list[Picture]] = []
    leaks: list[list[Picture]] = []
    for group in exact_groups(catalog.usable):
        if len({picture.label for picture in group}) > 1:
            contradictions.append(group)
        elif len({picture.split for picture in group}) > 1:
            leaks.append(sorted(group, key=lambda picture: (_ORDER[picture.split or "train"], picture.path)))
        else:
            copies.append(group)
    yield from grouped(
        "two-labels",
        "error",
        contradictions,
        message=lambda group: f"the same picture is labelled {_listed({picture.label for picture in group})}",
        merged=lambda n, groups: f"{groups} pictures have more than one label ({n:,} files)",
        detail=lambda one, group: f"labelled {one.label}, but {_other(one, group).label} as {_other(one, group).path}",
        do="decide which label is right and remove the other file; until then both are left out of training",
        leaves_out=lambda group: group,
    )
    yield from grouped(
        "split-leak",
        "error",
        leaks,
        message=lambda group: f"the same picture is in {_listed({picture.split or '' for picture in group})}",
        merged=lambda n, groups: f"{groups} pictures are in more than one of train, validation and test ({n:,} files)",
        detail=lambda one, group: f"the same picture as {_other(one, group).path}",
        do="nothing needs doing: only one of them is used, for the test before validation before training, so that the "
        "test stays honest",
        leaves_out=lambda group: group[1:],
    )
    yield from grouped(
        "exact-duplicate",
        "warning",
        copies,
        message=lambda group: f"{len(group)} files are the same picture",
        merged=lambda n, groups: f"{groups} pictures are there more than once ({n:,} files)",
        detail=lambda one, group: f"the same picture as {_other(one, group).path}",
        do="nothing needs doing: only the first is used, the copies are left out of training",
        leaves_out=lambda group: group[1:],
    )


def _near(catalog: Catalog, bits: int) -> Iterator[Finding]:
    groups = near_groups(catalog.usable, bits=bits)
    contradictions = [group for group in groups if len({picture.label for picture in group}) > 1]
    alike = [group for group in groups if len({picture.label for picture in group}) == 1]
    yield from grouped(
        "near-duplicate",
        "warning",
        contradictions,
        message=lambda group: "nearly the same picture is labelled " + _listed({picture.label for picture in group}),
        merged=lambda n, groups: f"{groups} groups of nearly the same pictures have more than one label ({n:,} files)",
        detail=lambda one, group: f"labelled {one.label}, looks like {_other(one, group).path}",
        do="look at them side by side: if they show the same, one of the labels is wrong",
    )
    leaks = [group for group in alike if len({picture.split for picture in group}) > 1]
    yield from grouped(
        "split-leak",
        "warning",
        leaks,
        message=lambda group: "nearly the same picture is in " + _listed({picture.split or "" for picture in group}),
        merged=lambda n, groups: (
            f"{groups} groups of nearly the same pictures are in more than one split ({n:,} files)"
        ),
        detail=lambda one, group: f"looks like {_other(one, group).path}",
        do="keep such pictures on one side, or the test will look better than it is",
    )
    yield from grouped(
        "near-duplicate",
        "note",
        [group for group in alike if len({picture.split for picture in group}) == 1],
        message=lambda group: f"{len(group)} files look nearly the same",
        merged=lambda n, groups: f"{groups} groups of files look nearly the same ({n:,} files)",
        detail=lambda one, group: f"looks like {_other(one, group).path}",
        do="nothing needs doing: they are kept together when train, validation and test are drawn",
    )


def _classes(catalog: Catalog) -> Iterator[Finding]:
    counts = catalog.counts()
    if len(counts) == 1:
        (label,) = counts
        yield Finding(
            "one-class",
            "error",
            (),
            f"there is only one class: {label}",
            "put the pictures of each class into a folder of its own" + _deeper(catalog),
        )
    for label in catalog.empty_classes:
        yield Finding(
            "empty-class",
            "warning",
            (),
            f"the class folder {label} holds no pictures",
            "add pictures, or remove the folder if it is no class",
        )
    for label, count in counts.items():
        if count < LEAST:
            yield Finding(
                "few-pictures",
                "error",
                (),
                f"the class {label} has {_pictures(count)} that can be used",
                f"add pictures: at least {LEAST} are needed, one each to learn from, to steer by and to test with; "
                f"{FEW} or more to be worth it",
            )
        elif count < FEW:
            yield Finding(
                "few-pictures",
                "warning",
                (),
                f"the class {label} has only {_pictures(count)} that can be used",
                f"add pictures: with fewer than {FEW} the test of this class is mostly luck",
            )
    filled = {label: count for label, count in counts.items() if count >= LEAST}
    if len(filled) > 1:
        least, most = min(filled, key=filled.__getitem__), max(filled, key=filled.__getitem__)
        ratio = filled[most] / filled[least]
        if ratio >= 1.5:
            yield Finding(
                "imbalance",
                "warning" if ratio >= 5 else "note",
                (),
                f"{most} has {ratio:.1f} times as many pictures as {least} ({filled[most]:,} and {filled[least]:,})",
                "nothing needs doing: pictures of rare classes weigh more in training (--balance weights); judge the "
                "result by the scores of each class, not by accuracy alone",
            )
    names: defaultdict[str, list[str]] = defaultdict(list)
    for label in (*catalog.classes, *catalog.empty_classes):
        names[" ".join(unicodedata.normalize("NFKC", label).casefold().split())].append(label)
    for alike in names.values():
        if len(alike) > 1:
            yield Finding(
                "case-only-classes",
                "warning",
                (),
                f"class names differ only in case, spaces or accents' spelling: {_listed(alike)}",
                "if they are one class, move the pictures into one folder; they are trained as different classes",
            )


def _files(catalog: Catalog) -> Iterator[Finding]:
    wrong: defaultdict[tuple[str, str], list[Picture]] = defaultdict(list)
    odd: defaultdict[str, list[Picture]] = defaultdict(list)
    for picture in catalog.usable:
        extension = PurePosixPath(picture.path).suffix.lower()
        if extension and extension not in EXTENSIONS.get(picture.format, (extension,)):
            wrong[picture.format, extension].append(picture)
        if picture.oddity:
            odd["spare" if "spare bytes" in picture.oddity else "harmless"].append(picture)
    yield from grouped(
        "wrong-extension",
        "note",
        [wrong[key] for key in sorted(wrong)],
        message=lambda group: (
            f"{_files_word(len(group))} named {PurePosixPath(group[0].path).suffix} "
            f"{'is' if len(group) == 1 else 'are'} {group[0].format}"
        ),
        merged=lambda n, _: f"{n:,} files have names that do not fit their format",
        detail=lambda one, _: f"{one.format} named {PurePosixPath(one.path).suffix}",
        do="nothing needs doing here, it is used; other programs may stumble over the name",
    )
    yield from grouped(
        "damaged",
        "warning",
        [odd["spare"]],
        message=lambda group: f"{_files_word(len(group))} may be damaged: there is more data than the picture needs",
        detail=lambda one, _: one.oddity,
        do="look at it: if a part is shifted or discoloured, replace it with a good copy; it is used",
    )
    yield from grouped(
        "odd-file",
        "note",
        [odd["harmless"]],
        message=lambda group: f"{_files_word(len(group))} with a harmless fault in the format; the picture is whole",
        detail=lambda one, _: one.oddity,
        do="nothing needs doing: it is used",
    )
    yield from grouped(
        "print-colours",
        "note",
        [[picture for picture in catalog.usable if picture.mode == "CMYK"]],
        message=lambda group: f"{_files_word(len(group))} in colours for print (CMYK); converted",
        detail=lambda one, _: "CMYK",
        do="nothing needs doing: it is used; save it as RGB if its colours look wrong",
    )
    yield from grouped(
        "animated",
        "note",
        [[picture for picture in catalog.usable if picture.frames > 1]],
        message=lambda group: f"{_files_word(len(group))} with several frames or pages; the first is used",
        detail=lambda one, _: f"{one.frames} frames",
        do="if another frame matters, save it as a picture of its own",
    )


def _looks(catalog: Catalog) -> Iterator[Finding]:
    """What thumbnails and sizes tell; only what stands out from the rest of the folder."""
    usable = catalog.usable
    if not usable:
        return
    sides = [min(picture.width, picture.height) for picture in usable]
    middle = statistics.median(sides)
    uniform = {picture.path for picture in usable if picture.std < UNIFORM}
    yield from _standing_out(
        catalog,
        "uniform",
        [picture for picture in usable if picture.path in uniform],
        "nearly one colour",
        detail=lambda one: f"brightness varies by {one.std:.1f} of 255",
        do="look at it: if it shows nothing, remove it from the folder",
    )
    yield from _standing_out(
        catalog,
        "dark",
        [picture for picture in usable if picture.mean < DARK and picture.path not in uniform],
        "very dark",
        detail=lambda one: f"mean brightness {one.mean:.0f} of 255",
        do="look at it: if you cannot tell the class yourself, remove it from the folder or brighten it",
    )
    yield from _standing_out(
        catalog,
        "blurry",
        [
            picture
            for picture, side in zip(usable, sides, strict=True)
            if side >= LEAST_SIDE and picture.path not in uniform and picture.sharpness < BLURRY * picture.std**2
        ],
        "very blurry",
        detail=lambda one: "only soft shapes are left",
        do="look at it: if you cannot tell the class yourself, remove it from the folder",
    )
    yield from _standing_out(
        catalog,
        "odd-aspect",
        [
            picture
            for picture in usable
            if max(picture.width, picture.height) > ASPECT * min(picture.width, picture.height)
        ],
        f"more than {ASPECT:g} times as long as wide",
        detail=lambda one: f"{one.width}x{one.height} pixels",
        do="look at it; --resize pad keeps the proportions, the default squeezes it into a square",
    )
    yield from _standing_out(
        catalog,
        "odd-size",
        [picture for picture, side in zip(usable, sides, strict=True) if side < min(SMALL * middle, LEAST_SIDE)],
        f"less than a quarter as large as usual ({middle:g} pixels)",
        detail=lambda one: f"{one.width}x{one.height} pixels",
        do="replace it with a larger copy if you have one: it is enlarged, and that blurs it",
    )


def _standing_out(
    catalog: Catalog, kind: str, pictures: list[Picture], what: str, *, detail: Callable[[Picture], str], do: str
) -> Iterator[Finding]:
    if not pictures:
        return
    share = len(pictures) / len(catalog.usable)
    if share > USUAL and len(catalog.usable) >= 1 / USUAL:
        yield Finding(
            kind,
            "note",
            (),
            f"{share:.0%} of the pictures are {what}",
            "if that is how these pictures are, nothing needs doing",
        )
        return
    paths = tuple(picture.path for picture in pictures)
    word = f"{_pictures(len(pictures))} {'is' if len(pictures) == 1 else 'are'} {what}"
    yield Finding(kind, "note", paths, word, do, (), tuple(detail(picture) for picture in pictures))


_ORDER = {"test": 0, "validation": 1, "train": 2}


def _other(one: Picture, group: list[Picture]) -> Picture:
    """Return a picture of the group to compare with: of another label if there is one, else the first other."""
    others = [picture for picture in group if picture is not one]
    return next((picture for picture in others if picture.label != one.label), others[0])


def _deeper(catalog: Catalog) -> str:
    """Guess that the folder above the classes was meant to be the one below."""
    inner = Counter(picture.path.split("/")[1] for picture in catalog.pictures if picture.path.count("/") > 1)
    if len(inner) < 2 or catalog.ready_made:
        return ""
    return f"; or did you mean the folder {catalog.classes[0]} in it, which holds {_listed(list(inner)[:3])}?"


def _files_word(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _listed(names: Iterable[str]) -> str:
    first = sorted(names)
    return first[0] if len(first) == 1 else f"{', '.join(first[:-1])} and {first[-1]}"
