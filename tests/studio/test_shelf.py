"""The shelf: prepared images, runs and sweeps of the working folder, newest first; anything else is skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from housetrain.errors import StoreError
from housetrain.studio import shelf
from housetrain.training.run import Run


def touch(path: Path, *, seconds: int, text: str = "{}") -> Path:
    """Write a small file with this modification time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (seconds, seconds))
    return path


def test_runs_are_newest_first_and_trials_follow(tmp_path: Path) -> None:
    touch(tmp_path / "runs" / "old" / "recipe.json", seconds=1_000)
    touch(tmp_path / "runs" / "new" / "recipe.json", seconds=2_000)
    touch(tmp_path / "sweeps" / "s" / "trials" / "t" / "recipe.json", seconds=3_000)
    (tmp_path / "runs" / "empty").mkdir()
    assert [run.name for run in shelf.runs_in(tmp_path)] == ["new", "old"]
    assert [run.name for run in shelf.runs_in(tmp_path, trials=True)] == ["new", "old", "t"]


def test_sweeps_are_newest_first(tmp_path: Path) -> None:
    touch(tmp_path / "sweeps" / "a" / "sweep.json", seconds=1_000)
    touch(tmp_path / "sweeps" / "b" / "sweep.json", seconds=2_000)
    assert [folder.name for folder in shelf.sweeps_in(tmp_path)] == ["b", "a"]


def test_prepared_images_by_their_manifest(finished: Run, work: Path) -> None:
    [arrays] = shelf.prepared_in(work)
    assert arrays.name == "pets-12x12-grayscale"
    assert arrays.classes == ("cats", "dogs")
    assert (arrays.spec.height, arrays.spec.channels) == (12, 1)
    assert sum(arrays.total(split) for split in ("train", "validation", "test")) == 60


def test_a_broken_manifest_is_skipped(finished: Run, work: Path) -> None:
    touch(work / "prepared" / "broken" / "prepared.json", seconds=1_000, text="{")
    touch(work / "prepared" / "other" / "prepared.json", seconds=1_000)
    assert len(shelf.prepared_in(work)) == 1
    with pytest.raises(StoreError):
        shelf.Arrays.open(work / "prepared" / "broken")


def test_a_run_is_named_by_its_place(tmp_path: Path) -> None:
    assert shelf.label_of(Run(tmp_path / "runs" / "pets"), tmp_path) == "pets"
    assert shelf.label_of(Run(tmp_path / "sweeps" / "s" / "trials" / "t"), tmp_path) == "s / t"
    assert shelf.label_of(Run(Path("/elsewhere/run")), tmp_path) == "run"


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    file = touch(tmp_path / "a", seconds=1_000)
    before = shelf.stamp(file, tmp_path / "missing")
    assert before.endswith("/-") and before == shelf.stamp(file, tmp_path / "missing")
    touch(file, seconds=2_000)
    assert shelf.stamp(file, tmp_path / "missing") != before
