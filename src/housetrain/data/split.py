"""Train / validation / test split: the rules that assign each image of a catalog to one of the three.

In: a ``Catalog`` and its findings. Out: a `SplitManifest`. Nothing is written, copied or moved.

The split of an image is a pure function of its content and the seed: ``u = sha256(seed:group) / 2**256`` is in [0, 1);
below ``test_split`` is test, above ``1 - validation_split`` is validation, the rest is train. So adding or removing an
image does not move the others, two computers agree without communicating, and a renamed file keeps its split.
A group is an image with its near-duplicates, and the images that a rule of the user joins with it: a burst of the same
cat is never in two splits. A named group is placed by its name, so a new image of it joins the others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast, get_args

from housetrain.data.assign import assign, position
from housetrain.data.corrections import LEAVE_OUT
from housetrain.data.groups import Groups, ImageGroups, groups_of, rule_text
from housetrain.data.split_groups import Keep, split_groups
from housetrain.data.split_manifest import SPLITS, LeftOut, Row, SplitManifest, SplitName
from housetrain.errors import FolderError, RecipeError
from housetrain.images.input_spec import WHITE
from housetrain.system.text import format_count, format_list, natural_key

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.findings import Finding
    from housetrain.data.image_record import ImageRecord

Balance = Literal["weights", "trim", "none"]
_LISTED = 10  # problems named in one message


class SplitOptions(TypedDict, total=False):
    """The keyword arguments of `split`, for functions that pass them on."""

    seed: int
    validation_split: float
    test_split: float
    test_per_class: int | None
    balance: Balance
    keep_duplicates_together: Keep
    classes: Sequence[str] | None
    groups: Groups | ImageGroups | None


def split(
    catalog: Catalog,
    *,
    findings: Sequence[Finding] | None = None,
    seed: int = 0,
    validation_split: float = 0.15,
    test_split: float = 0.15,
    test_per_class: int | None = None,
    balance: Balance = "weights",
    keep_duplicates_together: Keep = "near",
    classes: Sequence[str] | None = None,
    groups: Groups | ImageGroups | None = None,
    earlier: SplitManifest | None = None,
) -> SplitManifest:
    """Split a catalog into train, validation and test; nothing is written or moved.

    Ready-made ``train/``, ``validation/``, ``test/`` folders are kept; a missing split is taken from train by content
    hash, and so is validation for the classes that a ready-made one lacks. Each split has an image of every class.

    Args:
        catalog: What `scan` returned.
        findings: What `check` returned; by default it is called. Images that a finding excludes are in no split.
        seed: Seed of the split, any integer.
        validation_split: Share of each class for validation, in (0, 1).
        test_split: Share of each class for the test, in [0, 1). 0: validation only, as in many tutorials; a ready-made
            test folder is kept. Not used with ``test_per_class``.
        test_per_class: Test images of each class instead of a share; with ``groups`` as near as whole groups allow.
        balance: ``"weights"`` keeps all images and lets training weight the classes, ``"trim"`` trims the classes of
            train and validation (never of test) to the smallest one, ``"none"`` does neither.
        keep_duplicates_together: Which images are never divided between splits: ``"near"``-duplicates, or only
            ``"exact"`` ones, of which one is used; ``"none"``: every file is split on its own, as in most tutorials.
        classes: All classes in the order of their numbers, such as ``["Dog", "Cat"]``; alphabetical by default.
        groups: What else is never divided, such as the images of one animal: see `housetrain.data.groups.groups_of`.
        earlier: A split of an earlier state of the folder: images keep their place in it.

    Raises:
        FolderError: Fewer than two classes, or a class with too few images or groups; the message lists all.
        RecipeError: An option out of its range.
    """
    from housetrain.data.checks import check

    options = SplitOptions(
        seed=seed, validation_split=validation_split, test_split=test_split, test_per_class=test_per_class,
        balance=balance, keep_duplicates_together=keep_duplicates_together,
        classes=None if classes is None else list(classes), groups=groups_of(catalog, groups),
    )  # fmt: skip
    _check_options(options)
    found = check(catalog) if findings is None else findings
    if keep_duplicates_together == "none":
        found = [finding for finding in found if finding.kind != "exact-duplicate"]
    left_out = _left_out(catalog, found)
    images = [image for image in catalog.usable if image.path not in left_out]
    _check_classes(catalog, images, least=len(SPLITS) if test_split else len(SPLITS) - 1)
    rows, names = _assigned(catalog, images, options, earlier)
    if balance == "trim":
        rows = _trim(rows, seed=seed, left_out=left_out)
    excluded = [LeftOut(one.path, one.label, left_out[one.path]) for one in catalog.images if one.path in left_out]
    # Only the default findings follow from the catalog; with others the rows must be compared instead.
    about = recorded(catalog, options) | {"catalog": catalog.fingerprint if findings is None else ""}
    return SplitManifest.of_rows(catalog.root, names, rows=rows, left_out=excluded, options=about)


_NEWER_DEFAULTS: tuple[tuple[str, Any], ...] = (("keep_duplicates_together", "near"), ("classes", None))


def _in_order(labels: set[str], classes: Sequence[str] | None) -> list[str]:
    """Return the labels in the order of ``classes``."""
    if classes is None:
        return sorted(labels, key=natural_key)
    if len(classes) != len(set(classes)) or set(classes) != labels:
        raise RecipeError(
            "The class order does not name each class once",
            expected=", ".join(sorted(labels, key=natural_key)),
            do="name all classes; to drop or merge some, use a class map (--map)",
            classes=", ".join(classes),
        )
    return list(classes)


def recorded(catalog: Catalog, options: SplitOptions) -> dict[str, Any]:
    """Return what the manifest says of how the images were split; newer options only where they are not the default."""
    rule = rule_text(options.get("groups"))
    plain = {name: value for name, value in options.items() if name != "groups"}
    corrections = {"relabeled": len(catalog.relabeled), "left_out": len(catalog.left_out)}
    return {
        **{name: value for name, value in plain.items() if (name, value) not in _NEWER_DEFAULTS},
        **({"group_by": rule} if rule else {}),
        "ready_made": catalog.ready_made,
        **({"labels": catalog.label_source} if catalog.label_source else {}),
        **({"white": catalog.white} if catalog.white != WHITE else {}),
        **({"corrections": corrections} if any(corrections.values()) else {}),
    }


def _assigned(
    catalog: Catalog, images: Sequence[ImageRecord], options: SplitOptions, earlier: SplitManifest | None
) -> tuple[list[Row], list[str]]:
    """Return the rows and the classes of a split."""
    named = cast("ImageGroups | None", options["groups"])
    groups = split_groups(catalog, options["keep_duplicates_together"], named)
    has_test = options["test_split"] > 0
    if named and not catalog.ready_made:
        _check_groups(images, groups, named.rule, needed=SPLITS if has_test else SPLITS[:2])
    fixed, ready_made = _fixed(images, groups, earlier), catalog.ready_made
    try:
        rows = _rows(images, groups, options=options, ready_made=ready_made, fixed=fixed)
        classes = _in_order({row.label for row in rows}, options["classes"])
        _check_rows(rows, classes, ready_made=ready_made, has_test=has_test)
    except FolderError:
        if earlier is None:
            raise
        return _assigned(catalog, images, options, None)  # too many images are gone for the others to stay
    return rows, classes


def _fixed(
    images: Sequence[ImageRecord], groups: Mapping[str, str], earlier: SplitManifest | None
) -> dict[str, SplitName]:
    """Return group -> split of the groups with images of an earlier split; of joined groups, where most images were."""
    where = {row.sha256: row.split for row in earlier.rows} if earlier else {}
    votes: defaultdict[str, Counter[SplitName]] = defaultdict(Counter)
    for image in images if where else ():
        if image.sha256 in where:
            votes[groups[image.path]][where[image.sha256]] += 1
    return {group: max(SPLITS, key=lambda name: counts[name]) for group, counts in votes.items()}


def _check_groups(
    images: Sequence[ImageRecord], groups: Mapping[str, str], rule: str, *, needed: Sequence[SplitName]
) -> None:
    of_class: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        of_class[image.label].add(groups[image.path])
    problems = [
        f"class {label!r} has only {format_count(len(own), 'group')}, too few for {format_list(needed)}"
        for label, own in sorted(of_class.items())
        if len(own) < len(needed)
    ]
    if problems:
        raise FolderError(
            f"The groups cannot be split: {shortened(problems)}",
            expected=f"at least {len(needed)} groups of each class",
            do="add images of other groups, or group by something that differs within a class", group_by=rule,
        )  # fmt: skip


def _rows(
    images: Sequence[ImageRecord],
    groups: dict[str, str],
    *,
    options: SplitOptions,
    ready_made: bool,
    fixed: Mapping[str, SplitName],
) -> list[Row]:
    """Assign each image to a split."""
    kept, pool = _ready_made(images) if ready_made else ({}, images)
    missing = [name for name in SPLITS[1:] if name not in set(kept.values())]
    assigned, problems = assign(
        pool,
        groups,
        seed=options["seed"],
        validation_split=options["validation_split"] if "validation" in missing else 0.0,
        test_split=options["test_split"] if "test" in missing else 0.0,
        per_class=options["test_per_class"] if "test" in missing else None,
        named=options["groups"] is not None,
        fixed=fixed,
    )
    if problems:
        raise _unusable(problems, None)
    where = {image.path: kept.get(image.path) or assigned[groups[image.path]] for image in images}
    if ready_made:
        _draw_validation(images, groups, where, options=options)
    return [Row(image.path, image.sha256, image.label, where[image.path], groups[image.path]) for image in images]


def _draw_validation(
    images: Sequence[ImageRecord], groups: dict[str, str], where: dict[str, SplitName], *, options: SplitOptions
) -> None:
    """Draw validation from train for the classes that a ready-made validation folder lacks; changes ``where``."""
    has = {image.label for image in images if where[image.path] == "validation"}
    pool = [image for image in images if image.label not in has and where[image.path] == "train"]
    drawn, _ = assign(
        pool, groups, seed=options["seed"], validation_split=options["validation_split"], test_split=0.0, per_class=None
    )
    where.update((image.path, drawn[groups[image.path]]) for image in pool)


def complete_options(**options: Any) -> dict[str, Any]:
    """Return the options of `split` with defaults filled in, as `SplitManifest.options` has them."""
    defaults = split.__kwdefaults__ or {}
    plain = {name: options.get(name, defaults[name]) for name in SplitOptions.__annotations__ if name != "groups"}
    rule = options.get("group_by") or rule_text(options.get("groups"))
    return {**plain, **({"group_by": rule} if rule else {})}


def _check_options(options: SplitOptions) -> None:
    validation_split, test_split, per_class = (
        options["validation_split"], options["test_split"], options["test_per_class"],
    )  # fmt: skip
    problems = []
    if not (0 < validation_split < 1 and 0 <= test_split < 1 and validation_split + test_split < 1):
        problems.append("validation_split above 0 and test_split of at least 0, with a sum below 1")
    if per_class is not None and per_class < 1:
        problems.append("test_per_class of at least 1")
    if per_class is not None and test_split == 0:
        problems.append("either test_per_class or a test_split of 0")
    if options["balance"] not in get_args(Balance):
        problems.append(f"balance one of {', '.join(get_args(Balance))}")
    if options["keep_duplicates_together"] not in get_args(Keep):
        problems.append(f"keep_duplicates_together one of {', '.join(get_args(Keep))}")
    if problems:
        given: dict[str, Any] = {name: value for name, value in options.items() if name not in ("seed", "groups")}
        raise RecipeError("Invalid split options", expected="; ".join(problems), **given)


def _left_out(catalog: Catalog, findings: Iterable[Finding]) -> dict[str, str]:
    """Return path -> reason for each image that is excluded from all splits."""
    reasons = {image.path: f"unreadable: {image.reason}" for image in catalog.images if not image.usable}
    reasons |= dict.fromkeys(catalog.left_out, f"corrections: {LEAVE_OUT}")
    for finding in findings:
        details = dict(zip(finding.paths, finding.details, strict=False))
        for path in finding.leaves_out:
            reasons.setdefault(path, f"{finding.kind}: {details.get(path, finding.message)}")
    return reasons


def _check_classes(catalog: Catalog, images: Sequence[ImageRecord], *, least: int) -> None:
    needed = format_list(SPLITS[:least], limit=least)
    counts = Counter(image.label for image in images)
    names = sorted({*catalog.classes, *catalog.empty_classes, *counts}, key=natural_key)
    problems = [f"class {name!r} has no usable image" for name in names if not counts[name]]
    problems += [
        f"class {name!r} has only {counts[name]} usable, too few for {needed}"
        for name in names
        if 0 < counts[name] < least
    ]
    if len(names) < 2:
        problems.insert(0, f"there is one class, {names[0]!r}" if names else "there is no class")
    if problems:
        raise _unusable(problems, catalog.root, alone=names[0] if len(names) == 1 else "")


def _check_rows(rows: Sequence[Row], classes: Sequence[str], *, ready_made: bool, has_test: bool) -> None:
    counts = Counter((row.label, row.split) for row in rows)
    # A ready-made test folder may lack a class on purpose; training is impossible without train and validation.
    needed = SPLITS if has_test and not ready_made else SPLITS[:2]
    problems = [
        f"class {label!r} has too few different images: none is left for {name}"
        for label in classes
        for name in needed
        if not counts[label, name]
    ]
    if ready_made and has_test and not any(row.split == "test" for row in rows):
        problems.append("no image is left for test")
    if problems:
        raise _unusable(problems, None)


def _unusable(problems: Sequence[str], root: Path | None, *, alone: str = "") -> FolderError:
    do = "add images to the class folders, or remove the folder of the class"
    if alone:
        do = f"add a folder with the images of another class beside {alone}"
    return FolderError(
        f"The folder cannot be split: {shortened(problems)}",
        expected="at least two classes of at least three different images each, better hundreds",
        do=do,
        **({"folder": root} if root else {}),
    )


def shortened(problems: Sequence[str]) -> str:
    """Return the first problems as one text."""
    more = f"; and {len(problems) - _LISTED:,} more" if len(problems) > _LISTED else ""
    return f"{'; '.join(problems[:_LISTED])}{more}"


def _ready_made(images: Sequence[ImageRecord]) -> tuple[dict[str, SplitName], list[ImageRecord]]:
    """Return path -> split of the ready-made splits, and the images from which a missing split may be taken."""
    present = {image.split for image in images}
    complete = {"validation", "test"} <= present
    kept: dict[str, SplitName] = {}
    pool = []
    for image in images:
        if image.split in SPLITS[1:] or complete:
            kept[image.path] = cast("SplitName", image.split or "train")
        else:
            pool.append(image)
    return kept, pool


def _trim(rows: Sequence[Row], *, seed: int, left_out: dict[str, str]) -> list[Row]:
    """Trim each class of train and validation to the size of the smallest; add the others to ``left_out``."""
    kept = [row for row in rows if row.split == "test"]
    for name in SPLITS[:2]:
        by_class: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row.split == name:
                by_class[row.label].append(row)
        smallest = min(len(members) for members in by_class.values())
        for members in by_class.values():
            members.sort(key=lambda row: (position(seed, row.group), row.sha256, row.path))
            kept += members[:smallest]
            for row in members[smallest:]:
                left_out[row.path] = f"trimmed: the smallest class has {smallest} in {name}"
    return kept
