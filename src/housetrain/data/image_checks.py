"""Catalog -> findings: the checks of single images, their files and their content.

In: a `Catalog`. Out: results for `housetrain.data.findings`. No image is opened: a scan has measured what is needed.
"""

from __future__ import annotations

import posixpath
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from housetrain.data.duplicates import LEAST_SIDE
from housetrain.data.findings import Noticed, count_files, count_images, finding_kind, grouped
from housetrain.images.input_spec import WHITE, white_of
from housetrain.images.sniff import EXTENSIONS
from housetrain.images.unsupported import UNSUPPORTED, conversion
from housetrain.system.text import format_list, format_percent

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.image_record import ImageRecord

DARK = 20.0
"""Mean brightness, 0 to 255, below which an image is dark. The darkest of 8,000 pet photos that shows a pet has 27."""

UNIFORM = 6.0
"""Standard deviation of brightness below which an image is nearly uniform. The flattest pet photo has 14."""

BLURRY = 0.03
"""Variance of the Laplacian over variance of brightness, of the thumbnail: below it only soft shapes are left. Blurring
photos with a sigma of 3 % of their short side gives 0.015 (median); the softest of 8,000 pet photos has 0.047."""

ASPECT = 3.0
"""Longer side over shorter side above which resizing to a square distorts an image too much."""

SMALL = 0.25
"""Short side, as a share of the folder's median short side, below which an image under 64 pixels is unusually small."""

USUAL = 0.2
"""Where more than this share of all images is dark (or uniform, blurry, elongated), that is normal for the data: one
line says so, and no image is named."""

_TWELVE_BITS = 4095  # X-rays and most cameras; in true 16 bits, an image that is this dark has 16 gray levels left

_EXTRA_DATA = "spare bytes"


# ------------------------------------------------------------------------------------------------- files
@finding_kind(
    "unreadable",
    "Corrupt or unreadable images",
    severity="error",
    do="replace {the file with a good copy if you have one|the files with good copies if you have them}; training "
    "excludes {it|them}",
)
def _unreadable(catalog: Catalog) -> Iterator[Noticed]:
    by_reason: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in catalog.images:
        if not image.usable and image.path not in catalog.companions and not conversion(image.reason):
            by_reason[image.reason].append(image)
    return grouped(
        [by_reason[reason] for reason in sorted(by_reason)],
        message=lambda group: f"{count_files(len(group))} cannot be used: {group[0].reason}",
        merged=lambda n, groups: f"{n:,} files cannot be used, for {groups} different reasons",
        detail=lambda one, _: one.reason,
        leaves_out=lambda group: group,
    )


@finding_kind(
    "unsupported",
    "Images of formats that are not read",
    severity="error",
    do="convert {the file|the files}; until then training excludes {it|them}",
)
def _unsupported(catalog: Catalog) -> Iterator[Noticed]:
    by_way_out: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in catalog.images:
        if not image.usable and image.path not in catalog.companions and (do := conversion(image.reason)):
            by_way_out[do].append(image)
    for do in sorted(by_way_out):
        found = grouped(
            [by_way_out[do]],
            message=lambda group: f"{count_files(len(group))} cannot be used as {_it(group)}: {_why(group)}",
            detail=lambda one, _: one.reason,
            leaves_out=lambda group: group,
        )
        many = do.replace("convert it", "convert {it|each of them}", 1)
        yield from (one._replace(do=f"{many}; until then training excludes {{it|them}}") for one in found)


def _it(images: Sequence[ImageRecord]) -> str:
    return "it is" if len(images) == 1 else "they are"


def _why(images: Sequence[ImageRecord]) -> str:
    """Return the reason of images, or the formats where there are several reasons."""
    reasons = sorted({image.reason for image in images})
    if len(reasons) == 1:
        return reasons[0]
    named = [
        reason.removeprefix(UNSUPPORTED).strip(" ()") if reason.startswith(UNSUPPORTED) else reason
        for reason in reasons
    ]
    return f"formats that are not read ({format_list(named)})"


