"""Findings about a split: a class without its share, and duplicates that may be in two splits."""

from __future__ import annotations

from typing import Any

from housetrain.data.split_findings import split_findings
from housetrain.data.split_manifest import Row, SplitManifest, SplitName

OPTIONS: dict[str, Any] = {"validation_split": 0.15, "test_split": 0.15, "test_per_class": None}


def rows(label: str, counts: dict[SplitName, int], grouped: SplitName | None = None) -> list[Row]:
    return [
        Row(f"{label}/{split}{n}.jpg", f"{label}{split}{n}", label, split, label if split == grouped else f"{n}{split}")
        for split, count in counts.items()
        for n in range(count)
    ]


def manifest(*parts: list[Row], **options: Any) -> SplitManifest:
    every = [row for part in parts for row in part]
    classes = sorted({row.label for row in every})
    return SplitManifest.of_rows("/images", classes, rows=every, options=OPTIONS | options)


FAIR = rows("cat", {"train": 70, "validation": 15, "test": 15})


def test_a_fair_split_has_none() -> None:
    assert split_findings(manifest(FAIR)) == ()


def test_a_group_that_takes_a_class_is_counted_and_named() -> None:
    unfair = rows("error", {"train": 2, "validation": 57, "test": 1}, grouped="validation")
    first, second = split_findings(manifest(FAIR, unfair))
    assert "error has 57 images in validation instead of 9 (2 train, 57 validation, 1 test)" in first.message
    assert "57 near-duplicates, such as error/validation0.jpg, are one group, all in validation" in first.message
    assert len(first.paths) == 57
    assert "instead of 9" in second.message
    assert "in test" in second.message


def test_many_classes_are_one_line() -> None:
    parts = [rows(f"c{number}", {"train": 30, "validation": 30, "test": 30}) for number in range(30)]
    (found,) = split_findings(manifest(*parts))
    assert found.message.startswith("60 shares")


def test_what_was_asked_for_is_no_finding() -> None:
    unfair = rows("error", {"train": 2, "validation": 57, "test": 1}, grouped="validation")
    assert split_findings(manifest(unfair, ready_made=True)) == ()
    many = rows("many", {"train": 100, "validation": 18, "test": 2})
    assert split_findings(manifest(many, test_per_class=2)) == ()


def test_duplicates_that_are_split_are_said() -> None:
    for keep in ("exact", "none"):
        (found,) = split_findings(manifest(FAIR, keep_duplicates_together=keep))
        assert found.kind == "duplicates-apart"
        assert "optimistic" in found.message
