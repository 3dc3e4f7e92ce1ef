"""The images in the report: classes and splits, samples, findings, images that are left out.

In: a run, what was kept of the catalog and the findings, thumbnails. Out: the values that the template shows. It does
not know how images are checked or split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from housetrain.data.findings import Finding
from housetrain.data.split_manifest import SPLITS, describe_corrections
from housetrain.report.plots import bars
from housetrain.report.thumbnails import Album, Thumbnail

_Size = tuple[int, int]


class _Files(TypedDict):
    images: int
    usable: int
    bytes: int
    formats: dict[str, int]
    sizes: tuple[_Size, _Size, _Size] | tuple[()]
    ignored: dict[str, int]


class Facts(TypedDict, total=False):
    """What a report keeps of the catalog and the findings for the next one."""

    catalog: _Files
    findings: list[Finding]


if TYPE_CHECKING:
    from housetrain.training.run import Run

_SHOWN_PER_KIND = 12
_CLASSES_WITH_SAMPLES = 48
_SAMPLES = ((2, 8), (4, 4), (12, 3), (30, 2), (10**9, 1))
"""Samples of each class for up to so many classes."""
_SEVERITIES = ("error", "warning", "note")


def data_section(run: Run, facts: Mapping[str, Any], album: Album) -> dict[str, Any]:
    """Return what the template ``data.html.j2`` shows.

    Args:
        run: The run.
        facts: ``catalog`` and ``findings``, as the report keeps them; each may be missing.
        album: Makes the thumbnails.
    """
    split = run.split
    rows = bars.counts_table(split.counts())
    reasons: dict[str, list[str]] = {}
    for image in split.left_out:
        reasons.setdefault(image.reason, []).append(image.path)
    totals = [sum(row.parts.get(name, 0) for row in rows) for name in SPLITS]
    return {
        "counts": rows,
        "splits": SPLITS,
        "totals": [*totals, sum(totals)],
        "chart": bars.draw_counts(rows),
        "balance": split.options.get("balance"),
        "options": split.options,
        "spec": run.spec,
        "samples": _samples(run, [row.name for row in rows], album),
        "reasons": sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])),
        "left_out": len(split.left_out),
        "corrections": describe_corrections(*split.corrections),
        "facts": facts.get("catalog"),
        "findings": _findings(facts.get("findings", ()), album),
        "checked": "findings" in facts,
    }


def _samples(run: Run, classes: Sequence[str], album: Album) -> dict[str, list[Thumbnail]]:
    per_class = next(count for most, count in _SAMPLES if len(classes) <= most)
    samples: dict[str, list[Thumbnail]] = {name: [] for name in classes[:_CLASSES_WITH_SAMPLES]}
    for row in run.split.of("train"):
        if row.label in samples and len(samples[row.label]) < per_class:
            samples[row.label].append(album.thumbnail(row.path, row.sha256))
    return samples


def _findings(findings: Sequence[Mapping[str, Any]], album: Album) -> list[dict[str, Any]]:
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        kinds.setdefault(str(finding["kind"]), []).append(finding)
    found = []
    for group in kinds.values():
        shown = group[:_SHOWN_PER_KIND]
        at_most = max(2, _SHOWN_PER_KIND // len(group))
        found.append(
            {
                "title": group[0].get("title", ""),
                "severity": group[0]["severity"],
                "images": len({path for one in group for path in one["paths"]}),
                "left_out": len({path for one in group for path in one.get("leaves_out", ())}),
                "do": group[0]["do"],
                "items": [_finding(one, album, at_most=at_most) for one in shown],
                "more": len(group) - len(shown),
            }
        )
    return sorted(found, key=lambda one: (_SEVERITIES.index(str(one["severity"])), str(one["title"])))


def _finding(finding: Mapping[str, Any], album: Album, *, at_most: int) -> dict[str, Any]:
    paths = finding["paths"][:at_most]
    details = [*finding.get("details", ()), *[""] * len(paths)]
    # Do not decode an unreadable image again: a file that made a decoder hang makes it hang here.
    hidden = finding["kind"] in ("unreadable", "unsupported")
    return {
        "message": finding["message"],
        "thumbnails": [
            (Thumbnail(path, None, reason=detail or "no image") if hidden else album.thumbnail(path), detail)
            for path, detail in zip(paths, details, strict=False)
        ],
        "more": len(finding["paths"]) - len(paths),
        "leaves_out": set(finding.get("leaves_out", ())),
    }