@finding_kind(
    "wrong-extension",
    "Wrong file name extension",
    severity="note",
    do="nothing to do here: {the image is|the images are} used; other programs may fail on the {name|names}",
)
def _wrong_extension(catalog: Catalog) -> Iterator[Noticed]:
    wrong: defaultdict[tuple[str, str], list[ImageRecord]] = defaultdict(list)
    for image in catalog.usable:
        extension = posixpath.splitext(image.path)[1].lower()
        if len(extension) > 1 and extension not in EXTENSIONS.get(image.header.format, (extension,)):
            wrong[image.header.format, extension].append(image)
    return grouped(
        [wrong[key] for key in sorted(wrong)],
        message=lambda group: (
            f"{count_files(len(group))} named {PurePosixPath(group[0].path).suffix} "
            f"{'is' if len(group) == 1 else 'are'} {group[0].header.format}"
        ),
        merged=lambda n, _: f"{n:,} files have an extension of another format",
        detail=lambda one, _: f"{one.header.format} named {PurePosixPath(one.path).suffix}",
    )


@finding_kind(
    "damaged",
    "Possibly corrupt images",
    severity="warning",
    do="look at {the image|the images}: if a part is shifted or discolored, replace the file with a good copy; "
    "{it is|they are} used",
)
def _damaged(catalog: Catalog) -> Iterator[Noticed]:
    return grouped(
        [[image for image in catalog.usable if _EXTRA_DATA in image.oddity]],
        message=lambda group: f"{count_files(len(group))} may be corrupt: there is more data than the image needs",
        detail=lambda one, _: one.oddity,
    )


@finding_kind(
    "odd-file",
    "Harmless format errors",
    severity="note",
    do="nothing to do: {the image is|the images are} used",
)
def _odd_file(catalog: Catalog) -> Iterator[Noticed]:
    return grouped(
        [[image for image in catalog.usable if image.oddity and _EXTRA_DATA not in image.oddity]],
        message=lambda group: f"{count_files(len(group))} with a harmless format error; nothing is missing",
        detail=lambda one, _: one.oddity,
    )


@finding_kind(
    "print-colors",
    "CMYK images",
    severity="note",
    do="nothing to do: {the image is|the images are} used; save {it|them} as RGB if {its|their} colors look wrong",
)
def _print_colors(catalog: Catalog) -> Iterator[Noticed]:
    return grouped(
        [[image for image in catalog.usable if image.header.mode == "CMYK"]],
        message=lambda group: f"{count_files(len(group))} in CMYK (print colors), converted to RGB",
        detail=lambda one, _: "CMYK",
    )


@finding_kind(
    "color-profile",
    "Wide-gamut color profiles",
    severity="note",
    do="nothing to do: training and prediction convert such colors to sRGB",
)
def _color_profile(catalog: Catalog) -> Iterator[Noticed]:
    named: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for image in catalog.usable:
        if image.profile:
            named[image.profile].append(image)
    return grouped(
        [named[name] for name in sorted(named)],
        message=lambda group: f"{count_images(len(group))} with the color profile {group[0].profile}",
        merged=lambda n, groups: f"{n:,} images with {groups} different color profiles",
        detail=lambda one, _: one.profile,
    )


@finding_kind(
    "animated",
    "Animations and multi-page files",
    severity="note",
    do="if another frame matters, save it as an image of its own",
)
def _animated(catalog: Catalog) -> Iterator[Noticed]:
    return grouped(
        [[image for image in catalog.usable if image.header.frames > 1]],
        message=lambda group: f"{count_files(len(group))} with several frames or pages; the first is used",
        detail=lambda one, _: f"{one.header.frames} frames",
    )


@finding_kind(
    "bit-depth",
    "Unused bits of 16-bit images",
    severity="note",
    do="nothing to do: preparing and predicting scale all 16-bit images by this value",
)
def _bit_depth(catalog: Catalog) -> Iterator[Noticed]:
    deep = [image for image in catalog.usable if image.peak]
    if catalog.white < WHITE:
        bits, peak = catalog.white.bit_length(), max(image.peak for image in deep)
        yield Noticed(
            f"these 16-bit images use {bits} bits ({count_images(len(deep))}, values up to {peak:,}): "
            f"{catalog.white:,} becomes white"
        )
        return
    yield from (
        found._replace(
            severity="warning",
            do="save all images with the same range of values: one rule scales all of them, so these become very dark",
        )
        for found in grouped(
            [[image for image in deep if white_of(image.peak) <= _TWELVE_BITS]],
            message=lambda group: (
                f"{len(group):,} of {len(deep):,} 16-bit images {'uses' if len(group) == 1 else 'use'} "
                "at most 12 bits, others use more"
            ),
            detail=lambda one, _: f"16 bits, of which {white_of(one.peak).bit_length()} are used",
        )
    )


