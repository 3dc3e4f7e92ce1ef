"""Who learns, who steers, who judges: a catalogue divided into train, validation and test, as a list.

In: a ``Catalog`` and its findings. Out: a ``Split``: plain rows (path, sha256, label, split, group), what was left out
and why, and the options that led to it. Nothing is copied or moved; the list is the split.

The place of a picture is a pure function of its content and the seed: ``u = sha256(seed:group) / 2**256`` is in
[0, 1), the lowest ``test`` of it is the test split, the highest ``validation`` of it the validation split. So adding or
removing a picture does not move the others, two computers agree without talking, and a renamed file stays where it was.
A group is a picture with its near duplicates: a burst of the same cat never stands on both sides.

This module does not know how pictures are decoded, nor what is done with the rows.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast, get_args

from housetrain.disk import write_atomic
from housetrain.errors import CorruptError, FolderError, IncompleteError, RecipeError

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog, Picture
    from housetrain.data.checks import Finding

SplitName = Literal["train", "validation", "test"]
Balance = Literal["weights", "trim", "none"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
FILE_NAME = "split.json"
_FORMAT = 1  # raised when the same catalogue would be divided otherwise, or the file is laid out otherwise


class SplitOptions(TypedDict, total=False):
    """The keyword arguments of `split`, for functions that pass them on."""

    seed: int
    validation: float
    test: float
    test_per_class: int | None
    balance: Balance


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a split.

    Attributes:
        path: POSIX path relative to the root.
        sha256: Of the file's bytes, 64 hex digits.
        label: The class, by name.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        group: Key shared with the picture's near duplicates; its own sha256 where it has none.
    """

    path: str
    sha256: str
    label: str
    split: SplitName
    group: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One picture that is in no split, and why."""

    path: str
    label: str
    reason: str


@dataclass(frozen=True)
class Split:
    """The division of a folder of pictures. Make one with `split`.

    Attributes:
        root: The folder of pictures.
        classes: Names of the classes, sorted; a label's index is its place here.
        rows: Train, then validation, then test; inside a split ordered by content hash, which mixes the classes.
        left_out: Pictures in no split, with the reason, ordered by path.
        options: seed, validation, test, test_per_class, balance, ready_made, and the catalogue's fingerprint.
        fingerprint: 64 hex digits over classes, rows and options; equal splits have equal fingerprints.
    """

    root: Path
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    options: dict[str, Any]
    fingerprint: str

    @classmethod
    def of_rows(
        cls,
        root: Path,
        classes: Sequence[str],
        *,
        rows: Iterable[Row],
        left_out: Iterable[LeftOut] = (),
        options: dict[str, Any],
    ) -> Split:
        """Build a split from rows in any order: they are put in the canonical order and fingerprinted."""
        place = {name: number for number, name in enumerate(SPLITS)}
        ordered = tuple(sorted(rows, key=lambda row: (place[row.split], row.sha256, row.path)))
        left = tuple(sorted(left_out, key=lambda one: one.path))
        names = tuple(classes)
        return cls(root, names, ordered, left, dict(options), _fingerprint(names, ordered, options))

    def of(self, name: SplitName) -> tuple[Row, ...]:
        """Return the rows of one split, in the order of the prepared arrays."""
        return tuple(row for row in self.rows if row.split == name)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many pictures each split has of each class: ``{"train": {"Cat": 2800, ...}, ...}``."""
        seen = Counter((row.split, row.label) for row in self.rows)
        return {name: {label: seen[name, label] for label in self.classes} for name in SPLITS}

    def save(self, folder: Path) -> Path:
        """Write ``split.json`` into ``folder`` (which must exist) in one step and return its path."""
        return self.write(folder / FILE_NAME)

    def write(self, path: Path) -> Path:
        """Write the split as the file ``path`` in one step (temporary file, fsync, rename)."""
        write_atomic(path, self.to_bytes())
        return path

    def to_bytes(self) -> bytes:
        """Return the split as ASCII JSON. Columns, not rows: a third of the size and of the reading time."""
        class_of = {name: number for number, name in enumerate(self.classes)}
        plain = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "root": str(self.root),
            "classes": self.classes,
            "options": self.options,
            "counts": self.counts(),
            "rows": {
                "split": {name: sum(row.split == name for row in self.rows) for name in SPLITS},
                "path": [row.path for row in self.rows],
                "sha256": [row.sha256 for row in self.rows],
                "label": [class_of[row.label] for row in self.rows],
                "group": ["" if row.group == row.sha256 else row.group for row in self.rows],
            },
            "left_out": [[one.path, one.label, one.reason] for one in self.left_out],
        }
        return json.dumps(plain).encode("ascii")

    @classmethod
    def load(cls, folder: Path) -> Split:
        """Read ``split.json`` of ``folder``.

        Raises:
            IncompleteError: There is none.
            CorruptError: It is not what was written.
        """
        path = folder / FILE_NAME
        try:
            return cls.from_bytes(path.read_bytes(), name=str(path))
        except FileNotFoundError:
            raise IncompleteError("there is no split here", expected=f"the file {FILE_NAME}", folder=folder) from None

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = FILE_NAME) -> Split:
        """Read what `to_bytes` gave; ``name`` is the file named in an error."""
        try:
            plain = json.loads(data)
            if plain["format"] != _FORMAT:
                raise ValueError(f"format {plain['format']}")
            classes, columns = tuple(plain["classes"]), plain["rows"]
            splits = [name for name in SPLITS for _ in range(columns["split"][name])]
            rows = tuple(
                Row(path, sha256, classes[label], split_name, group or sha256)
                for path, sha256, label, split_name, group in zip(
                    columns["path"], columns["sha256"], columns["label"], splits, columns["group"], strict=True
                )
            )
            left_out = tuple(LeftOut(*one) for one in plain["left_out"])
            fingerprint, options, root = plain["fingerprint"], plain["options"], Path(plain["root"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise CorruptError(
                "the list of the split cannot be read", do="prepare again", path=name, cause=str(error)
            ) from error
        if fingerprint != _fingerprint(classes, rows, options):
            raise CorruptError("the list of the split was changed after it was written", do="prepare again", path=name)
        return cls(root, classes, rows, left_out, options, fingerprint)


def split(
    catalog: Catalog,
    *,
    findings: Sequence[Finding] | None = None,
    seed: int = 0,
    validation: float = 0.15,
    test: float = 0.15,
    test_per_class: int | None = None,
    balance: Balance = "weights",
) -> Split:
    """Divide a catalogue into train, validation and test.

    Ready-made ``train/``, ``validation/``, ``test/`` folders are kept as they are; a split that is missing among them
    is carved from train by content hash. Every class gets at least one picture of each split.

    Args:
        catalog: What `scan` gave.
        findings: What `check` gave; it is called where this is ``None``. What a finding leaves out is in no split.
        seed: Another number is another division.
        validation: Share of each class for validation, 0 < share < 1.
        test: Share of each class for the test, 0 < share < 1. Not used with ``test_per_class``.
        test_per_class: So many pictures of each class for the test instead: exactly those lowest in the hash order.
        balance: ``"weights"`` keeps all pictures and lets training weigh the classes, ``"trim"`` trims the classes of
            train and validation (never of test) to the smallest one, ``"none"`` does neither.

    Returns:
        The split. Nothing is written.

    Raises:
        FolderError: Fewer than two classes, or a class with too few pictures. All such problems are in the message.
        RecipeError: An option out of its range.
    """
    _check_options(validation=validation, test=test, test_per_class=test_per_class, balance=balance)
    from housetrain.data.checks import check, duplicate_groups

    default_findings = findings is None
    found = check(catalog) if findings is None else findings
    left_out = _left_out(catalog, found)
    pictures = [picture for picture in catalog.usable if picture.path not in left_out]
    _check_classes(catalog, pictures)
    group_of = duplicate_groups(catalog)
    groups = {picture.path: group_of.get(picture.path, picture.sha256) for picture in pictures}
    place = {group: position(seed, group) for group in set(groups.values())}

    ready_made = catalog.ready_made
    kept, pool = _ready_made(pictures) if ready_made else ({}, pictures)
    missing = [name for name in SPLITS[1:] if name not in set(kept.values())]
    assigned = _assign(
        pool,
        groups,
        place=place,
        validation=validation if "validation" in missing else 0.0,
        test=test if "test" in missing else 0.0,
        per_class=test_per_class if "test" in missing else None,
    )
    rows = [
        Row(
            picture.path,
            picture.sha256,
            picture.label,
            kept[picture.path] if picture.path in kept else assigned[groups[picture.path]],
            groups[picture.path],
        )
        for picture in pictures
    ]
    classes = sorted({row.label for row in rows})
    _check_rows(rows, classes, ready_made=ready_made)
    if balance == "trim":
        rows = _trim(rows, place=place, left_out=left_out)
    labels = {picture.path: picture.label for picture in catalog.pictures}
    return Split.of_rows(
        catalog.root,
        classes,
        rows=rows,
        left_out=(LeftOut(path, labels[path], reason) for path, reason in left_out.items()),
        options={
            "seed": seed,
            "validation": validation,
            "test": test,
            "test_per_class": test_per_class,
            "balance": balance,
            "ready_made": ready_made,
            # Only the default findings follow from the catalogue; with others the rows must be compared instead.
            "catalog": catalog.fingerprint if default_findings else "",
        },
    )


def position(seed: int, group: str) -> float:
    """Return the place of a duplicate group in the hash order: a number in [0, 1) fixed by seed and content."""
    # 53 bits: more than a float holds would round up to 1.0.
    return (int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big") >> 11) / 2**53


def complete_options(**options: Any) -> dict[str, Any]:
    """Return the options of `split` with the defaults filled in, as they stand in ``Split.options``."""
    defaults = split.__kwdefaults__ or {}
    return {name: options.get(name, defaults[name]) for name in SplitOptions.__annotations__}


def _check_options(*, validation: float, test: float, test_per_class: int | None, balance: str) -> None:
    problems = []
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        problems.append("validation and test are shares above 0 that leave something for train")
    if test_per_class is not None and test_per_class < 1:
        problems.append("test_per_class is at least 1")
    if balance not in get_args(Balance):
        problems.append(f"balance is one of {', '.join(get_args(Balance))}")
    if problems:
        raise RecipeError(
            "the pictures cannot be divided this way",
            expected="; ".join(problems),
            validation=validation,
            test=test,
            test_per_class=test_per_class,
            balance=balance,
        )


def _left_out(catalog: Catalog, findings: Iterable[Finding]) -> dict[str, str]:
    """Return path -> reason of every picture that no split may have."""
    reasons = {picture.path: f"unreadable: {picture.reason}" for picture in catalog.pictures if picture.status != "ok"}
    for finding in findings:
        details = dict(zip(finding.paths, finding.details, strict=False))
        for path in finding.leaves_out:
            reasons.setdefault(path, f"{finding.kind}: {details.get(path, finding.message)}")
    return reasons


def _check_classes(catalog: Catalog, pictures: Sequence[Picture]) -> None:
    counts = Counter(picture.label for picture in pictures)
    names = sorted({*catalog.classes, *catalog.empty_classes, *counts})
    problems = [f"class {name!r} has no picture that can be used" for name in names if not counts[name]]
    problems += [
        f"class {name!r} has only {counts[name]}, too few for train, validation and test"
        for name in names
        if 0 < counts[name] < len(SPLITS)
    ]
    if len(names) < 2:
        problems.insert(0, f"there is one class, {names[0]!r}" if names else "there is no class")
    if problems:
        raise _unusable(problems, catalog.root)


def _check_rows(rows: Sequence[Row], classes: Sequence[str], *, ready_made: bool) -> None:
    counts = Counter((row.label, row.split) for row in rows)
    # A ready-made test folder may lack a class on purpose; nothing can be learned without train and validation.
    needed = SPLITS[:2] if ready_made else SPLITS
    problems = [
        f"class {label!r} has too few different pictures: none is left for {name}"
        for label in classes
        for name in needed
        if not counts[label, name]
    ]
    if ready_made and not any(row.split == "test" for row in rows):
        problems.append("no picture is left for test")
    if problems:
        raise _unusable(problems, None)


def _unusable(problems: Sequence[str], root: Path | None) -> FolderError:
    return FolderError(
        "; ".join(problems),
        expected="at least two classes of at least three different pictures each, better hundreds",
        do="add pictures to the class folders, or take the folder of a class away",
        **({"folder": root} if root else {}),
    )


def _ready_made(pictures: Sequence[Picture]) -> tuple[dict[str, SplitName], list[Picture]]:
    """Return what the folders decided (path -> split), and the pictures a missing split may be carved from."""
    present = {picture.split for picture in pictures}
    complete = {"validation", "test"} <= present
    kept: dict[str, SplitName] = {}
    pool = []
    for picture in pictures:
        if picture.split in SPLITS[1:] or complete:
            kept[picture.path] = cast("SplitName", picture.split or "train")
        else:
            pool.append(picture)
    return kept, pool


def _assign(
    pool: Sequence[Picture],
    groups: dict[str, str],
    *,
    place: dict[str, float],
    validation: float,
    test: float,
    per_class: int | None,
) -> dict[str, SplitName]:
    """Return group -> split. Test lies at the low end of the hash order, validation at the high end."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for picture in pool:
        labels[groups[picture.path]][picture.label] += 1
    ordered = sorted(labels, key=lambda group: (place[group], group))
    assigned: dict[str, SplitName] = {
        group: "test"
        if place[group] < test and per_class is None
        # At the other end than test, so that neither moves when the share of the other is changed.
        else "validation"
        if place[group] >= 1.0 - validation
        else "train"
        for group in ordered
    }
    by_class: dict[str, list[str]] = defaultdict(list)
    for group in ordered:
        for label in labels[group]:
            by_class[label].append(group)
    if per_class is not None and test:
        _take_test(by_class, labels, assigned=assigned, per_class=per_class)
    for label in sorted(by_class):
        own = [group for group in by_class[label] if len(labels[group]) == 1]
        if test and per_class is None:
            _at_least_one(own, assigned, wanted="test")
        if validation:
            _at_least_one(own[::-1], assigned, wanted="validation")
        _at_least_one(own, assigned, wanted="train", fixed="test" if per_class is not None else None)
    return assigned


def _take_test(
    by_class: dict[str, list[str]],
    labels: dict[str, Counter[str]],
    *,
    assigned: dict[str, SplitName],
    per_class: int,
) -> None:
    """Give test exactly ``per_class`` pictures of each class: the lowest groups that fit whole."""
    problems = []
    for label in sorted(by_class):
        room = per_class
        for group in by_class[label]:
            # A group of two classes would count for both; it stays where it can be learned from.
            if len(labels[group]) == 1 and labels[group][label] <= room:
                assigned[group] = "test"
                room -= labels[group][label]
        if room or all(assigned[group] == "test" for group in by_class[label]):
            problems.append(f"class {label!r} has too few different pictures for {per_class} in test")
    if problems:
        raise _unusable(problems, None)


def _at_least_one(
    groups: Sequence[str], assigned: dict[str, SplitName], *, wanted: SplitName, fixed: SplitName | None = None
) -> None:
    """Move the first group that can be spared to ``wanted``, if none is there."""
    if any(assigned[group] == wanted for group in groups):
        return
    held = Counter(assigned[group] for group in groups)
    for group in groups:
        if assigned[group] != fixed and held[assigned[group]] > 1:
            assigned[group] = wanted
            return


def _trim(rows: Sequence[Row], *, place: dict[str, float], left_out: dict[str, str]) -> list[Row]:
    """Keep of each class of train and validation as many as the smallest has; note the others in ``left_out``."""
    kept = [row for row in rows if row.split == "test"]
    for name in SPLITS[:2]:
        by_class: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row.split == name:
                by_class[row.label].append(row)
        smallest = min(len(members) for members in by_class.values())
        for members in by_class.values():
            members.sort(key=lambda row: (place[row.group], row.sha256, row.path))
            kept += members[:smallest]
            for row in members[smallest:]:
                left_out[row.path] = f"trimmed: the smallest class has {smallest} in {name}"
    return kept


def _fingerprint(classes: Sequence[str], rows: Sequence[Row], options: dict[str, Any]) -> str:
    asked = {name: value for name, value in options.items() if name != "catalog"}
    digest = hashlib.sha256(json.dumps([_FORMAT, list(classes), asked], sort_keys=True).encode())
    parts = [part for row in rows for part in (row.path, row.sha256, row.label, row.split, row.group)]
    digest.update("\0".join(parts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
