"""The class of each image from its file name: ``cat.0.jpg``, ``dog_12.png``, ``0007-maple.jpg``.

In: paths, and a regular expression or nothing. Out: the class of each path, or the expression that would give them.
It opens no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from housetrain.data.split_names import split_of
from housetrain.errors import RecipeError

PATTERNS = (
    r"^(.+?)[ ._-]*\(?\d+\)?$",  # cat.0, dog_12, maple (3), american_bulldog_100
    r"^\d+[ ._-]+(.*[^\W\d].*)$",  # 0007-maple
    r"^([^\W\d]+)[ ._-]",  # cat_front_a3
    r"\d[ ._-]+([^\W\d]+)$",  # IMG_0012_cat
)
"""What is tried, in this order, on a file name without its extension."""

CAMERA = frozenset(
    (
        *("img", "image", "images", "dsc", "dscn", "dscf", "dcim", "p", "pxl", "photo", "picture", "pic"),
        *("frame", "scan", "screenshot", "file", "sample", "mvimg", "gopr", "dji", "wp", "sam", "imag"),
        *("untitled", "page", "copy", "x", "im"),
    )
)
"""What cameras and programs call their files: these words name no class."""

_MATCHES = 0.9  # share of the names that must match
_LEAST = 2  # images of a class, on average at least twice as many


def labels_from_names(paths: Sequence[str], pattern: str) -> dict[str, str]:
    """Return the class of each path whose file name matches.

    Args:
        paths: Paths with ``/``.
        pattern: A regular expression with one group, or with one called ``label``; searched in the file name without
            its extension.

    Raises:
        RecipeError: It is no regular expression, or has no group.
    """
    compiled = compiled_pattern(pattern)
    named = "label" in compiled.groupindex
    found: dict[str, str] = {}
    for path in paths:
        match = compiled.search(PurePosixPath(path).stem)
        label = match["label" if named else 1] if match else None
        if label and (label := label.strip(" ._-")):
            found[path] = label
    return found


def compiled_pattern(pattern: str) -> re.Pattern[str]:
    """Return the compiled expression of ``--label-from-name``.

    Raises:
        RecipeError: It is no regular expression, or has no group.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise RecipeError(
            f"This is no regular expression ({error})",
            expected=r"one group around the class, such as '^(.+?)[._-]\d+$' for cat.0.jpg",
            label_from_name=pattern,
        ) from None
    if not compiled.groups:
        raise RecipeError(
            "The expression has no group",
            expected=r"one group around the class, such as '^(.+?)[._-]\d+$' for cat.0.jpg",
            label_from_name=pattern,
        )
    return compiled


def pattern_for(paths: Sequence[str]) -> str | None:
    """Return the expression by which the names of these images carry their class, or ``None``.

    An expression counts when it matches nearly all names and yields two classes or more, with few exceptions of several
    images each, and not the names that cameras give (``IMG_0001``).
    """
    for pattern in PATTERNS:
        labels = labels_from_names(paths, pattern)
        counts = Counter(labels.values())
        words = {word for label in counts for word in re.findall(r"[^\W\d_]+", label.lower())}
        if (
            len(labels) >= _MATCHES * len(paths)
            and len(counts) >= 2
            and 2 * _LEAST * len(counts) <= len(labels)
            and sum(count >= _LEAST for count in counts.values()) >= 0.9 * len(counts)
            and words - CAMERA
            and not words <= CAMERA
            and not all(split_of(label) for label in counts)
        ):
            return pattern
    return None