# ------------------------------------------------------------------------------------------------- content
def _is_uniform(image: ImageRecord) -> bool:
    return image.brightness.std < UNIFORM


@finding_kind(
    "uniform",
    "Nearly uniform images",
    severity="note",
    do="look at {the image|each image}: if it shows nothing, remove it from the folder",
)
def _uniform(catalog: Catalog) -> Iterator[Noticed]:
    return _outliers(
        catalog,
        [image for image in catalog.usable if _is_uniform(image)],
        "nearly uniform in color",
        detail=lambda one: f"brightness has a standard deviation of {one.brightness.std:.1f} of 255",
    )


@finding_kind(
    "dark",
    "Very dark images",
    severity="note",
    do="look at {the image|each image}: if you cannot recognize its class, brighten it or remove it from the folder",
)
def _dark(catalog: Catalog) -> Iterator[Noticed]:
    return _outliers(
        catalog,
        [image for image in catalog.usable if image.brightness.mean < DARK and not _is_uniform(image)],
        "very dark",
        detail=lambda one: f"mean brightness {one.brightness.mean:.0f} of 255",
    )


@finding_kind(
    "blurry",
    "Blurry images",
    severity="note",
    do="look at {the image|each image}: if you cannot recognize its class, remove it from the folder",
)
def _blurry(catalog: Catalog) -> Iterator[Noticed]:
    return _outliers(
        catalog,
        [
            image
            for image in catalog.usable
            if min(image.header.width, image.header.height) >= LEAST_SIDE
            and not _is_uniform(image)
            and image.brightness.sharpness < BLURRY * image.brightness.std**2
        ],
        "very blurry",
        detail=lambda one: "only soft shapes are left",
    )


@finding_kind(
    "odd-aspect",
    "Unusual aspect ratio",
    severity="note",
    do="look at {the image|the images}; --resize pad keeps the aspect ratio, the default stretches it to a square",
)
def _odd_aspect(catalog: Catalog) -> Iterator[Noticed]:
    return _outliers(
        catalog,
        [image for image in catalog.usable if _long_side(image) > ASPECT * _short_side(image)],
        f"more than {ASPECT:g} times as long as wide",
        detail=_size,
    )


@finding_kind(
    "odd-size",
    "Unusually small images",
    severity="note",
    do="replace {the file with a larger copy if you have one|the files with larger copies if you have them}: enlarging "
    "{it blurs it|them blurs them}",
)
def _odd_size(catalog: Catalog) -> Iterator[Noticed]:
    if not catalog.usable:
        return iter(())
    middle = statistics.median(map(_short_side, catalog.usable))
    return _outliers(
        catalog,
        [image for image in catalog.usable if _short_side(image) < min(SMALL * middle, LEAST_SIDE)],
        f"less than a quarter of the usual size ({middle:g} pixels)",
        detail=_size,
    )


def _short_side(image: ImageRecord) -> int:
    return min(image.header.width, image.header.height)


def _long_side(image: ImageRecord) -> int:
    return max(image.header.width, image.header.height)


def _size(image: ImageRecord) -> str:
    return f"{image.header.width}x{image.header.height} pixels"


def _outliers(
    catalog: Catalog, images: Sequence[ImageRecord], what: str, *, detail: Callable[[ImageRecord], str]
) -> Iterator[Noticed]:
    """Name the images that differ from the rest of the folder; where they are common, only say so."""
    if not images:
        return
    share = len(images) / len(catalog.usable)
    if share > USUAL and len(catalog.usable) >= 1 / USUAL:
        yield Noticed(
            f"{format_percent(share, 0)} of the images are {what}",
            do="nothing to do if that is normal for these images",
        )
        return
    paths = tuple(image.path for image in images)
    message = f"{count_images(len(images))} {'is' if len(images) == 1 else 'are'} {what}"
    yield Noticed(message, paths, details=tuple(map(detail, images)))
