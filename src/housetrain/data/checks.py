"""Catalog -> Findings: what is wrong with these images, and what to do about it.

In: a `Catalog`. Out: findings. It opens no image, and nothing is ever moved or
deleted: a finding at most names images that training leaves out.

Left out are: what cannot be read, every copy but the first of identical files, all copies of a file that has two
labels, and of an image that is in two ready-made splits all but the test's. Everything else is for the eye to judge.
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
from housetrain.images.sniff import EXTENSIONS

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog, ImageRecord

FEW = 30
"""Usable images in a class: with fewer, neither training nor its test means much."""

LEAST = 3
"""Usable images in a class: with fewer there is none for each of train, validation and test."""

DARK = 20.0
"""Mean brightness, 0 to 255, below which an image is dark. The darkest of 8,000 pet photos that shows a pet has 27."""

UNIFORM = 6.0
"""Standard deviation of brightness below which an image shows next to nothing. The flattest pet photo has 14."""

BLURRY = 0.03
"""Variance of the Laplacian over variance of brightness, of the thumbnail: below it only soft shapes are left. Blurring
photos with a sigma of 3 % of their short side gives 0.015 (median); the softest of 8,000 pet photos has 0.047."""

ASPECT = 3.0
"""Longer side over shorter side above which an image suffers from being fitted into a square."""

SMALL = 0.25
"""Short side, as a share of the folder's median short side, below which an image under 64 pixels is odd in size."""

USUAL = 0.2
"""When more than this share of all images is dark (or flat, soft, long), that is what the data is like: one line says
so, and no image is singled out."""


def check(catalog: Catalog, *, near_duplicate_bits: int = NEAR_BITS) -> tuple[Finding, ...]:
    """Look for everything that hurts training or its test.

    Args:
        catalog: What :func:`housetrain.data.catalog.scan` gave.
        near_duplicate_bits: The most bits of the 64-bit perceptual hash in which near duplicates differ; 0 to 16.

    Returns:
        Findings, the most severe first. None when all is well.
    """
    found = [
        *(
            Finding(note.kind, "warning" if note.kind == "nested-folders" else "note", (), note.message, note.do)
            for note in catalog.notes
        ),
        *_unreadable(catalog),
        *_identical(catalog),
        *_near(catalog, near_duplicate_bits),
        *_classes(catalog),
        *_files(catalog),
        *_looks(catalog),
    ]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _unreadable(catalog: Catalog) -> Iterator[Finding]:
    by_reason: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in catalog.images:
        if image.status != "ok":
            by_reason[image.reason].append(image)
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
    copies: list[list[ImageRecord]] = []
    contradictions: list[list[ImageRecord]] = []
    leaks: list[list[ImageRecord]] = []
    for group in exact_groups(catalog.usable):
        if len({image.label for image in group}) > 1:
            contradictions.append(group)
        elif len({image.split for image in group}) > 1:
            leaks.append(sorted(group, key=lambda image: (_ORDER[image.split or "train"], image.path)))
        else:
            copies.append(group)
    yield from grouped(
        "two-labels",
        "error",
        contradictions,
        message=lambda group: f"the same image is labeled {_listed({image.label for image in group})}",
        merged=lambda n, groups: f"{groups} images have more than one label ({n:,} files)",
        detail=lambda one, group: f"labeled {one.label}, but {_other(one, group).label} as {_other(one, group).path}",
        do="decide which label is right and remove the other file; until then both are left out of training",
        leaves_out=lambda group: group,
    )
    yield from grouped(
        "split-leak",
        "error",
        leaks,
        message=lambda group: f"the same image is in {_listed({image.split or '' for image in group})}",
        merged=lambda n, groups: f"{groups} images are in more than one of train, validation and test ({n:,} files)",
        detail=lambda one, group: f"the same image as {_other(one, group).path}",
        do="nothing needs doing: only one of them is used, for the test before validation before training, so that the "
        "test stays honest",
        leaves_out=lambda group: group[1:],
    )
    yield from grouped(
        "exact-duplicate",
        "warning",
        copies,
        message=lambda group: f"{len(group)} files are the same image",
        merged=lambda n, groups: f"{groups} images are there more than once ({n:,} files)",
        detail=lambda one, group: f"the same image as {_other(one, group).path}",
        do="nothing needs doing: only the first is used, the copies are left out of training",
        leaves_out=lambda group: group[1:],
    )


