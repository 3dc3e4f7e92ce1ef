"""Findings as values and as a table."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest
from data.checked_folders import image, kinds, make
from hostile import animated

from housetrain.data.catalog import scan
from housetrain.data.checks import FEW, check
from housetrain.data.findings import KINDS, FindingKind, in_number, write_findings

pytestmark = pytest.mark.usefixtures("looked")


def test_many_groups_become_one_finding(tmp_path: Path) -> None:
    root = make(tmp_path)
    for number in range(25):
        (root / "Cat" / f"copy {number:03}.jpg").write_bytes((root / "Cat" / f"{number:03}.jpg").read_bytes())
    one = kinds(root)["exact-duplicate"]
    assert len(one.paths) == 50 and one.message == "25 images have copies (50 files)"
    assert set(one.leaves_out) == {f"Cat/copy {number:03}.jpg" for number in range(25)}


def test_the_table_has_a_row_for_every_image(tmp_path: Path) -> None:
    root = make(tmp_path / "p")
    names = ["Cat/new\nline.jpg", 'Cat/with "quotes", commas.jpg', os.fsdecode(b"Cat/not \xff utf-8.jpg")]
    for name in names:
        (root / name).write_bytes(b"")
    (root / "Bird").mkdir()
    (root / "Cat" / "copy.jpg").write_bytes((root / "Cat" / "001.jpg").read_bytes())
    write_findings(check(scan(root)), tmp_path / "findings.csv")
    text = (tmp_path / "findings.csv").read_bytes().decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == ["kind", "severity", "path", "left_out", "reason", "do"]
    assert {row["path"] for row in rows if row["kind"] == "unreadable"} == set(names)
    assert {(row["path"], row["left_out"]) for row in rows if row["kind"] == "exact-duplicate"} == {
        ("Cat/001.jpg", "no"),
        ("Cat/copy.jpg", "yes"),
    }
    assert [row["path"] for row in rows if row["kind"] == "empty-class"] == [""]
    assert all(row["reason"] and row["do"] for row in rows)


def test_the_most_severe_come_first(tmp_path: Path) -> None:
    root = make(tmp_path, {"Cat": FEW, "Dog": 50})
    (root / "Bird").mkdir()
    (root / "Cat" / "cut.jpg").write_bytes(image(1)[:2000])
    (root / "Cat" / "moves.gif").write_bytes(animated("GIF"))
    severities = [one.severity for one in check(scan(root))]
    assert severities == ["error", "warning", "note", "note"]


def test_advice_is_in_the_number_of_the_images() -> None:
    text = "replace {it|them}, {a|b} or {no choice}"
    assert in_number(text, 1) == "replace it, a or {no choice}"
    assert in_number(text, 2) == in_number(text, 0) == "replace them, b or {no choice}"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_advice_of_every_kind_is_a_phrase_for_one_image_and_for_several(kind: FindingKind) -> None:
    for count in (1, 3):
        assert not set("{}|") & set(in_number(kind.do, count))
