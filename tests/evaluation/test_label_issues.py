"""Labels that are probably wrong: which images are looked at, what is said of them, and where it is kept."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prepared_digits import digits

import housetrain as ht
from housetrain.data.corrections import LEAVE_OUT, Corrections, Decision, record
from housetrain.data.prepared import Prepared
from housetrain.data.split_manifest import SplitManifest
from housetrain.errors import CorruptError, DataError, FolderError
from housetrain.evaluation import label_features, label_issues
from housetrain.evaluation.label_issues import LabelIssues, labels

PLANTED = 24


@pytest.fixture(autouse=True)
def no_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_features, "is_available", lambda name: False)


def with_wrong_labels(prepared: Prepared) -> tuple[Prepared, dict[str, str]]:
    """Relabel some images of each split; return sha256 -> true label."""
    rows, planted = [], {}
    for name in ("train", "validation", "test"):
        for number, row in enumerate(prepared.split.of(name)):  # type: ignore[arg-type]
            if number < PLANTED // 2:
                planted[row.sha256] = row.label
                row = replace(row, label=str((int(row.label) + 3) % 4))
            rows.append(row)
    split = SplitManifest.of_rows(prepared.split.root, prepared.classes, rows=rows, options=prepared.split.options)
    return replace(prepared, split=split), planted


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Prepared, dict[str, str]]:
    return with_wrong_labels(digits(tmp_path / "prepared", classes=4))


def test_wrong_labels_are_listed_with_reasons_and_test_images_are_not_looked_at(
    planted: tuple[Prepared, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, truth = planted
    asked: list[str] = []
    arrays = Prepared.arrays
    monkeypatch.setattr(Prepared, "arrays", lambda self, name: asked.append(name) or arrays(self, name))
    found = labels(prepared)
    assert set(asked) == {"train", "validation"}
    seen = {row.sha256 for name in ("train", "validation") for row in prepared.split.of(name)}  # type: ignore[arg-type]
    hits = [one for one in found.issues if one.sha256 in truth]
    assert len(hits) >= 0.9 * PLANTED and len(hits) >= 0.7 * len(found)
    assert {one.sha256 for one in found.issues} <= seen
    assert np.mean([one.suggested == truth[one.sha256] for one in hits]) > 0.9
    first = found.issues[0]
    assert first.probability > first.given_probability and first.given != first.suggested
    assert 0 < first.agree <= first.asked == label_issues.NEIGHBORS
    assert first.neighbors and all(near.label != first.given for near in first.neighbors)
    assert "of the 10 most similar images are" in first.reason
    assert f"{len(found):,} label" in found.summary() and "no pretrained weights" in found.note


def test_the_result_is_kept_and_comes_back(planted: tuple[Prepared, dict[str, str]]) -> None:
    found = labels(planted[0])
    assert LabelIssues.load(planted[0]) == found
    file = planted[0].folder / label_issues.FOLDER / label_issues.FILE
    value = json.loads(file.read_text())
    value["issues"][0]["neighbors"] = [["a"]]
    file.write_text(json.dumps(value))
    with pytest.raises(CorruptError):
        LabelIssues.load(planted[0])


def test_what_was_decided_is_not_listed_again_and_counts_as_corrected(
    planted: tuple[Prepared, dict[str, str]], tmp_path: Path
) -> None:
    prepared, _ = planted
    found, file = labels(prepared), tmp_path / "corrections.csv"
    first, second, third = found.issues[:3]
    for one, word in ((first, first.suggested), (second, second.given), (third, LEAVE_OUT)):
        record(file, Decision.now(one.path, one.sha256, one.given, word))
    again = labels(prepared, corrections=file)
    assert again.decided == 3 and again.images == found.images - 1
    assert not {one.sha256 for one in again.issues} & {one.sha256 for one in (first, second, third)}
    assert again.accuracy > found.accuracy


def test_the_table_filled_in_is_a_file_of_corrections(planted: tuple[Prepared, dict[str, str]], tmp_path: Path) -> None:
    found = labels(planted[0])
    file = found.write_csv(tmp_path / "issues.csv")
    assert len(Corrections.read(file)) == 0, "nothing is decided yet"
    rows = list(csv.DictReader(file.open()))
    assert [row["path"] for row in rows] == [one.path for one in found.issues]
    rows[0]["corrected"] = rows[0]["suggested"]
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    [one] = Corrections.read(file).decisions
    assert (one.sha256, one.corrected) == (found.issues[0].sha256, found.issues[0].suggested)


def test_no_table_is_written_into_the_folder_of_images(
    planted: tuple[Prepared, dict[str, str]], tmp_path: Path
) -> None:
    found = replace(labels(planted[0]), root=tmp_path)
    with pytest.raises(FolderError, match="never changed"):
        found.write_csv(tmp_path / "x" / "issues.csv")


def test_a_class_of_one_image_is_one_clear_error(tmp_path: Path) -> None:
    prepared = digits(tmp_path / "prepared", classes=3, most=200)
    rows = [row for row in prepared.split.rows if row.label != "2" or row.split == "test"]
    extra = next(row for row in prepared.split.rows if row.label == "2" and row.split == "train")
    split = SplitManifest.of_rows(Path("/nowhere"), prepared.classes, rows=[*rows, extra], options={})
    with pytest.raises(DataError, match="Too few different images to judge labels by: 2"):
        labels(replace(prepared, split=split))


def test_labels_is_public() -> None:
    assert ht.labels is labels and ht.LabelIssues is LabelIssues
