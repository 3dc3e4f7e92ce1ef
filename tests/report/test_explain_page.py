"""The page of explanations keeps the newest entries, and deletes only what it wrote itself."""

from __future__ import annotations

from pathlib import Path

from housetrain.report import explain_page


def test_old_explanations_are_deleted_and_no_other_folder(tmp_path: Path) -> None:
    def entry(folder: str) -> dict[str, object]:
        (tmp_path / folder).mkdir()
        return {"folder": folder, "layers": []}

    explain_page.add_entries(tmp_path, [entry("keep me")])
    for number in range(explain_page.KEPT + 1):
        explain_page.add_entries(tmp_path, [entry(f"image-{number:08x}")])
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert "image-00000000" not in left and "image-00000001" in left and "keep me" in left
