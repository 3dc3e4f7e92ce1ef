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
