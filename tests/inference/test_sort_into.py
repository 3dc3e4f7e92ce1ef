"""Sorting predicted images into folders: nothing is overwritten, changed, or led elsewhere by a name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from housetrain.errors import StoreError
from housetrain.inference.prediction import Prediction
from housetrain.inference.sort_into import Sorter, folder_names

CLASSES = ("cat", "dog", "unsure", "a/b", "..")


def photo(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def predicted(path: Path, label: str, *, unsure: bool = False) -> Prediction:
    return Prediction(str(path), label, 0.9, ((label, 0.9),), 0.8, unsure=unsure)


def test_images_go_by_class_and_unsure_ones_apart(tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "out", CLASSES)
    cat = sorter.add(predicted(photo(tmp_path / "in/1.jpg", "1"), "cat"))
    doubtful = sorter.add(predicted(photo(tmp_path / "in/2.jpg", "2"), "cat", unsure=True))
    named_unsure = sorter.add(predicted(photo(tmp_path / "in/3.jpg", "3"), "unsure"))
    assert sorter.add(Prediction.failed(str(tmp_path / "in/4.jpg"), "truncated")) is None
    assert cat == tmp_path / "out/cat/1.jpg"
    assert doubtful == tmp_path / "out/unsure/2.jpg"
    assert named_unsure == tmp_path / "out/unsure-2/3.jpg"
    assert cat.samefile(tmp_path / "in/1.jpg")
    assert "3 linked" in sorter.summary()


def test_files_of_one_name_get_numbers_and_a_second_call_changes_nothing(tmp_path: Path) -> None:
    sources = [photo(tmp_path / f"in/{site}/1.jpg", site) for site in "abc"]
    before = photo(tmp_path / "out/cat/1.jpg", "mine")
    for _ in range(2):
        sorter = Sorter(tmp_path / "out", CLASSES, how="copy")
        for source in sources:
            sorter.add(predicted(source, "cat"))
    assert sorter.there == 3
    found = {path.name: path.read_text() for path in (tmp_path / "out/cat").iterdir()}
    assert found == {"1.jpg": "mine", "1-2.jpg": "a", "1-3.jpg": "b", "1-4.jpg": "c"}
    assert before.read_text() == "mine"


def test_a_copy_is_a_file_of_its_own_with_the_times_of_the_source(tmp_path: Path) -> None:
    source = photo(tmp_path / "in/1.jpg")
    os.utime(source, (1_000_000_000, 1_000_000_000))
    target = Sorter(tmp_path / "out", CLASSES, how="copy").add(predicted(source, "dog"))
    assert target is not None
    assert not target.samefile(source)
    assert target.stat().st_mtime == 1_000_000_000
    assert [path.name for path in target.parent.iterdir()] == ["1.jpg"]
    target.write_text("changed")
    assert source.read_text() == "x"


def test_a_link_is_followed_to_its_file_and_links_in_the_way_are_not(tmp_path: Path) -> None:
    source = photo(tmp_path / "elsewhere/1.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.jpg").symlink_to(source)
    (tmp_path / "out/cat").mkdir(parents=True)
    (tmp_path / "out/cat/1.jpg").symlink_to(tmp_path / "gone.jpg")
    target = Sorter(tmp_path / "out", CLASSES).add(predicted(tmp_path / "in/1.jpg", "cat"))
    assert target == tmp_path / "out/cat/1-2.jpg"
    assert not target.is_symlink()
    assert not (tmp_path / "gone.jpg").exists()


def test_where_links_are_impossible_auto_copies_and_link_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    source = photo(tmp_path / "in/1.jpg")
    sorter = Sorter(tmp_path / "out", CLASSES)
    target = sorter.add(predicted(source, "cat"))
    assert target is not None and target.read_text() == "x"
    assert sorter.copied == 1
    with pytest.raises(StoreError, match="--copy"):
        Sorter(tmp_path / "more", CLASSES, how="link").add(predicted(source, "cat"))


def test_class_names_are_safe_folder_names() -> None:
    names = ["a/b", "..", "", "CON", "nul.txt", "x:y*?", "ends. ", "A/B", "e\u0301", "\u00e9", "\udcff", "n" * 400]
    found = folder_names(names)
    assert len({name.casefold() for name in found}) == len(names)
    assert all(name not in ("", ".", "..") and "/" not in name and len(os.fsencode(name)) < 230 for name in found)
    assert found[:8] == ["a_b", "_", "_-2", "CON_", "nul.txt_", "x_y__", "ends", "A_B-2"]


def test_nothing_leaves_the_folder(tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "out", CLASSES)
    for label in ("a/b", ".."):
        target = sorter.add(predicted(photo(tmp_path / "in" / f"{label.replace('/', '')}x.jpg", label), label))
        assert target is not None
        assert target.parent.parent == tmp_path / "out"