def _near(catalog: Catalog, bits: int) -> Iterator[Finding]:
    groups = near_groups(catalog.usable, bits=bits)
    contradictions = [group for group in groups if len({image.label for image in group}) > 1]
    alike = [group for group in groups if len({image.label for image in group}) == 1]
    yield from grouped(
        "near-duplicate",
        "warning",
        contradictions,
        message=lambda group: "nearly the same image is labeled " + _listed({image.label for image in group}),
        merged=lambda n, groups: f"{groups} groups of nearly the same images have more than one label ({n:,} files)",
        detail=lambda one, group: f"labeled {one.label}, looks like {_other(one, group).path}",
        do="look at them side by side: if they show the same, one of the labels is wrong",
    )
    leaks = [group for group in alike if len({image.split for image in group}) > 1]
    yield from grouped(
        "split-leak",
        "warning",
        leaks,
        message=lambda group: "nearly the same image is in " + _listed({image.split or "" for image in group}),
        merged=lambda n, groups: f"{groups} groups of nearly the same images are in more than one split ({n:,} files)",
        detail=lambda one, group: f"looks like {_other(one, group).path}",
        do="keep such images on one side, or the test will look better than it is",
    )
    yield from grouped(
        "near-duplicate",
        "note",
        [group for group in alike if len({image.split for image in group}) == 1],
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
            "put the images of each class into a folder of its own" + _deeper(catalog),
        )
    for label in catalog.empty_classes:
        yield Finding(
            "empty-class",
            "warning",
            (),
            f"the class folder {label} holds no images",
            "add images, or remove the folder if it is no class",
        )
    for label, count in counts.items():
        if count < LEAST:
            yield Finding(
                "few-images",
                "error",
                (),
                f"the class {label} has {_images(count)} that can be used",
                f"add images: at least {LEAST} are needed, one each to learn from, to steer by and to test with; "
                f"{FEW} or more to be worth it",
            )
        elif count < FEW:
            yield Finding(
                "few-images",
                "warning",
                (),
                f"the class {label} has only {_images(count)} that can be used",
                f"add images: with fewer than {FEW} the test of this class is mostly luck",
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
                f"{most} has {ratio:.1f} times as many images as {least} ({filled[most]:,} and {filled[least]:,})",
                "nothing needs doing: images of rare classes weigh more in training (--balance weights); judge the "
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
                "if they are one class, move the images into one folder; they are trained as different classes",
            )


def _files(catalog: Catalog) -> Iterator[Finding]:
    wrong: defaultdict[tuple[str, str], list[ImageRecord]] = defaultdict(list)
    odd: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in catalog.usable:
        extension = PurePosixPath(image.path).suffix.lower()
        if extension and extension not in EXTENSIONS.get(image.format, (extension,)):
            wrong[image.format, extension].append(image)
        if image.oddity:
            odd["spare" if "spare bytes" in image.oddity else "harmless"].append(image)
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
        message=lambda group: f"{_files_word(len(group))} may be damaged: there is more data than the image needs",
        detail=lambda one, _: one.oddity,
        do="look at it: if a part is shifted or discolored, replace it with a good copy; it is used",
    )
    yield from grouped(
        "odd-file",
        "note",
        [odd["harmless"]],
        message=lambda group: f"{_files_word(len(group))} with a harmless fault in the format; the image is whole",
        detail=lambda one, _: one.oddity,
        do="nothing needs doing: it is used",
    )
    yield from grouped(
        "print-colors",
        "note",
        [[image for image in catalog.usable if image.mode == "CMYK"]],
        message=lambda group: f"{_files_word(len(group))} in colors for print (CMYK); converted",
        detail=lambda one, _: "CMYK",
        do="nothing needs doing: it is used; save it as RGB if its colors look wrong",
    )
    yield from grouped(
        "animated",
        "note",
        [[image for image in catalog.usable if image.frames > 1]],
        message=lambda group: f"{_files_word(len(group))} with several frames or pages; the first is used",
        detail=lambda one, _: f"{one.frames} frames",
        do="if another frame matters, save it as an image of its own",
    )


