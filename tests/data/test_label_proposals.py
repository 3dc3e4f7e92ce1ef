"""Where the labels of images without class folders are: the flags that are proposed, and what is said instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.trees import fill

from housetrain.data import folder_layout as layout
from housetrain.data import label_proposals
from housetrain.data.class_folders import walk
from housetrain.data.label_source import LabelSource
from housetrain.errors import FolderError


def test_top_folders_are_classes_unless_there_is_one_and_labels_elsewhere(tmp_path: Path) -> None:
    assert label_proposals.no_labels(fill(tmp_path / "a", "cat", "dog"), ["cat", "dog"]) is None
    assert label_proposals.no_labels(fill(tmp_path / "b", "cat"), ["cat"]) is None, (
        "one class: refused when it is split"
    )
    error = label_proposals.no_labels(fill(tmp_path / "c", "."), [])
    assert error is not None and "c/<class>/image" in str(error) and "--labels FILE" in str(error)
    named = fill(fill(tmp_path / "d", "images", form="cat.{n}.jpg"), "images", form="dog.{n}.jpg")
    error = label_proposals.no_labels(named, ["images"])
    assert error is not None and "images is one folder of images" in str(error)
    assert f"`housetrain run {named} --label-from-name '" in str(error)


def test_a_table_that_names_the_images_comes_before_their_names(tmp_path: Path) -> None:
    root = fill(fill(tmp_path, ".", form="cat.{n}.jpg"), ".", form="dog.{n}.jpg")
    rows = [f"{name}.{n}.jpg,{'ab'[n % 2]}\n" for name in ("cat", "dog") for n in range(6)]
    (root / "labels.csv").write_text("image,label\n" + "".join(rows))
    (root / "prices.csv").write_text("item,price\nhouse,3\ntrain,4\n")
    first, *others = label_proposals.proposals(root)
    assert first.flag == "--labels labels.csv" and "labels.csv names 12 of the 12 images" in first.said
    assert [one.flag.partition(" ")[0] for one in others] == ["--label-from-name"]
    assert others[0].said == "the file names carry classes: cat, dog"


def test_tables_called_labels_come_first_and_huge_ones_are_no_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("zoo.csv", "train_labels.csv", "metadata.csv", ".hidden.csv", "readme.md"):
        (tmp_path / name).write_text("a,b\n")
    assert [path.name for path in label_proposals.tables(tmp_path)] == ["train_labels.csv", "metadata.csv", "zoo.csv"]
    (tmp_path / "zoo.csv").write_text("a,b\n" * 100)
    monkeypatch.setattr(layout, "MAX_BYTES", 99)
    assert [path.name for path in label_proposals.tables(tmp_path)] == ["train_labels.csv", "metadata.csv"]


def test_a_table_in_each_split_is_proposed(tmp_path: Path) -> None:
    root = fill(tmp_path, "train", "test")
    for split in ("train", "test"):
        rows = "".join(f"{n:03d}.png,{'ab'[n % 2]}\n" for n in range(6))
        (root / split / "metadata.csv").write_text("file_name,label\n" + rows)
    (found,) = label_proposals.proposals(root)
    assert found.flag == "--labels metadata.csv" and "names 12 of the 12 images" in found.said


def test_a_table_of_a_small_part_of_the_images_is_proposed(tmp_path: Path) -> None:
    root = fill(fill(tmp_path, "train", count=10), "test", count=90)
    (root / "trainLabels.csv").write_text("id,label\n" + "".join(f"{n:03d},{'ab'[n % 2]}\n" for n in range(10)))
    assert label_proposals.proposals(root)[0].flag == "--labels trainLabels.csv"


def test_a_table_beside_folders_in_folders_of_images(tmp_path: Path) -> None:
    root = fill(tmp_path, "faces/faces")
    (root / "list.csv").write_text("image,male\n" + "".join(f"{n:03d}.png,{n % 2}\n" for n in range(6)))
    error = label_proposals.no_labels(root, ["faces"])
    assert error is not None and "--labels list.csv" in error.do


def test_a_table_that_labels_class_folders_otherwise_is_named(tmp_path: Path) -> None:
    root = fill(tmp_path, "monday", "friday")
    labels = {f"{day}/{n:03d}.png": day for day in ("monday", "friday") for n in range(6)}
    rows = [f"{path},{'ab'[n % 2]},{day}" for n, (path, day) in enumerate(labels.items())]
    (root / "labels.csv").write_text(
        "path,label,weather\n" + "\n".join(row.rpartition(",")[0] + ",dry" for row in rows)
    )
    found = label_proposals.unused_table(root, labels)
    assert found is not None and found[1] == "--labels labels.csv" and "labels 12 of the 12 images, too" in found[0]
    (root / "labels.csv").write_text("path,label,day\n" + "\n".join(rows))
    assert label_proposals.unused_table(root, labels) is None, "a column repeats the folders"
    (root / "labels.csv").write_text("path,size\n" + "\n".join(row.rpartition(",")[0] for row in rows))
    assert label_proposals.unused_table(root, labels) is None, "no column is called a label"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("labels.xlsx", r"labels.xlsx, which may hold the labels, is not read.*save it as CSV.*--labels labels.csv"),
        ("train labels.ods", r"save it as CSV.*--labels 'train labels.csv'"),
        ("labels.parquet", r"pandas.read_parquet\('labels.parquet'\).to_csv\('labels.csv', index=False\)"),
    ],
)
@pytest.mark.parametrize("folder", [".", "images"])
def test_tables_that_are_not_read_say_how_to_save_them(tmp_path: Path, folder: str, name: str, said: str) -> None:
    root = fill(tmp_path, folder)
    (root / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(FolderError, match=said):
        walk(root)
    with pytest.raises(FolderError, match=r"not read.*CSV"):
        walk(root, LabelSource.of({"labels": name}))


def test_a_spreadsheet_beside_class_folders_is_passed_over(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat", "dog")
    (root / "Book1.xlsx").write_bytes(b"PK\x03\x04")
    assert walk(root).classes == ("cat", "dog")


def test_labels_without_names_are_offered_with_their_order(tmp_path: Path) -> None:
    root = fill(tmp_path, "images", form="img_{n}.png", count=12)
    np.save(root / "labels.npy", np.arange(12) % 3)
    said = r"holds 12 labels and no file names; in the order of these: img_0.png: 0, img_1.png: 1, ..., img_11.png: 2"
    with pytest.raises(FolderError, match=said + r".*--labels labels.npy:order"):
        walk(root)
    np.save(root / "labels.npy", np.arange(13) % 3)
    assert walk(root).classes == ("images",), "another number of labels says nothing"


def test_a_table_in_the_folder_of_images_or_beside_it_names_the_folder_to_give(tmp_path: Path) -> None:
    inside = fill(tmp_path / "a", "train")
    rows = "".join(f'{{"file_name": "{n:03d}.png", "label": "{"ab"[n % 2]}"}}\n' for n in range(6))
    (inside / "train" / "metadata.jsonl").write_text(rows)
    with pytest.raises(FolderError, match=r"a --labels metadata.jsonl"):
        walk(inside)
    assert walk(inside, LabelSource.of({"labels": "metadata.jsonl"})).classes == ("a", "b")
    deep, names = fill(tmp_path / "b", "data/images", form="10{n}.png"), ["A310", "Boeing 707"] * 3
    (deep / "data" / "images_variant_train.txt").write_text("".join(f"10{n} {name}\n" for n, name in enumerate(names)))
    with pytest.raises(FolderError, match=r"housetrain run \S+/b --labels images_variant_train.txt"):
        walk(deep)
    assert walk(deep, LabelSource.of({"labels": "images_variant_train.txt"})).classes == (
        "A310", "Boeing 707",
    )  # fmt: skip


def test_what_the_columns_hold_is_said(tmp_path: Path) -> None:
    root = fill(tmp_path, "images")
    one_hot = "image,MEL,NV\n" + "".join(f"{n:03d},{n % 2}.0,{1 - n % 2}.0\n" for n in range(6))
    (root / "truth.csv").write_text(one_hot)
    assert "one column a class: MEL and NV" in label_proposals.proposals(root)[0].said
    (root / "truth.csv").write_text("image,a,b,c\n" + "".join(f"{n:03d},{n % 2},{n // 3},1\n" for n in range(5)))
    several = "image,a,b,c\n" + "".join(f"{n:03d},{n % 2},{n // 3},{n % 3 // 2}\n" for n in range(6))
    (root / "truth.csv").write_text(several)
    assert "several labels (multi-label), which are not supported" in label_proposals.proposals(root)[0].said
    rows = [f"{n:03d}.png,{'ab'[n % 2]},{'AP'[n // 3]}\n" for n in range(6)]
    (root / "truth.csv").write_text("Image Index,Finding Label\n" + "".join(row[:-3] + "\n" for row in rows))
    assert label_proposals.proposals(root)[0].flag == "--labels truth.csv"
    (root / "truth.csv").write_text("Image Index,Sex,View\n" + "".join(rows))
    assert label_proposals.proposals(root)[0].flag == "--labels truth.csv:1,Sex", "a shell divides at blanks"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "emotion,pixels,Usage",
            r"holds pixels as numbers.*p.split\(\).*y=t\['emotion'\].*housetrain prepare images.npz",
        ),
        (",".join(["label", *(f"pixel{n}" for n in range(784))]), r"reshape\(-1, 28, 28\), y=t\['label'\]"),
        (",".join(["label", *(f"{r}x{c}" for r in range(28) for c in range(28))]), r"reshape\(-1, 28, 28\)"),
    ],
)
def test_tables_of_pixels_are_named(tmp_path: Path, header: str, said: str) -> None:
    (tmp_path / "train.csv").write_text(header + "\n")
    with pytest.raises(FolderError, match=said):
        walk(tmp_path)
    (tmp_path / "train.csv").write_text("id,label\n1,2\n")
    assert label_proposals.pixel_table(tmp_path) is None


def test_a_table_in_a_folder_of_its_own_is_proposed(tmp_path: Path) -> None:
    root = fill(tmp_path, "images")
    (root / "annotations").mkdir()
    rows = [f"{n:03d},{'ab'[n % 2]}\n" for n in range(6)]
    (root / "annotations" / "truth.csv").write_text("image,species\n" + "".join(rows))
    with pytest.raises(FolderError, match=r"truth.csv names 6 of the 6 images.*--labels truth.csv"):
        walk(root)
    assert walk(root, LabelSource.of({"labels": "truth.csv"})).classes == ("a", "b")
