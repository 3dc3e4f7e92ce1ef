"""Folders beside class folders that are no classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from data.trees import fill
from noise_folders import folder_of

import housetrain as ht
from housetrain.data.beside_classes import annotation_folders, repeated_sets, unlabeled_beside
from housetrain.data.class_folders import walk
from housetrain.data.label_source import LabelSource
from housetrain.errors import FolderError


def test_folders_of_annotations_are_told_from_folders_of_images(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat", "empty", count=2)
    fill(root, "meta", form="{n}.txt", count=2)
    fill(root, "Annotation/n02085620", form="n02085620_{n}", count=2)
    fill(root, "films", form="{n}.mp4", count=2)
    (root / "none").mkdir()
    assert annotation_folders(root, ["cat", "meta", "Annotation", "films", "none"]) == ["meta", "Annotation"]


def test_images_under_other_names_are_images(tmp_path: Path) -> None:
    root = folder_of(tmp_path, cat=2)
    for image in (root / "cat").iterdir():
        image.rename(image.with_suffix(""))
    assert annotation_folders(root, ["cat"]) == []


def test_a_folder_of_annotations_beside_classes_is_no_class(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat", "dog")
    fill(root, "notes", form="{n}.txt")
    tree = walk(root)
    (note,) = tree.notes
    assert tree.classes == ("cat", "dog")
    assert note.kind == "other-folder" and note.message.startswith("notes is no class")
    assert walk(root, LabelSource.of({"class_level": 1})).classes == ("cat", "dog", "notes")


@pytest.mark.parametrize(
    ("images", "others"),
    [
        ("images", {"meta": "train.txt"}),  # Food-101
        ("101_ObjectCategories", {"Annotations/anchor": "annotation_0001.mat"}),  # Caltech-101
        ("Images", {"Annotation/n02085620": "n02085620_7"}),  # Stanford Dogs
        ("images", {"imdb": "imdb.mat", "labels": "train1.txt"}),  # DTD
    ],
)
def test_the_folder_of_class_folders_is_entered_past_annotations(
    tmp_path: Path, images: str, others: dict[str, str]
) -> None:
    root = folder_of(tmp_path / images, accordion=3, anchor=3).parent
    for folder, name in others.items():
        (root / folder).mkdir(parents=True)
        (root / folder / name).write_text("1 2 3\n")
    catalog = ht.scan(root)
    assert catalog.classes == ("accordion", "anchor")
    assert f"no images but those of {images} (" in catalog.notes[0].message
    assert any(finding.kind == "inner-folder" for finding in ht.check(catalog))


def test_boxes_beside_folders_of_images_are_still_named(tmp_path: Path) -> None:
    root = fill(tmp_path, "images/train", "images/val")
    fill(root, "annotations", form="{n}.json", count=1)
    (root / "annotations" / "0.json").write_text('{"annotations": [{"bbox": [1, 2, 3, 4], "image_id": 1}]}')
    with pytest.raises(FolderError, match="object-detection data"):
        ht.scan(root)


def test_the_same_classes_once_more_are_no_class(tmp_path: Path) -> None:
    root = fill(tmp_path, "yes", "no", "brain_tumor_dataset/yes", "brain_tumor_dataset/no")
    assert repeated_sets(root, ["yes", "no", "brain_tumor_dataset"]) == ["brain_tumor_dataset"]
    tree = walk(root)
    assert tree.classes == ("no", "yes") and len(tree.entries) == 12
    assert "holds no and yes once more" in tree.notes[0].message


def test_folders_inside_a_class_repeat_nothing(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat/young", "cat/old", "dog", "bird")
    assert repeated_sets(root, ["cat", "dog", "bird"]) == []
    assert unlabeled_beside(["cat", "dog", "unsorted"]) == ["unsorted"] and unlabeled_beside(["cat", "unsorted"]) == []


def test_shards_repeat_no_classes(tmp_path: Path) -> None:
    """``0/0``, ``0/1``, ``1/0``: each holds names of others, and nothing is left out."""
    root = fill(tmp_path, *(f"{one}/{other}" for one in "0123" for other in "012"))
    assert repeated_sets(root, list("0123")) == []


@pytest.mark.parametrize(
    ("tops", "copies"),
    [
        ("cat|dog|cat - Copy", "cat - Copy looks like a copy or another version of cat, not a class"),
        ("cat|dog|Cat (1)", r"Cat \(1\) looks like a copy"),
        ("cat|dog|cat copy 2", "cat copy 2 looks like a copy"),
        ("cat|dog|cat_augmented|dog_augmented", "cat_augmented and dog_augmented look like copies"),
        ("New folder|New folder (2)", r"New folder \(2\) looks like a copy"),
    ],
)
def test_copies_of_folders_are_no_classes(tmp_path: Path, tops: str, copies: str) -> None:
    root = fill(tmp_path, *tops.split("|"))
    with pytest.raises(FolderError, match=copies + r".*--map FILE\.csv with the line.*--class-level 1"):
        walk(root)
    assert len(walk(root, LabelSource.of({"class_level": 1})).classes) == len(tops.split("|"))


def test_copies_that_a_map_joins_are_one_class(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "pets", cat=3, dog=3, **{"cat - Copy": 3})
    assert ht.scan(root, class_map={"cat - Copy": "cat"}).counts() == {"cat": 6, "dog": 3}


@pytest.mark.parametrize("tops", ["photocopy original", "cat cat_dog", "copy paste", "Paris(1) London(1)"])
def test_names_that_only_resemble_copies_are_classes(tmp_path: Path, tops: str) -> None:
    assert len(walk(fill(tmp_path, *tops.split())).classes) == 2


def test_folders_of_sound_are_passed_over(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "images_original", blues=3, rock=3).parent
    fill(root, "genres_original/blues", "genres_original/rock", form="{n}.wav")
    assert ht.scan(root).classes == ("blues", "rock")
