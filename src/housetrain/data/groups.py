"""A rule -> which images belong together: one animal, patient, plate, camera or burst.

In: a `Catalog`, and a rule or the groups themselves. Out: `ImageGroups`, the name of the group of each image. It does
not know splits, or which images look alike (`housetrain.data.split_groups` joins both).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.data.label_source import LabelSource
from housetrain.errors import FolderError, RecipeError
from housetrain.system.text import format_count

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.image_record import ImageRecord

Groups = str | Mapping[str, Any] | Callable[[str], Any] | Sequence[Any]
"""A rule (see `groups_of`), a mapping or a function from path to group, or a list with one group an image."""

PARENT, BURST, NEAR = "parent", "exif-burst", "near-duplicates"
BURST_SECONDS = 10.0
"""Most seconds between two images of a burst. Camera traps take bursts of 3 to 10 images, 1 or 2 seconds apart."""

_EXPECTED = (
    f"{PARENT}, {BURST} or {BURST}:SECONDS, {NEAR}, FILE.csv:COLUMN, or a regular expression such as "
    r"'plant\d+' or '([^/_]+)_\d+[.]'"
)
_TABLE = re.compile(r"[^:]\.(csv|tsv|txt|lst|dat|jsonl|ndjson|json)(:|$)", re.IGNORECASE)


@dataclass(frozen=True)
class ImageGroups:
    """The named groups of a folder of images.

    Attributes:
        rule: The rule as it was given; ``"mapping"``, ``"function"`` or ``"list"`` for groups that are no text.
        of: Path -> name of its group. An image that is not among them belongs to no other.
    """

    rule: str
    of: Mapping[str, str]

    def keys(self) -> dict[str, str]:
        """Return path -> 64 hexadecimal digits of the name: the same in every folder that has this group."""
        return {path: hashlib.sha256(b"group\0" + _bytes(name)).hexdigest() for path, name in self.of.items()}

    def describe(self, images: int) -> str:
        """Return, for example, ``85 groups of 2 to 30 images (median 12) by parent; 3 images are in none``."""
        sizes = sorted(Counter(self.of.values()).values())
        low, middle, high = sizes[0], sizes[len(sizes) // 2], sizes[-1]
        spread = format_count(high, "image") if low == high else f"{low:,} to {high:,} images (median {middle:,})"
        text = f"{format_count(len(sizes), 'group')} of {spread} by {self.rule}"
        alone = images - len(self.of)
        return f"{text}; {format_count(alone, 'image is', 'images are')} in none" if alone > 0 else text


def groups_of(catalog: Catalog, groups: Groups | ImageGroups | None) -> ImageGroups | None:
    """Return the named groups of the images.

    Args:
        catalog: The images.
        groups: ``"parent"``: the folder of an image, below its class folder; ``"exif-burst"`` or
            ``"exif-burst:SECONDS"``: images of one camera with at most so many seconds from one to the next;
            ``"FILE.csv:COLUMN"``: a column of a table, whose other column names the images; ``"near-duplicates"``: no
            others, which is the default; any other text is a regular expression, searched in the path relative to the
            folder of images: its first group, or all that it matches, is the group. Or a function or a mapping from
            path to group (``None``, ``""`` or no entry: in no group); or a list with one group for each image of
            ``catalog.images``.

    Raises:
        RecipeError: The rule is none, or finds no group.
        FolderError: The table is missing, or has no such column.
    """
    if groups is None or isinstance(groups, ImageGroups) or groups == NEAR:
        return None if groups == NEAR else groups  # type: ignore[return-value]
    rule, found = _named(catalog, groups)
    usable = {image.path for image in catalog.usable}
    of = {path: text for path, name in found if path in usable and name is not None and (text := str(name))}
    if not of:
        raise RecipeError(
            f"No image is in a group{_why_none(groups)}", expected=_EXPECTED, group_by=rule,
            image=next(iter(sorted(usable)), ""),
        )  # fmt: skip
    return ImageGroups(rule, of)


def rule_text(groups: Groups | ImageGroups | None) -> str:
    """Return the rule as a manifest keeps it; ``""`` for none."""
    if groups is None or groups == NEAR:
        return ""
    if isinstance(groups, ImageGroups):
        return groups.rule
    if isinstance(groups, str):
        return groups
    return "mapping" if isinstance(groups, Mapping) else "function" if callable(groups) else "list"


def pattern_key(rule: str, *, option: str) -> Callable[[str], str | None]:
    """Return the function that finds a regular expression in a path: its first group, or all that it matches.

    Args:
        rule: The expression.
        option: Its name in an error.

    Raises:
        RecipeError: It is no regular expression.
    """
    try:
        pattern = re.compile(rule)
    except (re.error, RecursionError, OverflowError) as error:
        expected = _EXPECTED if option == "group_by" else r"parent, or an expression such as '(IMG_\d+)_\d+[.]'"
        raise RecipeError(
            "The rule is no regular expression", expected=expected, error=error, **{option: rule}
        ) from None

    def key(path: str) -> str | None:
        found = pattern.search(path)
        if found is None:
            return None
        return found.group(1) if pattern.groups and found.group(1) is not None else found.group(0)

    return key


def _named(catalog: Catalog, groups: Groups) -> tuple[str, Iterable[tuple[str, Any]]]:
    """Return the rule, and (path, name of the group) of the images."""
    paths, rule = [image.path for image in catalog.images], rule_text(groups)
    if isinstance(groups, str):
        return rule, _by_rule(catalog, groups)
    if isinstance(groups, Mapping):
        return rule, ((path, groups.get(path)) for path in paths)
    if callable(groups):
        return rule, ((path, groups(path)) for path in paths)
    if len(groups) != len(paths):
        raise RecipeError(
            "The list of groups has another length than the list of images",
            expected="one group for each image of catalog.images", groups=len(groups), images=len(paths),
        )  # fmt: skip
    return rule, zip(paths, groups, strict=True)


def _by_rule(catalog: Catalog, rule: str) -> Iterable[tuple[str, str | None]]:
    if rule == PARENT:
        return _by_parent(catalog)
    name, _, seconds = rule.partition(":")
    if name == BURST:
        return bursts(catalog.images, _seconds(rule, seconds) if seconds else BURST_SECONDS).items()
    if _TABLE.search(rule) or Path(rule.rpartition(":")[0]).is_file():
        return _by_column(catalog, rule).items()
    key = pattern_key(rule, option="group_by")
    return [(image.path, key(image.path)) for image in catalog.images]


def _by_parent(catalog: Catalog) -> Iterable[tuple[str, str | None]]:
    """Yield the folder of each image; images that lie in the folder of a whole class are in no group."""
    folders: defaultdict[tuple[str | None, str], set[str]] = defaultdict(set)
    for image in catalog.images:
        folders[image.split, image.label].add(image.path.rpartition("/")[0])
    shared = {key: os.path.commonpath(names) for key, names in folders.items()}
    for image in catalog.images:
        own = image.path.rpartition("/")[0]
        whole_class = f"{shared[image.split, image.label]}/".startswith(f"{own}/")
        yield image.path, None if not own or whole_class else own


def bursts(images: Iterable[ImageRecord], seconds: float) -> dict[str, str]:
    """Return the burst of each image that says when it was taken and by which camera.

    Args:
        images: Records.
        seconds: Most seconds from one image of a burst to the next.

    Returns:
        Path -> camera and time of the burst's first image.
    """
    by_camera: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for image in images:
        if image.header.taken:
            by_camera[image.header.camera].append((datetime.fromisoformat(image.header.taken), image.path))
    found: dict[str, str] = {}
    for camera, taken in by_camera.items():
        last, name = datetime.min, ""
        for when, path in sorted(taken):
            if when - last > timedelta(seconds=seconds):
                name = f"{camera} {when.isoformat()}"
            found[path], last = name, when
    return found


def _seconds(rule: str, text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise RecipeError("The length of a burst is no number of seconds", expected="0 to 86,400", group_by=rule)
    return seconds


def _by_column(catalog: Catalog, rule: str) -> dict[str, str]:
    from housetrain.data.label_table import LabelTable

    if LabelSource(labels=rule).found(catalog.root):
        files, column = LabelSource(labels=rule).found(catalog.root), ""
    else:
        name, _, column = rule.rpartition(":")
        files = LabelSource(labels=name).found(catalog.root) if name else []
    if not files:
        raise FolderError("There is no such table of groups", expected="FILE.csv:COLUMN", group_by=rule)
    paths = [image.path for image in catalog.images]
    found: dict[str, str] = {}
    for file in files:
        found |= LabelTable.read(file, paths, root=catalog.root).groups(column)
    return found


def _why_none(groups: Groups) -> str:
    if groups == PARENT:
        return ": the images lie directly in their class folders"
    if isinstance(groups, str) and groups.partition(":")[0] == BURST:
        return ": no image says in its EXIF data when it was taken"
    return ": the rule matches no path" if isinstance(groups, str) else ""


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
