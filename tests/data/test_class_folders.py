"""Folders as people have them: what are classes, what are splits, what is another task."""

from __future__ import annotations

import errno
import os
import subprocess
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from data.trees import fill
from hostile import encode, photo

from housetrain.data.catalog import scan
from housetrain.data.checks import check
from housetrain.data.class_folders import walk
from housetrain.data.folder_tree import Tree
from housetrain.data.label_source import LabelOptions, LabelSource
from housetrain.errors import FolderError, RecipeError


def counts(tree: Tree) -> dict[tuple[str, str | None], int]:
    return dict(Counter((entry.label, entry.split) for entry in tree.entries))


def labels(tree: Tree) -> set[str]:
    return {entry.label for entry in tree.entries}


@pytest.mark.parametrize("name", ["unsorted", "my_predictions", "Unlabeled images", "pred"])
def test_a_folder_without_labels_beside_class_folders_is_no_class(tmp_path: Path, name: str) -> None:
    root = fill(tmp_path, "cat", "dog", name)
    tree = walk(root)
    (note,) = tree.notes
    assert labels(tree) == {"cat", "dog"} == set(tree.classes) and note.kind == "unlabeled-folder"
    assert name in note.message and "--class-level 1" in note.do and sum(tree.ignored.values()) == 6
    assert name in labels(walk(root, LabelSource(class_level=1)))
    assert labels(walk(fill(tmp_path / "two", "sorted", name))) == {"sorted", name}, "else one class is left"


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("Training", "Testing", "test"),
        ("seg_train", "seg_test", "test"),
        ("training_set", "test_set", "test"),
        ("train", "eval", "validation"),
        ("train", "dev", "validation"),
        ("TRAIN", "VAL", "validation"),
        ("train2017", "val2017", "validation"),
    ],
)
def test_ready_made_splits_are_recognized_by_name_and_content(
    tmp_path: Path, train: str, other: str, split: str
) -> None:
    tree = walk(fill(tmp_path, f"{train}/a", f"{train}/b", f"{other}/a", f"{other}/b"))
    assert tree.ready_made
    assert counts(tree) == {("a", "train"): 6, ("b", "train"): 6, ("a", split): 6, ("b", split): 6}


@pytest.mark.parametrize("unlabeled", ["test1", "test/test", "seg_pred", "test/images"])
def test_a_split_without_the_class_folders_of_train_holds_unlabeled_images(tmp_path: Path, unlabeled: str) -> None:
    tree = walk(fill(tmp_path, "train/cat", "train/dog", unlabeled))
    assert labels(tree) == {"cat", "dog"}
    assert [note.kind for note in tree.notes] == ["unlabeled-folder"]
    assert "6 images" in tree.notes[0].message


@pytest.mark.parametrize("tops", [("Training", "Testing"), ("train", "test1"), ("train", "eval"), ("test", "val")])
def test_folders_of_images_named_as_splits_are_never_classes(tmp_path: Path, tops: tuple[str, str]) -> None:
    with pytest.raises(FolderError, match="look like splits, not classes"):
        walk(fill(tmp_path, *tops))
    assert labels(walk(tmp_path, LabelSource(class_level=1))) == set(tops)


def test_splits_without_a_training_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"none of them holds class folders to train on.*--train-dir"):
        walk(fill(tmp_path, "test/Cat", "validation/Cat"))


def test_train_may_be_a_class_beside_others(tmp_path: Path) -> None:
    assert labels(walk(fill(tmp_path, "train", "car", "bus"))) == {"train", "car", "bus"}


def test_flat_images_say_where_labels_could_be(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"There are no class folders.*--labels FILE.*--label-from-name REGEX"):
        walk(fill(tmp_path, "."))


def test_flat_images_whose_names_carry_the_class(tmp_path: Path) -> None:
    root = fill(fill(tmp_path, ".", form="cat.{n}.jpg"), ".", form="dog.{n}.jpg")
    with pytest.raises(FolderError, match=r"the file names carry classes: cat, dog.*--label-from-name '\^"):
        walk(root)
    tree = walk(root, LabelSource(label_from_name=r"^(.+?)\."))
    assert counts(tree) == {("cat", None): 6, ("dog", None): 6}


