"""What was noticed about a folder of images, as values and as a table.

In: what `checks` noticed. Out: `Finding` values; a CSV file, one row an image. It judges nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from housetrain.system.files import disk_errors, write_atomic

if TYPE_CHECKING:
    from housetrain.data.catalog import ImageRecord

    pass

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""``error``: training refuses or leaves images out; ``warning``: likely to hurt; ``note``: worth a look."""

_SEPARATE = 20  # groups of one kind that get a finding each; more are put into one


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed.

    Args:
        kind: A short stable name: ``unreadable``, ``exact-duplicate``, ``two-labels``, ``imbalance``, ...
        severity: ``"error"``, ``"warning"`` or ``"note"``.
        paths: The images concerned, relative to the root; empty where it concerns classes or the whole.
        message: What it is, in one line.
        do: What to do about it, for a person who knows the images and not the software.
        leaves_out: The images that training does not see because of it.
        details: A few words on each of ``paths``, in their order; empty where the message says it all.
    """

    kind: str
    severity: Severity
    paths: tuple[str, ...]
    message: str
    do: str
    leaves_out: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def write_findings(findings: Iterable[Finding], path: Path) -> None:
    """Write findings as a table, one row an image, for a spreadsheet.

    Columns: kind, severity, path, left_out (yes or no), reason, do. Names that are no valid text are written as the
    bytes they are.

    Args:
        findings: What :func:`check` gave.
        path: The CSV file to write; it appears whole or not at all.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(("kind", "severity", "path", "left_out", "reason", "do"))
    for one in findings:
        left_out = set(one.leaves_out)
        reasons = one.details or (one.message,) * max(1, len(one.paths))
        for name, reason in zip(one.paths or ("",), reasons, strict=True):
            writer.writerow((one.kind, one.severity, name, "yes" if name in left_out else "no", reason, one.do))
    data = table.getvalue().encode("utf-8", "surrogateescape")
    with disk_errors(path, bytes_needed=len(data)):
        write_atomic(path, data)


def grouped(
    kind: str,
    severity: Severity,
    groups: Sequence[list[ImageRecord]],
    *,
    message: Callable[[list[ImageRecord]], str],
    detail: Callable[[ImageRecord, list[ImageRecord]], str],
    do: str,
    merged: Callable[[int, int], str] | None = None,
    leaves_out: Callable[[list[ImageRecord]], list[ImageRecord]] = lambda group: [],
) -> Iterator[Finding]:
    """Give each group a finding of its own; one for all where there are too many to read."""
    groups = [group for group in groups if group]
    bundles = [groups] if merged and len(groups) > _SEPARATE else [[group] for group in groups]
    for bundle in bundles:
        count = sum(map(len, bundle))
        yield Finding(
            kind,
            severity,
            tuple(one.path for group in bundle for one in group),
            message(bundle[0]) if len(bundle) == 1 or merged is None else merged(count, len(bundle)),
            do,
            tuple(one.path for group in bundle for one in leaves_out(group)),
            tuple(detail(one, group) for group in bundle for one in group),
        )
