"""Files below a folder: links, loops and litter; more of it in `test_class_folders`."""

from __future__ import annotations

from pathlib import Path

import pytest
from data.trees import fill

from housetrain.data.folder_tree import Tree
from housetrain.data.folder_walk import SEEN, entry_of, files_below, folders_in
from housetrain.errors import FolderError


def test_folders_are_sorted_and_files_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, "b", "a", ".git", "__MACOSX")
    fill(tmp_path, ".", count=2)
    tree = Tree()
    assert folders_in(tmp_path, tree, count_files="files") == ["a", "b"]
    assert tree.ignored == {"files": 2, ".*/": 1, "__MACOSX/": 1}


def test_files_of_any_depth_have_the_class_of_their_top_folder(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat/young", "cat/old", count=1)
    found = sorted(files_below(root, ("cat",), Tree(), label="cat", split="train"))
    assert [(entry.path, entry.label, entry.split) for entry in found] == [
        ("cat/old/000.png", "cat", "train"), ("cat/young/000.png", "cat", "train"),
    ]  # fmt: skip
    assert entry_of(root, "cat/old/000.png").stamp == found[0].stamp


def test_a_link_back_is_a_problem_and_a_second_way_is_ignored(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat/young", count=1)
    (root / "cat" / "loop").symlink_to(root / "cat")
    (root / "cat" / "again").symlink_to(root / "cat" / "young")
    tree = Tree()
    found = {entry.path: entry.problem for entry in files_below(root, ("cat",), tree, label="cat", split=None)}
    assert found == {"cat/young/000.png": "", "cat/loop": "symlink loop"}
    assert tree.ignored[SEEN] == 1


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="does not exist"):
        folders_in(tmp_path / "none", Tree(), count_files="files")
    (tmp_path / "file.csv").write_text("a,b\n")
    with pytest.raises(FolderError, match="not a folder"):
        folders_in(tmp_path / "file.csv", Tree(), count_files="files")
