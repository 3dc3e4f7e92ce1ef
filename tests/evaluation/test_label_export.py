"""A corrected copy: links in the folders of the corrected classes, and a source that stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from noise_folders import folder_of

import housetrain as ht
from housetrain.data.corrections import LEAVE_OUT, Decision, record
from housetrain.errors import FolderError
from housetrain.evaluation.label_export import export_corrected


def test_a_corrected_copy_is_linked_and_reads_like_a_folder_of_images(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "images", cat=10, dog=10)
    prepared = ht.prepare(root, tmp_path / "prepared", image_size=8)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.png")}
    file, rows = tmp_path / "corrections.csv", {row.path: row for row in prepared.split.rows}
    for path, word in (("cat/0.png", "dog"), ("dog/3.png", LEAVE_OUT), ("dog/4.png", "dog")):
        record(file, Decision.now(path, rows[path].sha256, rows[path].label, word))
    made = export_corrected(prepared, file, tmp_path / "corrected")
    assert (made.relabeled, made.left_out, made.linked, made.copied) == (1, 1, 19, 0)
    assert any(one.samefile(root / "cat" / "0.png") for one in (made.folder / "dog").glob("0*.png"))
    assert ht.scan(made.folder).counts() == {"cat": 9, "dog": 10}
    again = export_corrected(prepared, file, tmp_path / "corrected")
    assert (again.linked, again.copied) == (0, 0)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.png")} == before
    with pytest.raises(FolderError, match="never changed"):
        export_corrected(prepared, file, root / "corrected")
    record(file, Decision.now("cat/1.png", rows["cat/1.png"].sha256, "cat", "wolf"))
    with pytest.raises(FolderError, match="no class 'wolf'"):
        export_corrected(prepared, file, tmp_path / "other")
    assert not (tmp_path / "other").exists()
