"""Data of detection and segmentation is named; more of it in `test_folder_layout`."""

from __future__ import annotations

from pathlib import Path

import pytest
from data.trees import fill

from housetrain.data.class_folders import walk
from housetrain.data.label_source import LabelSource
from housetrain.data.other_tasks import mask_folders, refuse_masks, refuse_other_tasks
from housetrain.errors import FolderError

BOXES = {
    ".txt": ("YOLO", "0 0.5 0.5 0.2 0.3\n"),
    ".xml": ("Pascal VOC", "<annotation><object><bndbox/></object></annotation>"),
    ".json": ("Labelme", '{"shapes": [{"points": [[1, 2]]}]}'),
}


@pytest.mark.parametrize("suffix", BOXES)
@pytest.mark.parametrize("folders", [(".",), ("train", "valid"), ("images",)])
def test_files_of_boxes_beside_images(tmp_path: Path, suffix: str, folders: tuple[str, ...]) -> None:
    root = fill(tmp_path, *folders)
    name, text = BOXES[suffix]
    for folder in folders:
        for image in list((root / folder).glob("*.png")):
            image.with_suffix(suffix).write_text(text)
    with pytest.raises(FolderError, match=rf"object-detection data \({name}: 6 files of boxes"):
        walk(root)


def test_files_of_boxes_in_class_folders_harm_nothing(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat", "dog")
    for image in list(root.rglob("*.png")):
        image.with_suffix(".txt").write_text("0 0.5 0.5 0.2 0.3\n")
    assert walk(root).classes == ("cat", "dog")


@pytest.mark.parametrize(
    "pair",
    [
        "images masks",
        "img label",
        "rgb ir",
        "original resized",
        "leftImg8bit gtFine",
        "Images Annotation",
        "color grayscale",
        "Original-Dataset Augmented_Dataset",
    ],
)
def test_other_versions_beside_images_name_the_folder_to_give(tmp_path: Path, pair: str) -> None:
    images, _ = pair.split()
    root = fill(tmp_path, *(f"{top}/{name}" for top in pair.split() for name in ("cat", "dog")))
    with pytest.raises(
        FolderError, match=rf"hold (images and|versions of).*not classes.*housetrain run \S+/{images}\b"
    ):
        refuse_other_tasks(root, pair.split())


def test_images_and_masks_in_each_split(tmp_path: Path) -> None:
    tops = [f"{split}/{kind}/{c}" for split in ("train", "test") for kind in ("images", "masks") for c in ("a", "b")]
    with pytest.raises(FolderError, match=r"segmentation data: images and masks"):
        walk(fill(tmp_path, *tops))


@pytest.mark.parametrize(
    "tops", ["raw processed", "jpg label", "face face_mask", "with_mask without_mask", "mask no_mask", "color gray"]
)
def test_flat_folders_of_such_names_are_classes(tmp_path: Path, tops: str) -> None:
    assert len(walk(fill(tmp_path, *tops.split())).classes) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_annotations.createml.json", '[{"image": "0.png", "annotations": [{"coordinates": {"x": 1}}]}]'),
        ("via_region_data.json", '{"0": {"regions": [{"shape_attributes": {}}]}}'),
        ("annotations.xml", '<annotations><image name="0.png"><box xtl="1"/></image></annotations>'),
    ],
)
def test_one_file_of_boxes_for_all_images(tmp_path: Path, name: str, text: str) -> None:
    root = fill(tmp_path, "images")
    (root / name).write_text(text)
    with pytest.raises(FolderError, match=rf"object-detection data .*{name} holds boxes"):
        walk(root)


def test_names_that_are_no_versions_are_classes(tmp_path: Path) -> None:
    refuse_masks(tmp_path, ["cat", "mask"])
    refuse_masks(tmp_path, ["images"])


def test_a_class_of_masks_beside_its_class_is_left_out(tmp_path: Path) -> None:
    assert mask_folders(["ok", "ok_masks", "bad", "bad-GT", "mask"]) == {"ok_masks": "ok", "bad-GT": "bad"}
    assert mask_folders(["train", "train_masks"]) and not mask_folders(["face", "face_mask"])
    root = fill(tmp_path, "ok", "ok_masks", "bad", "bad_masks")
    found = walk(root)
    assert found.classes == ("bad", "ok") and len(found.entries) == 12
    assert [note.kind for note in found.notes] == ["companion-folder"] * 2
    assert len(walk(root, LabelSource.of({"keep_companions": True})).classes) == 4


def test_a_table_of_boxes_in_each_split(tmp_path: Path) -> None:
    root = fill(tmp_path, "train", "test")
    for split in ("train", "test"):
        rows = "".join(f"{n:03d}.png,9,9,{'ab'[n % 2]},1,1,2,2\n" for n in range(6))
        (root / split / "_annotations.csv").write_text("filename,width,height,class,xmin,ymin,xmax,ymax\n" + rows)
    with pytest.raises(FolderError, match=r"object-detection data \(_annotations.csv holds boxes\)"):
        walk(root)
    assert walk(root, LabelSource.of({"labels": "_annotations.csv"})).classes == ("a", "b"), "one box an image"


def test_flat_images_beside_masks_whose_names_carry_the_class(tmp_path: Path) -> None:
    root = fill(tmp_path, "images", form="Bengal_{n}.jpg")
    fill(root, "images", form="Abyssinian_{n}.jpg")
    fill(root, "annotations/trimaps")
    with pytest.raises(FolderError, match=r"housetrain run \S+/images --label-from-name '"):
        walk(root)