def test_named_images_in_split_folders_keep_their_split(tmp_path: Path) -> None:
    root = fill(tmp_path, "train", form="cat.{n}.jpg")
    fill(root, "train", form="dog.{n}.jpg")
    fill(root, "test1", form="{n}.jpg")
    with pytest.raises(FolderError, match="--label-from-name"):
        walk(root)
    tree = walk(root, LabelSource(label_from_name=r"^(cat|dog)\."))
    assert labels(tree) == {"cat", "dog"}
    assert len(tree.entries) == 12
    fill(root, "test", form="cat.{n}.jpg")
    fill(root, "test", form="dog.{n}.jpg")
    assert counts(walk(root, LabelSource(label_from_name=r"^(cat|dog)\.")))["cat", "test"] == 6


def test_a_table_beside_one_folder_of_images(tmp_path: Path) -> None:
    root = fill(tmp_path, "images", count=40)
    rows = (f"images/{n:03d}.png  {float(n % 3 == 0)}      {'mono' if n % 2 else 'poly'}\n" for n in range(40))
    (root / "labels.csv").write_text("".join(rows))
    with pytest.raises(
        FolderError, match=r"labels.csv names 40 of the 40 images; columns: 2 .*--labels labels.csv:1,2"
    ):
        walk(root)
    assert counts(walk(root, LabelSource(labels="labels.csv:1,3"))) == {("mono", None): 20, ("poly", None): 20}


def test_a_table_in_each_split_folder(tmp_path: Path) -> None:
    root = fill(tmp_path, "train", "test", count=10)
    for split in ("train", "test"):
        rows = (f"{n:03d}.png,{'ab'[n % 2]}\n" for n in range(10))
        (root / split / "metadata.csv").write_text("file_name,label\n" + "".join(rows))
    tree = walk(root, LabelSource(labels="metadata.csv"))
    assert counts(tree) == {("a", "train"): 5, ("b", "train"): 5, ("a", "test"): 5, ("b", "test"): 5}


def test_images_without_a_row_are_counted(tmp_path: Path) -> None:
    root = fill(tmp_path, ".", count=10)
    (root / "labels.csv").write_text(
        "image,label\n" + "".join(f"{n:03d}.png,{'ab'[n % 2]}\n" for n in range(8)) + "gone.png,a\n"
    )
    tree = walk(root, LabelSource(labels="labels.csv"))
    assert len(tree.entries) == 8
    assert "2 images have no label" in tree.notes[0].message
    assert "1 row of the table name no image" in tree.notes[0].message


def test_images_and_masks_are_segmentation_data(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="segmentation data"):
        walk(fill(tmp_path, "images", "masks"))


def test_nested_class_folders_say_what_the_levels_would_be(tmp_path: Path) -> None:
    root = fill(tmp_path, "Fruit/Apple/Golden", "Fruit/Apple/Granny", "Fruit/Banana", "Veg/Carrot", "Veg/Pepper")
    tree = walk(root)
    assert labels(tree) == {"Fruit", "Veg"}
    (note,) = tree.notes
    assert note.kind == "nested-folders"
    assert "2 classes at the top" in note.message
    assert "4 on the second level" in note.message
    assert "5 leaves" in note.message
    assert labels(walk(root, LabelSource(class_level=2))) == {"Apple", "Banana", "Carrot", "Pepper"}
    assert labels(walk(root, LabelSource(class_level="leaf"))) == {"Golden", "Granny", "Banana", "Carrot", "Pepper"}
    assert not walk(root, LabelSource(class_level=1)).notes


