"""What the folders of a folder mean, told from names, tables and annotation files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from data.trees import fill

from housetrain.data import folder_layout as layout
from housetrain.data.other_tasks import refuse_other_tasks
from housetrain.data.split_layout import ready_made
from housetrain.errors import FolderError


def detection(root: Path, annotation: str, content: str, *folders: str) -> Path:
    """Make folders of images, and an annotation file."""
    path = fill(root, *folders) / annotation
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return root


def refused(root: Path) -> str:
    with pytest.raises(FolderError) as caught:
        refuse_other_tasks(root, layout.folders(root))
    assert "Received: " in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------- splits
def test_splits_are_those_that_share_class_folders_with_train(tmp_path: Path) -> None:
    root = fill(tmp_path, "Training/a", "Training/b", "val/b", "test1/x", "unlabeled/a", "docs")
    found = ready_made(root, layout.folders(root))
    assert found.of == {"Training": "train", "val": "validation"}
    assert sorted(found.unlabeled) == ["test1", "unlabeled"]


def test_train_beside_other_classes_is_a_class(tmp_path: Path) -> None:
    root = fill(tmp_path, "train/red", "test/blue", "bus/red")
    assert ready_made(root, ["bus", "test", "train"]).of == {}
    assert ready_made(root, ["test", "train"]).of == {"train": "train"}, "all are named as splits"


def test_splits_without_train_or_without_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"none of them holds class folders to train on.*--train-dir FOLDER"):
        ready_made(fill(tmp_path / "a", "test/cat", "val/cat"), ["test", "val"])
    with pytest.raises(FolderError, match=r"test and val look like splits, not classes, and hold no class folders"):
        ready_made(fill(tmp_path / "b", "test", "val"), ["test", "val"])


# ---------------------------------------------------------------------------------------------- other tasks
VOC = "<annotation><object><bndbox></bndbox></object></annotation>"
COCO = json.dumps({"images": [], "annotations": [{"bbox": [0, 0, 1, 1]}]})


@pytest.mark.parametrize(
    ("annotation", "content", "folders", "said"),
    [
        ("Annotations/000.xml", VOC, ("JPEGImages", "ImageSets/Main"), "Pascal VOC: 1 annotation with boxes"),
        ("labels/train/000.txt", "0 0.5 0.5 0.1 0.2\n", ("images/train",), "YOLO: 1 file of boxes"),
        ("train/labels/000.txt", "2 0.5 0.5 0.1 0.2\n\n", ("train/images", "valid/images"), "YOLO: 1 file of boxes"),
        ("labels/000.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2\n", ("images",), "YOLO: 1 file of boxes"),
        ("annotations/instances.json", COCO, ("images",), "COCO: instances.json holds boxes"),
    ],
)
def test_detection_data_is_named(
    tmp_path: Path, annotation: str, content: str, folders: tuple[str, ...], said: str
) -> None:
    assert f"This is object-detection data ({said})" in refused(detection(tmp_path, annotation, content, *folders))


@pytest.mark.parametrize(
    ("annotation", "content"),
    [
        ("Annotations/000.xml", "<annotation><object><name>cat</name></object></annotation>"),
        ("labels/000.txt", "cat\n"),
        ("labels/000.txt", "0 0.5 0.5 0.1 0.2\nand a note\n"),
        ("annotations/classes.json", json.dumps({"categories": ["cat", "dog"]})),
    ],
)
def test_annotations_without_boxes_are_no_detection_data(tmp_path: Path, annotation: str, content: str) -> None:
    root = detection(tmp_path, annotation, content, "cat", "dog")
    refuse_other_tasks(root, layout.folders(root))


def test_a_named_pipe_is_never_waited_for(tmp_path: Path) -> None:
    (fill(tmp_path, "cat", "dog") / "labels").mkdir()
    os.mkfifo(tmp_path / "labels" / "000.txt")
    os.mkfifo(tmp_path / "instances.json")
    refuse_other_tasks(tmp_path, ["cat", "dog"])


def test_images_and_masks_are_refused_unless_a_table_labels_them(tmp_path: Path) -> None:
    root = fill(tmp_path, "images", "Masks", form="{n:02d}.png", count=10)
    assert "segmentation data: Masks and images hold images" in refused(root)
    names = [f"{folder}/{n:02d}.png" for folder in ("images", "Masks") for n in range(10)]
    rows = [f"{name},{'ab'[n % 2]}\n" for n, name in enumerate(names)]
    (root / "labels.csv").write_text("image,label\n" + "".join(rows))
    refuse_other_tasks(root, layout.folders(root))
    (root / "labels.csv").unlink()
    refuse_other_tasks(fill(root, "cat"), ["Masks", "cat", "images"])


# ---------------------------------------------------------------------------------------------- levels
def test_a_folder_of_classes_beside_examples_is_refused(tmp_path: Path) -> None:
    nested = {"Dataset": {"0", "1", "2"}}
    with pytest.raises(FolderError, match=r"Dataset holds the classes 0, 1 and 2, docs and media hold examples"):
        layout.refuse_examples(tmp_path, {"Dataset": 60, "docs": 3, "media": 5}, nested)
    layout.refuse_examples(tmp_path, {"Dataset": 60, "docs": 30}, nested)
    layout.refuse_examples(tmp_path, {"Dataset": 60, "cat": 3}, nested)
    layout.refuse_examples(tmp_path, {"Dataset": 60, "docs": 3}, {})


def test_levels_count_what_each_depth_would_give() -> None:
    paths = ["Fruit/Apple/Golden/1", "Fruit/Apple/Granny/1", "Fruit/Banana/1", "Veg/Carrot/1", "Veg/Pepper/1", "1"]
    expected = layout.Levels(nested=("Fruit", "Veg"), top=2, second=4, leaves=5, recurring=())
    assert layout.levels_of(paths) == expected
    assert layout.levels_of([f"train/{path}" for path in paths], above=1) == expected
    assert layout.levels_of(["cat/1", "dog/2"]) is None
    assert layout.levels_of(["cat/a/1", "cat/b/1"]) is None, "one class"
    sites = layout.levels_of([f"{label}/{site}/1" for label in ("cat", "dog") for site in ("s1", "s2")])
    assert sites is not None and sites.recurring == ("s1", "s2")


def test_a_class_is_named_by_its_whole_way_where_its_name_recurs() -> None:
    paths = ["A/x/1", "B/x/2", "B/y/3", "B/4", "5"]
    assert layout.labels_at(paths, 1) == {"A/x/1": "A", "B/x/2": "B", "B/y/3": "B", "B/4": "B"}
    assert layout.labels_at(paths, 2) == {"A/x/1": "A-x", "B/x/2": "B-x", "B/y/3": "y", "B/4": "B"}
    deep = ["train/A/x/u/1", "test/A/x/v/1"]
    assert layout.labels_at(deep, None, above=1) == {deep[0]: "u", deep[1]: "v"}
    assert layout.labels_at(deep, 2, above=1) == dict.fromkeys(deep, "x")


def test_folders_and_images_are_listed_without_hidden_ones(tmp_path: Path) -> None:
    fill(tmp_path, "b", "a", ".git", "__MACOSX", "film.jpg")
    for name in ("2.JPG", "1.png", ".3.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "circle").symlink_to("circle")
    assert layout.folders(tmp_path) == ["a", "b", "film.jpg"]
    assert layout.images_in(tmp_path) == ["1.png", "2.JPG"]
    assert layout.folders(tmp_path / "none") == []
    assert [layout.is_image_name(name) for name in ("x.Jpeg", "x.webp", "x.svg", "jpg")] == [True, True, False, False]


@pytest.mark.parametrize("place", ["detections.json", "cat/000.json", "train/000.json"])
def test_boxes_beside_class_folders_are_no_detection_data(tmp_path: Path, place: str) -> None:
    """Camera traps come with a file of detections; some programs write one beside each image."""
    root = fill(tmp_path, *(("train/cat", "train/dog", "test/cat") if place.startswith("train") else ("cat", "dog")))
    (root / place).write_text(COCO)
    refuse_other_tasks(root, layout.folders(root))


def test_boxes_in_folders_of_splits_are_detection_data(tmp_path: Path) -> None:
    root = fill(tmp_path, "train", "valid")
    (root / "train" / "_annotations.coco.json").write_text(COCO)
    with pytest.raises(FolderError, match=r"COCO: _annotations\.coco\.json holds boxes"):
        refuse_other_tasks(root, layout.folders(root))
