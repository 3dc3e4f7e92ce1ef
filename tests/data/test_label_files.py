"""Files of labels of any type are rows; several files are one table; an order is never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.trees import fill

from housetrain.data.class_folders import walk
from housetrain.data.label_files import in_order_of, read_rows
from housetrain.data.label_source import LabelSource
from housetrain.data.label_table import LabelTable
from housetrain.errors import FolderError


def labels(root: Path, source: str) -> dict[str, tuple[str, str | None]]:
    found = walk(root, LabelSource.of({"labels": source}))
    return {entry.path.rpartition("/")[2]: (entry.label, entry.split) for entry in found.entries}


@pytest.mark.parametrize("name", ["labels.npy", "labels.txt"])
def test_labels_in_order_need_the_word(tmp_path: Path, name: str) -> None:
    root = fill(tmp_path, "images", form="{n}.png", count=12)
    (root / "images" / "notes.md").write_text("no image")
    if name.endswith("npy"):
        np.save(root / name, np.arange(12) % 2)
    else:
        (root / name).write_text("".join(f"{n % 2}\n" for n in range(12)))
    with pytest.raises(FolderError):
        labels(root, name)
    found = labels(root, f"{name}:order")
    assert found["2.png"] == ("0", None) and found["11.png"] == ("1", None), "natural order: 2 before 11"
    (root / "images" / "12.png").write_bytes(b"x")
    with pytest.raises(FolderError, match=r"holds 12 labels and no names of images, and there are 13 images"):
        labels(root, f"{name}:order")


def test_a_column_called_order_is_a_column(tmp_path: Path) -> None:
    root = fill(tmp_path, "images")
    (root / "labels.csv").write_text("image,order\n" + "".join(f"{n:03d}.png,{'ab'[n % 2]}\n" for n in range(6)))
    assert labels(root, "labels.csv:image,order")["001.png"] == ("b", None)


def test_arrays_with_names_are_tables(tmp_path: Path) -> None:
    root = fill(tmp_path, "images")
    files = [f"{n:03d}.png" for n in range(6)]
    np.savez(root / "labels.npz", files=np.array(files), y=np.array(["cat", "dog"] * 3))
    assert labels(root, "labels.npz")["001.png"] == ("dog", None)
    assert in_order_of(root / "labels.npz", files) == ""
    assert read_rows(root / "labels.npz", files).cells[:2] == [["files", "y"], ["000.png", "cat"]]


def test_numbered_tables_are_joined(tmp_path: Path) -> None:
    """CUB-200: three files, and the names of the classes in a fourth."""
    root = fill(tmp_path, "images")
    (root / "images.txt").write_text("".join(f"{n + 1} {n:03d}.png\n" for n in range(6)))
    (root / "image_class_labels.txt").write_text("".join(f"{n + 1} {n % 2 + 1}\n" for n in range(6)))
    (root / "train_test_split.txt").write_text("".join(f"{n + 1} {int(n < 4)}\n" for n in range(6)))
    (root / "bounding_boxes.txt").write_text("".join(f"{n + 1} 60.0 27.0 325.0 304.0\n" for n in range(6)))
    (root / "classes.txt").write_text("1 Albatross\n2 Auklet\n")
    assert labels(root, "images.txt") == {
        f"{n:03d}.png": (("Albatross", "Auklet")[n % 2], "train" if n < 4 else "test") for n in range(6)
    }
    (root / "image_class_labels.txt").unlink()
    with pytest.raises(FolderError, match="can be the label"):
        labels(root, "images.txt")


def split_lists(root: Path, form: str, **rows: str) -> None:
    for split, text in rows.items():
        (root / form.format(split)).write_text(text)


def test_the_lists_of_the_splits_are_one_table(tmp_path: Path) -> None:
    root = fill(tmp_path, "images")
    lines = [f"images/{n:03d}.png {n % 2}\n" for n in range(6)]
    split_lists(root, "{}.txt", train="".join(lines[:2]), val="".join(lines[2:4]), test="".join(lines[4:]))
    found = labels(root, "train.txt")
    assert [found[f"{n:03d}.png"][1] for n in range(6)] == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    assert len(labels(root, "val.txt")) == 2, "the table of one split is that alone"


def test_lists_with_a_header_and_of_one_kind_belong_together(tmp_path: Path) -> None:
    root = fill(tmp_path, "images", count=8)
    rows = [f"{n:03d}.png,{'ab'[n % 2]}\n" for n in range(8)]
    rows.insert(0, "image,label\n")
    split_lists(root, "fruit_{}.csv", train="".join(rows[:5]), test=rows[0] + "".join(rows[5:7]))
    split_lists(root, "other_{}.csv", test=rows[0] + "".join(rows[7:]))
    found = labels(root, "fruit_train.csv")
    assert len(found) == 6 and found["005.png"] == ("b", "test")
    (root / "fruit_test.csv").write_text("image\n004.png\n005.png\n")
    assert len(labels(root, "fruit_train.csv")) == 4, "a test without labels"


def test_lists_of_images_in_folders_of_splits_stay_apart(tmp_path: Path) -> None:
    """000.png lies in each folder: only the folder tells which one a list means."""
    root = fill(tmp_path, "train", "test")
    for split, pair in (("train", "ab"), ("test", "ba")):
        (root / f"{split}.csv").write_text("image,label\n" + "".join(f"{n:03d}.png,{pair[n % 2]}\n" for n in range(6)))
    table = LabelTable.read(root / "train.csv", [f"{s}/{n:03d}.png" for s in ("train", "test") for n in range(6)])
    assert set(table.labels().of) == {f"train/{n:03d}.png" for n in range(6)}