def test_inner_names_that_recur_are_rather_groups(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat/site1", "cat/site2", "dog/site1", "dog/site2")
    (note,) = walk(root).notes
    assert "same names (site1 and site2)" in note.message
    assert labels(walk(root, LabelSource(class_level=2))) == {"cat-site1", "cat-site2", "dog-site1", "dog-site2"}


def test_classes_beside_a_few_examples(tmp_path: Path) -> None:
    root = fill(tmp_path, "Dataset/0", "Dataset/1", "Dataset/2", count=20)
    fill(root, "Examples", count=3)
    with pytest.raises(FolderError, match=r"Dataset holds the classes 0, 1 and 2, Examples holds examples.*Dataset"):
        walk(root)
    assert labels(walk(root, LabelSource(class_level=1))) == {"Dataset", "Examples"}


def test_a_class_with_sites_beside_a_plain_class_is_used(tmp_path: Path) -> None:
    assert labels(walk(fill(tmp_path, "cat", "dog/site1", "dog/site2"))) == {"cat", "dog"}


@pytest.mark.parametrize(
    "options",
    [
        {"labels": "a.csv", "label_from_name": "(.)"},
        {"threshold": 0.5},
        {"labels": "a.csv", "class_level": 2},
        {"class_level": 0},
    ],
)
def test_options_that_contradict_each_other_are_refused(options: LabelOptions) -> None:
    with pytest.raises(RecipeError):
        LabelSource.of(options)


def test_classes_are_in_natural_order(tmp_path: Path) -> None:
    assert walk(fill(tmp_path, *(str(number) for number in range(12)))).classes == tuple(map(str, range(12)))


# ---------------------------------------------------------------------------------------------- names and failures


def few(folder: Path, count: int = 3) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.png").write_bytes(encode(photo(16, 16, seed=number), "PNG"))


def test_a_class_whose_name_no_file_can_hold_has_one_that_can(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"a\nb", "c\u2028d".encode(), "می\u200cخواهم".encode(), b"plain"):
        few(tmp_path / os.fsdecode(name))
    catalog = scan(tmp_path, cache=False, workers=1)
    assert set(catalog.classes) == {r"caf\xe9", r"a\nb", r"c\u2028d", "می\u200cخواهم", "plain"}
    assert list(catalog.counts().values()) == [3] * 5
    for name in catalog.classes:
        name.encode()
        assert "\n" not in name
    assert {image.path for image in catalog.images if image.label == r"caf\xe9"} == {
        os.fsdecode(b"caf\xe9/%d.png" % number) for number in range(3)
    }


def test_look_alike_names_are_two_classes_and_a_finding(tmp_path: Path) -> None:
    for name in (
        unicodedata.normalize("NFC", "é"),
        unicodedata.normalize("NFD", "é"),
        "Cat",
        "cat",
        "dog",
        "dog\u200b",
    ):
        try:
            few(tmp_path / name)
        except FileExistsError:
            pytest.skip("this file system holds look-alikes to be the same")
    catalog = scan(tmp_path, cache=False, workers=1)
    assert len(catalog.classes) == 6
    assert sum(one.kind == "case-only-classes" for one in check(catalog)) == 3


def test_what_the_system_cannot_list_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (tmp_path / ("y" * 300), Path("y/" * 3000), Path("nul\0l")):
        with pytest.raises(FolderError) as caught:
            scan(wrong)
        assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)
    few(tmp_path / "a")
    few(tmp_path / "b/deep")
    real = os.scandir
    for code in (errno.EACCES, errno.ENOENT, errno.ESTALE, errno.EIO, errno.ENAMETOOLONG):

        def fail(path: Any, code: int = code) -> Any:
            if str(path).endswith("deep"):
                raise OSError(code, os.strerror(code), str(path))
            return real(path)

        monkeypatch.setattr(os, "scandir", fail)
        with pytest.raises(FolderError) as caught:
            scan(tmp_path, cache=False)
        assert os.strerror(code) in str(caught.value) or "does not exist" in str(caught.value)


def test_a_tree_deeper_than_the_system_allows_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(tmp_path / "a")
    few(tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    for _ in range(22):
        Path("x" * 200).mkdir()
        os.chdir("x" * 200)
    with pytest.raises(FolderError, match="File name too long"):
        scan(tmp_path, cache=False)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["rm", "-rf", "b"], check=True)  # pytest cannot


@pytest.mark.parametrize(
    "tops",
    [
        "0|1|2|3", "a|b|c", "left|right", "before|after", "x|o", "5|10|100|200|2000", "20-25|26-30", "level1|level2",
        "00000|00001", "apple|apple pie|pie", "clean|dirty", "low|high", "2012 Acura|2013 BMW", "100birds|200cats",
        "real|fake", "input|output", "label_1|label_2", "May|June", "Test Drive|Drive|Engine", "fox|red fox", "old|new",
        "cat|cat_old", "docs|cats", "dev|prod", "data science|design",
    ],
)  # fmt: skip
def test_class_folders_of_any_other_name_are_classes_without_a_word(tmp_path: Path, tops: str) -> None:
    tree = walk(fill(tmp_path, *tops.split("|"), form="{n}.jpg"))
    assert set(tree.classes) == set(tops.split("|")) and not tree.notes and not tree.ready_made
