"""A split -> findings about it: classes that did not get their share, duplicates that may be in two splits.

In: a `SplitManifest`. Out: `Finding` values. It knows nothing of the images but their rows, and moves none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from housetrain.data.findings import Finding
from housetrain.data.split_manifest import SPLITS, Row, SplitManifest
from housetrain.system.text import format_count

TOLERANCE = 0.05
"""Share of a class, beyond one image, by which a split may miss what was asked for without a finding. From 500 images
on chance alone misses less; below that the share is met unless groups of near-duplicates are in the way."""

_LISTED = 20  # classes from which one line stands for all


def split_findings(manifest: SplitManifest) -> tuple[Finding, ...]:
    """Return what is to be said about a split before a model is trained on it."""
    return (*_apart(manifest), *_straddling(manifest), *_uneven(manifest))


def _apart(manifest: SplitManifest) -> Iterator[Finding]:
    keep = manifest.options.get("keep_duplicates_together", "near")
    if keep == "near":
        return
    what = "Near-duplicates" if keep == "exact" else "Near-duplicates and copies of one file"
    yield Finding(
        "duplicates-apart",
        "warning",
        (),
        f"{what} may be in train and in test (keep_duplicates_together is {keep}): the test accuracy is optimistic",
        "use near, the default, unless you know that these images are different ones",
        title="Duplicates may be in two splits",
    )


def _straddling(manifest: SplitManifest) -> Iterator[Finding]:
    """Groups that ready-made folders divide: the images stay where they are."""
    if "group_by" not in manifest.options:
        return
    sides: defaultdict[str, list[Row]] = defaultdict(list)
    for row in manifest.rows:
        sides[row.group].append(row)
    divided = [rows for rows in sides.values() if len({row.split for row in rows}) > 1]
    if divided:
        paths = tuple(row.path for rows in divided for row in rows)
        yield Finding(
            "groups-apart",
            "warning",
            paths,
            f"{format_count(len(divided), 'group is', 'groups are')} in more than one of the ready-made splits "
            f"({format_count(len(paths), 'image')}), such as the group of {paths[0]}: the test accuracy is optimistic",
            "move the images of a group into one split; or put all images into class folders without train and test",
            title="Groups in two splits",
        )


def _uneven(manifest: SplitManifest) -> Iterator[Finding]:
    options = manifest.options
    if options.get("ready_made") or options.get("balance") == "trim":
        return
    asked = {"validation": options["validation_split"], "test": options["test_split"]}
    if options.get("test_per_class") is not None:
        del asked["test"]
    by_class: defaultdict[str, list[Row]] = defaultdict(list)
    for row in manifest.rows:
        by_class[row.label].append(row)
    found = []
    for label, rows in by_class.items():
        counts = Counter(row.split for row in rows)
        for name, share in asked.items():
            wanted, got = share * len(rows), counts[name]  # type: ignore[index]
            if abs(got - wanted) > 1 + TOLERANCE * len(rows):
                found.append((label, rows, name, round(wanted)))
    do = "add images of other scenes; or, if the images of a group are different ones, --keep-duplicates-together exact"
    what = "near-duplicates"
    if "group_by" in options:
        do, what = "add images of other groups, or accept the shares: a group is never divided", "images"
    title = "A class did not get its share of a split"
    if len(found) > _LISTED:
        worst = ", ".join(label for label, *_ in found[:5])
        text = f"{len(found)} shares of classes were missed because of groups of {what}, among them {worst}"
        yield Finding("uneven-split", "warning", (), text, do, title=title)
        return
    for label, rows, name, wanted in found:
        group = _largest(rows)
        where = next(row.split for row in rows if row.group == group[0].group)
        counts = Counter(row.split for row in rows)
        listed = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
        text = (
            f"{label} has {counts[name]:,} images in {name} instead of {wanted:,} ({listed}): "  # type: ignore[index]
            f"{len(group):,} {what}, such as {group[0].path}, are one group, all in {where}"
        )
        yield Finding("uneven-split", "warning", tuple(row.path for row in group), text, do, title=title)


def _largest(rows: Sequence[Row]) -> list[Row]:
    key = Counter(row.group for row in rows).most_common(1)[0][0]
    return [row for row in rows if row.group == key]
