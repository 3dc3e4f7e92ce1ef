"""Findings: what is wrong with a folder of images, the table of their kinds, and their CSV file.

In: functions that check a `Catalog`, registered with `finding_kind`. Out: `Finding` values. The checks themselves are
in `housetrain.data.checks` and `housetrain.data.image_checks`: one entry there is all that a kind of finding needs.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from housetrain.system.csv_rows import write_row
from housetrain.system.files import disk_errors, write_atomic

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.image_record import ImageRecord

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""``error``: training refuses or leaves images out; ``warning``: likely to hurt; ``note``: worth a look."""

_SEPARATE = 20  # groups of one kind that get a finding each; more are merged into one


@dataclass(frozen=True)
class Finding:
    """One problem of a folder of images.

    Args:
        kind: A short stable name: ``unreadable``, ``exact-duplicate``, ``two-labels``, ``imbalance``, ...
        severity: ``"error"``, ``"warning"`` or ``"note"``.
        paths: The images concerned, relative to the root; empty where it concerns classes or the whole folder.
        message: What was found, in one line.
        do: What to do about it, for a person who knows the images and not the software.
        leaves_out: The images that are excluded from training because of it.
        details: A few words on each of ``paths``, in their order; empty where the message is enough.
        title: The heading of findings of this kind.
    """

    kind: str
    severity: Severity
    paths: tuple[str, ...]
    message: str
    do: str
    leaves_out: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    title: str = ""


class Noticed(NamedTuple):
    """What a check found once; what is not given is that of its kind. The fields are those of `Finding`."""

    message: str
    paths: tuple[str, ...] = ()
    leaves_out: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    severity: Severity | None = None
    do: str = ""


Check = Callable[["Catalog"], Iterable[Noticed]]


class FindingKind(NamedTuple):
    """One kind of finding: an entry of `KINDS`."""

    name: str
    title: str
    severity: Severity
    do: str
    check: Check

    def find(self, catalog: Catalog) -> Iterator[Finding]:
        """Yield the findings of this kind."""
        for message, paths, leaves_out, details, severity, do in self.check(catalog):
            advice = in_number(do or self.do, len(paths))
            yield Finding(self.name, severity or self.severity, paths, message, advice, leaves_out, details, self.title)


def in_number(text: str, count: int) -> str:
    """Return a text with the first of each ``{it|them}`` for one image, and the second for any other number."""
    return re.sub(r"\{([^|{}]*)\|([^|{}]*)\}", lambda words: words[1 if count == 1 else 2], text)


KINDS: dict[str, FindingKind] = {}
"""All kinds of findings by name; `housetrain.check` walks it in this order."""


def finding_kind(name: str, title: str, *, severity: Severity, do: str) -> Callable[[Check], Check]:
    """Register a check as a kind of finding.

    Args:
        name: A short stable name; it must be new.
        title: The heading in the report and on the page, a noun phrase.
        severity: How serious it usually is.
        do: What to do about it; ``{it|them}`` for one image or several.
    """

    def register(check: Check) -> Check:
        if name in KINDS:
            raise ValueError(f"There already is a kind of finding named {name}")
        KINDS[name] = FindingKind(name, title, severity, do, check)
        return check

    return register


def grouped(
    groups: Iterable[Sequence[ImageRecord]],
    *,
    message: Callable[[Sequence[ImageRecord]], str],
    detail: Callable[[ImageRecord, Sequence[ImageRecord]], str],
    merged: Callable[[int, int], str] | None = None,
    leaves_out: Callable[[Sequence[ImageRecord]], Sequence[ImageRecord]] = lambda group: (),
) -> Iterator[Noticed]:
    """Yield one result per group of images, or a single one where there are too many groups to read.

    Args:
        groups: Groups of images; empty ones are skipped.
        message: Words for one group.
        detail: Words for one image, given its group.
        merged: Words for all groups at once, given the numbers of images and of groups; each is separate without it.
        leaves_out: The images of a group that training excludes.
    """
    filled = [group for group in groups if group]
    bundles = [filled] if merged and len(filled) > _SEPARATE else [[group] for group in filled]
    for bundle in bundles:
        yield Noticed(
            message(bundle[0]) if len(bundle) == 1 or merged is None else merged(sum(map(len, bundle)), len(bundle)),
            tuple(one.path for group in bundle for one in group),
            tuple(one.path for group in bundle for one in leaves_out(group)),
            tuple(detail(one, group) for group in bundle for one in group),
        )


def write_findings(findings: Iterable[Finding], path: str | Path) -> None:
    """Write findings as a table, one row per image, for a spreadsheet.

    Columns: kind, severity, path, left_out (yes or no), reason, do. File names that are not valid text are written as
    their bytes. A text that a spreadsheet would run has an apostrophe in front.

    Args:
        findings: What `housetrain.check` returned.
        path: The CSV file to write; it appears whole or not at all.
    """
    table = io.StringIO(newline="")
    write_row(table, ("kind", "severity", "path", "left_out", "reason", "do"), end="\r\n")
    for one in findings:
        left_out = set(one.leaves_out)
        reasons = one.details or (one.message,) * max(1, len(one.paths))
        for name, reason in zip(one.paths or ("",), reasons, strict=True):
            cells = (one.kind, one.severity, name, "yes" if name in left_out else "no", reason, one.do)
            write_row(table, cells, end="\r\n")
    data = table.getvalue().encode("utf-8", "surrogateescape")
    with disk_errors(Path(path), bytes_needed=len(data)):
        write_atomic(Path(path), data)


def count_files(count: int) -> str:
    """Return ``1 file`` or ``1,200 files``."""
    return "1 file" if count == 1 else f"{count:,} files"


def count_images(count: int) -> str:
    """Return ``1 image`` or ``1,200 images``."""
    return "1 image" if count == 1 else f"{count:,} images"


def listed(names: Iterable[str]) -> str:
    """Return sorted names as a phrase: ``Cat, Dog and Horse``."""
    first = sorted(names)
    return first[0] if len(first) == 1 else f"{', '.join(first[:-1])} and {first[-1]}"
