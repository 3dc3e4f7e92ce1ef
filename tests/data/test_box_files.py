"""Files of boxes are named as what they are; more of them in `test_other_tasks`."""

from __future__ import annotations

from pathlib import Path

import pytest
from data.trees import fill

from housetrain.data.box_files import boxes_of
from housetrain.data.class_folders import walk
from housetrain.data.folder_layout import folders
from housetrain.data.label_source import LabelSource
from housetrain.errors import FolderError

KITTI = "Car 0.00 0 -1.67 642.24 178.50 680.14 208.68 1.38 1.49 3.32 2.41 1.66 34.98 -1.60\n"
DOTA = "imagesource:GoogleEarth\ngsd:0.146\n2753.0 2408.0 2861.0 2385.0 2888.0 2468.0 2805.0 2502.0 plane 0\n"
LABELME = '{"version": "4", "shapes": [{"label": "cat", "points": [[1, 2], [3, 4]]}]}'
SUPERVISELY = '{"tags": [], "objects": [{"classTitle": "cat", "points": {"exterior": [[1, 2]]}}]}'
ROTATED = "<annotation><object><robndbox><cx>1</cx></robndbox></object></annotation>"


def beside(root: Path, images: str, boxes: str, form: str, text: str) -> Path:
    fill(root, images)
    (root / boxes).mkdir(parents=True)
    for image in (root / images).iterdir():
        (root / boxes / form.format(stem=image.stem)).write_text(text)
    return root


@pytest.mark.parametrize(
    ("images", "boxes", "form", "text", "name"),
    [
        ("image_2", "label_2", "{stem}.txt", KITTI, "KITTI"),
        ("training/image_2", "training/label_2", "{stem}.txt", KITTI, "KITTI"),
        ("images", "labelTxt", "{stem}.txt", DOTA, "DOTA"),
        ("train/images", "train/labelTxt", "{stem}.txt", DOTA, "DOTA"),
        ("images", "json", "{stem}.json", LABELME, "Labelme"),
        ("img", "ann", "{stem}.png.json", SUPERVISELY, "Supervisely"),
        ("photos", "xmls2", "{stem}.xml", ROTATED, "oriented boxes"),
        ("pictures", "boxes", "{stem}.txt", "0 0.5 0.5 0.2 0.3\n", "YOLO"),
    ],
)
def test_a_folder_of_boxes_beside_one_of_images(
    tmp_path: Path, images: str, boxes: str, form: str, text: str, name: str
) -> None:
    root = beside(tmp_path, images, boxes, form, text)
    with pytest.raises(FolderError, match=rf"object-detection data \({name}: 6 files of boxes in {Path(boxes).name}\)"):
        walk(root)


@pytest.mark.parametrize("text", ["a note\n", "cat 1 2\n", "1 2 3\n", "{}", ""])
def test_other_files_beside_images_are_no_boxes(tmp_path: Path, text: str) -> None:
    root = beside(tmp_path, "images", "notes", "{stem}.txt", text)
    assert boxes_of(root, folders(root)) == ""


def test_boxes_of_class_folders_or_of_other_images_harm_nothing(tmp_path: Path) -> None:
    root = beside(tmp_path / "classes", "cat", "labels", "{stem}.txt", KITTI)
    fill(root, "dog")
    assert walk(root).classes == ("cat", "dog")
    other = beside(tmp_path / "other", "images", "label_2", "x{stem}.txt", KITTI)
    assert boxes_of(other, folders(other)) == ""


BOXES = "ImageID,LabelName,XMin,XMax,YMin,YMax\n"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (BOXES, "{n:03d},/m/01,0.1,0.2,0.3,0.4\n"),
        ("image_id,width,height,bbox,source\n", '{n:03d},9,9,"[1, 2, 3, 4]",usask\n'),
        ("image_path;x1;y1;x2;y2;class\n", "images/{n:03d}.png;1;2;3;4;{n}\n"),
    ],
)
def test_tables_of_boxes_have_several_rows_an_image(tmp_path: Path, header: str, row: str) -> None:
    root = fill(tmp_path, "images")
    (root / "boxes.csv").write_text(header + "".join(row.format(n=n // 2) for n in range(12)))
    with pytest.raises(FolderError, match=r"object-detection data \(boxes.csv holds boxes\)"):
        walk(root)
    (root / "boxes.csv").write_text(header + "".join(row.format(n=n) for n in range(6)))
    assert boxes_of(root, ["images"]) == "", "one box an image: the class of the image"


def test_a_table_of_one_box_an_image_labels_it(tmp_path: Path) -> None:
    root = fill(tmp_path, "images")
    (root / "cars.csv").write_text(
        "fname,x1,y1,x2,y2,class\n" + "".join(f"{n:03d}.png,1,2,3,4,{n % 2}\n" for n in range(6))
    )
    with pytest.raises(FolderError, match=r"--labels cars\.csv"):
        walk(root)
    assert walk(root, LabelSource.of({"labels": "cars.csv:fname,class"})).classes == ("0", "1")


def test_tables_of_outlines_are_named(tmp_path: Path) -> None:
    root = fill(tmp_path, "train_images", "test_images")
    (root / "train.csv").write_text("ImageId,ClassId,EncodedPixels\n000.png,1,29102 12\n")
    with pytest.raises(FolderError, match=r"train.csv holds outlines"):
        walk(root)