def _looks(catalog: Catalog) -> Iterator[Finding]:
    """What thumbnails and sizes tell; only what stands out from the rest of the folder."""
    usable = catalog.usable
    if not usable:
        return
    sides = [min(image.width, image.height) for image in usable]
    middle = statistics.median(sides)
    uniform = {image.path for image in usable if image.std < UNIFORM}
    yield from _standing_out(
        catalog,
        "uniform",
        [image for image in usable if image.path in uniform],
        "nearly one color",
        detail=lambda one: f"brightness varies by {one.std:.1f} of 255",
        do="look at it: if it shows nothing, remove it from the folder",
    )
    yield from _standing_out(
        catalog,
        "dark",
        [image for image in usable if image.mean < DARK and image.path not in uniform],
        "very dark",
        detail=lambda one: f"mean brightness {one.mean:.0f} of 255",
        do="look at it: if you cannot tell the class yourself, remove it from the folder or brighten it",
    )
    yield from _standing_out(
        catalog,
        "blurry",
        [
            image
            for image, side in zip(usable, sides, strict=True)
            if side >= LEAST_SIDE and image.path not in uniform and image.sharpness < BLURRY * image.std**2
        ],
        "very blurry",
        detail=lambda one: "only soft shapes are left",
        do="look at it: if you cannot tell the class yourself, remove it from the folder",
    )
    yield from _standing_out(
        catalog,
        "odd-aspect",
        [image for image in usable if max(image.width, image.height) > ASPECT * min(image.width, image.height)],
        f"more than {ASPECT:g} times as long as wide",
        detail=lambda one: f"{one.width}x{one.height} pixels",
        do="look at it; --resize pad keeps the proportions, the default squeezes it into a square",
    )
    yield from _standing_out(
        catalog,
        "odd-size",
        [image for image, side in zip(usable, sides, strict=True) if side < min(SMALL * middle, LEAST_SIDE)],
        f"less than a quarter as large as usual ({middle:g} pixels)",
        detail=lambda one: f"{one.width}x{one.height} pixels",
        do="replace it with a larger copy if you have one: it is enlarged, and that blurs it",
    )


def _standing_out(
    catalog: Catalog, kind: str, images: list[ImageRecord], what: str, *, detail: Callable[[ImageRecord], str], do: str
) -> Iterator[Finding]:
    if not images:
        return
    share = len(images) / len(catalog.usable)
    if share > USUAL and len(catalog.usable) >= 1 / USUAL:
        yield Finding(
            kind,
            "note",
            (),
            f"{share:.0%} of the images are {what}",
            "if that is how these images are, nothing needs doing",
        )
        return
    paths = tuple(image.path for image in images)
    word = f"{_images(len(images))} {'is' if len(images) == 1 else 'are'} {what}"
    yield Finding(kind, "note", paths, word, do, (), tuple(detail(image) for image in images))


_ORDER = {"test": 0, "validation": 1, "train": 2}


def _other(one: ImageRecord, group: list[ImageRecord]) -> ImageRecord:
    """Return an image of the group to compare with: of another label if there is one, else the first other."""
    others = [image for image in group if image is not one]
    return next((image for image in others if image.label != one.label), others[0])


def _deeper(catalog: Catalog) -> str:
    """Guess that the folder above the classes was meant to be the one below."""
    inner = Counter(image.path.split("/")[1] for image in catalog.images if image.path.count("/") > 1)
    if len(inner) < 2 or catalog.ready_made:
        return ""
    return f"; or did you mean the folder {catalog.classes[0]} in it, which holds {_listed(list(inner)[:3])}?"


def _files_word(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _listed(names: Iterable[str]) -> str:
    first = sorted(names)
    return first[0] if len(first) == 1 else f"{', '.join(first[:-1])} and {first[-1]}"
