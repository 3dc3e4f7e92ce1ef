"""A project that was moved, copied or mounted elsewhere still finds its arrays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from handmade_runs import SPEC, split_of, write_images

from housetrain.data.prepare import Prepared, prepare
from housetrain.errors import IncompleteError
from housetrain.training.run import Run
from housetrain.training.run_data import prepared_of


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """``project/{images,prepared/images-12,runs/images}``, as `housetrain run` leaves it."""
    top = tmp_path / "project"
    write_images(top / "images", ("cat", "dog"), per_class=10)
    arrays = prepare(split_of(top / "images", ("cat", "dog")), top / "prepared" / "images-12", spec=SPEC, workers=1)
    run = top / "runs" / "images"
    run.mkdir(parents=True)
    (run / "recipe.json").write_text("{}")
    recorded = {"prepared": str(arrays.folder), "data": arrays.fingerprint}
    (run / "input.json").write_text(json.dumps(recorded))
    return top


def test_arrays_are_found_after_the_project_moved(project: Path) -> None:
    fingerprint = prepared_of(Run.open(project / "runs" / "images")).fingerprint
    moved = project.rename(project.with_name("elsewhere"))
    found = prepared_of(Run.open(moved / "runs" / "images"))
    assert (found.folder, found.fingerprint) == (moved / "prepared" / "images-12", fingerprint)


def test_arrays_are_recognized_by_their_fingerprint_under_another_name(project: Path) -> None:
    (project / "prepared" / "images-12").rename(project / "prepared" / "renamed")
    assert prepared_of(Run.open(project / "runs" / "images")).folder == project / "prepared" / "renamed"


def test_other_arrays_in_the_recorded_place_are_not_taken(project: Path) -> None:
    shutil.copytree(project / "prepared" / "images-12", project / "prepared" / "kept")
    write_images(project / "other", ("cat", "dog"), per_class=15)
    target = project / "prepared" / "images-12"
    prepare(split_of(project / "other", ("cat", "dog")), target, spec=SPEC, workers=1)
    assert prepared_of(Run.open(project / "runs" / "images")).folder == project / "prepared" / "kept"


def test_arrays_below_the_working_folder_are_found(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(project / "runs" / "images", tmp_path / "a run alone")
    (tmp_path / "work").mkdir()
    (project / "prepared").rename(tmp_path / "work" / "prepared")
    monkeypatch.chdir(tmp_path / "work")
    assert isinstance(prepared_of(Run.open(tmp_path / "a run alone")), Prepared)


def test_missing_arrays_are_one_clear_line(project: Path) -> None:
    shutil.rmtree(project / "prepared")
    with pytest.raises(IncompleteError, match=r"not found.*--prepared FOLDER"):
        prepared_of(Run.open(project / "runs" / "images"))
