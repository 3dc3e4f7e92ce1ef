"""Tables of labels in the shapes that people keep them in."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from housetrain.data.label_table import LabelTable
from housetrain.errors import FolderError

FILES = [f"images/{number:04d}.png" for number in range(40)]


def table(tmp_path: Path, text: str, *, name: str = "labels.csv", files: list[str] = FILES) -> LabelTable:
    path = tmp_path / name
    path.write_text(text)
    return LabelTable.read(path, files, root=tmp_path)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "   "])
@pytest.mark.parametrize("header", ["", "image{s}kind\n"])
@pytest.mark.parametrize(
    "form", ["images/{:04d}.png", "{:04d}.png", "{:04d}", "{}", "./images/{:04d}.png", r"images\{:04d}.png"]
)
def test_separator_header_and_form_of_the_name_are_recognized(
    tmp_path: Path, separator: str, header: str, form: str
) -> None:
    rows = "".join(f"{form.format(n)}{separator}{'cat' if n % 3 else 'dog'}\n" for n in range(40))
    labels = table(tmp_path, header.format(s=separator) + rows).labels()
    assert labels.of == {file: "cat" if n % 3 else "dog" for n, file in enumerate(FILES)}
    assert labels.absent == 0


def test_two_columns_that_could_be_the_label_are_not_guessed_between(tmp_path: Path) -> None:
    rows = "".join(f"{file}  {float(n % 3 == 0)}     {'mono' if n % 2 else 'poly'}\n" for n, file in enumerate(FILES))
    found = table(tmp_path, rows)
    assert found.named == 40
    assert [str(column) for column in found.label_columns] == ["2 (0.0, 1.0)", "3 (mono, poly)"]
    assert found.commands() == ["--labels labels.csv:1,2", "--labels labels.csv:1,3"]
    with pytest.raises(FolderError, match=r"More than one column .*2 \(0.0, 1.0\); 3 \(mono, poly\)"):
        found.labels()
    assert set(found.labels(None, "3").of.values()) == {"mono", "poly"}
    cut = found.labels("1", "2", threshold=0.5).of
    assert cut[FILES[0]] == "above 0.5"
    assert cut[FILES[1]] == "up to 0.5"


def test_a_column_called_label_is_preferred(tmp_path: Path) -> None:
    rows = "".join(f"{file},{n % 4},{'a' if n % 2 else 'b'}\n" for n, file in enumerate(FILES))
    assert set(table(tmp_path, "path,site,label\n" + rows).labels().of.values()) == {"a", "b"}


def test_class_numbers_are_named_by_a_file_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("id,name,coarse\n0,apple,1\n1,pear,1\n")
    rows = "".join(f"{file}, {n % 2}, 1\n" for n, file in enumerate(FILES))
    assert set(table(tmp_path, rows, name="train.txt").labels().of.values()) == {"apple", "pear"}


def test_class_numbers_are_named_by_the_lines_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("apple\npear\n")
    rows = "".join(f"{file} {n % 2}\n" for n, file in enumerate(FILES))
    assert set(table(tmp_path, rows, name="train.txt").labels().of.values()) == {"apple", "pear"}


def test_one_column_a_class_with_a_single_one(tmp_path: Path) -> None:
    rows = "".join(f"{n:04d},{int(n % 3 == 0)},{int(n % 3 == 1)},{int(n % 3 == 2)}\n" for n in range(40))
    labels = table(tmp_path, "image,MEL,NV,BCC\n" + rows).labels().of
    assert [labels[file] for file in FILES[:4]] == ["MEL", "NV", "BCC", "MEL"]


def test_several_labels_an_image_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"{n:04d},{int(n % 3 == 0)},{int(n % 2 == 1)},{int(n % 5 == 2)}\n" for n in range(40))
    with pytest.raises(FolderError, match="multi-label data is not supported"):
        table(tmp_path, "image,MEL,NV,BCC\n" + rows).labels()
    twice = "".join(f"{file},{label}\n" for label in "ab" for file in FILES)
    with pytest.raises(FolderError, match=r"40 images have more than one label.*labels='a, b'"):
        table(tmp_path, "image,label\n" + twice).labels()


def test_a_patient_names_all_images_of_the_patient(tmp_path: Path) -> None:
    files = [f"x/PAT{n:03d}-{view}.jpg" for n in range(20) for view in "ab"]
    rows = "".join(f"PAT{n:03d};{'benign' if n % 2 else 'malignant'};{20 + n}\n" for n in range(20))
    found = table(tmp_path, "patient;diagnosis;age\n" + rows, files=files)
    assert found.named == 40
    assert found.labels().of["x/PAT003-b.jpg"] == "benign"


def test_json_lines_and_json(tmp_path: Path) -> None:
    rows = [{"file_name": f"{n:04d}.png", "label": n % 2, "objects": {"bbox": []}} for n in range(40)]
    text = "\n".join(json.dumps(row) for row in rows)
    assert set(table(tmp_path, text, name="metadata.jsonl").labels().of.values()) == {"0", "1"}
    assert set(table(tmp_path, json.dumps(rows), name="labels.json").labels().of.values()) == {"0", "1"}
    mapping = {f"{n:04d}.png": "ab"[n % 2] for n in range(40)}
    assert set(table(tmp_path, json.dumps(mapping), name="labels.json").labels().of.values()) == {"a", "b"}


def test_a_column_of_splits_is_no_label_and_is_kept(tmp_path: Path) -> None:
    rows = "".join(f"{file},{'ab'[n % 2]},{['train', 'val', 'test'][n % 3]}\n" for n, file in enumerate(FILES))
    labels = table(tmp_path, "image,kind,set\n" + rows).labels()
    assert set(labels.of.values()) == {"a", "b"}
    assert [labels.split[file] for file in FILES[:3]] == ["train", "validation", "test"]


def test_names_that_two_folders_share_need_their_path(tmp_path: Path) -> None:
    files = [f"{folder}/{n}.png" for folder in ("left", "right") for n in range(10)]
    rows = "".join(f"{file},{'ab'[n % 2]}\n" for n, file in enumerate(files))
    assert len(table(tmp_path, rows, files=files).labels().of) == 20
    short = "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(10))
    with pytest.raises(FolderError, match="No column of the table names the images"):
        table(tmp_path, short, files=files).labels()


def test_a_table_inside_a_folder_names_the_images_of_that_folder(tmp_path: Path) -> None:
    files = [f"{folder}/{n}.png" for folder in ("train", "test") for n in range(10)]
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.csv").write_text(
        "file_name,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(10))
    )
    labels = LabelTable.read(tmp_path / "train" / "metadata.csv", files, root=tmp_path).labels().of
    assert set(labels) == {f"train/{n}.png" for n in range(10)}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no table of labels"),
        (b"one column\nonly\n", "no table of labels"),
        (b"\x89PNG\r\n\x1a\n\0\0", "no table of labels"),
        (b"a,b\nc,d\n", "No column of the table names the images"),
    ],
)
def test_what_is_no_table_is_refused_in_words(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(data)
    with pytest.raises(FolderError, match=said):
        LabelTable.read(path, FILES).labels()


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"a": {"b": 1}}', "[1, 2]", '"text"'])
def test_json_that_is_no_table_is_refused_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(FolderError):
        LabelTable.read(tmp_path / "labels.json", FILES)


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    text = "image,label\n" + "".join(f"{file},{'Bär' if n % 2 else 'Wolf'}\n" for n, file in enumerate(FILES))
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
        assert set(LabelTable.read(tmp_path / "labels.csv", FILES).labels().of.values()) == {"Bär", "Wolf"}


@pytest.mark.parametrize(
    "form",
    [
        "https://example.org/images/{:04d}.png?size=2", "gs://bucket/images/{:04d}.png", "images/{:04d}.PNG",
        "{:04d}.jpg", "{}.0", r"C:\Users\me\images\{:04d}.png", "/home/me/images/{:04d}.png",
    ],
)  # fmt: skip
def test_names_of_other_machines_and_programs(tmp_path: Path, form: str) -> None:
    rows = "".join(f"{form.format(n)},{'cat' if n % 3 else 'dog'}\n" for n in range(40))
    assert table(tmp_path, "image,kind\n" + rows).labels().of == {
        file: "cat" if n % 3 else "dog" for n, file in enumerate(FILES)
    }


def test_accents_in_two_encodings_are_the_same(tmp_path: Path) -> None:
    files = [f"{unicodedata.normalize('NFD', 'é')}{n}.png" for n in range(20)]
    rows = "".join(f"{unicodedata.normalize('NFC', file)},{'ab'[n % 2]}\n" for n, file in enumerate(files))
    assert len(table(tmp_path, "file,label\n" + rows, files=files).labels().of) == 20


def test_a_table_named_as_a_split_means_the_images_of_that_split(tmp_path: Path) -> None:
    files = [f"{split}/{n}.png" for split in ("train", "test") for n in range(20)]
    rows = "id,label\n" + "".join(f"{n},{'cat' if n % 2 else 'dog'}\n" for n in range(20))
    assert set(table(tmp_path, rows, name="trainLabels.csv", files=files).labels().of) == set(files[:20])
    assert table(tmp_path, rows, name="labels.csv", files=files).named == 0, "both folders hold these names"


@pytest.mark.parametrize("empty", ["", "NaN", "null", "#N/A"])
def test_a_cell_without_a_value_is_no_class(tmp_path: Path, empty: str) -> None:
    rows = "".join(f"{file},{empty if n % 4 == 3 else 'cat' if n % 2 else 'dog'}\n" for n, file in enumerate(FILES))
    assert set(table(tmp_path, "image,kind\n" + rows).labels().of.values()) == {"cat", "dog"}


def test_a_column_of_numbers_is_offered_with_a_threshold(tmp_path: Path) -> None:
    rows = "".join(f"{file},{n / 100}\n" for n, file in enumerate(FILES))
    found = table(tmp_path, "image,score\n" + rows)
    assert found.commands() == ["--labels labels.csv:image,score --threshold 0.19"]
    assert set(found.labels("image", "score", threshold=0.19).of.values()) == {"up to 0.19", "above 0.19"}


@pytest.mark.parametrize(
    "content",
    [
        {file: n % 2 for n, file in enumerate(FILES)},
        {"0": FILES[::2], "1": FILES[1::2]},
        {"version": 1, "images": [{"file": file, "label": str(n % 2)} for n, file in enumerate(FILES)]},
        {
            "images": [{"id": n, "file_name": file} for n, file in enumerate(FILES)],
            "annotations": [{"image_id": n, "category_id": n % 2} for n in range(40)],
            "categories": [{"id": 0, "name": "0"}, {"id": 1, "name": "1"}],
        },
    ],
)
def test_json_in_the_shapes_that_programs_write(tmp_path: Path, content: dict[str, object]) -> None:
    found = table(tmp_path, json.dumps(content), name="labels.json").labels()
    assert found.of == {file: str(n % 2) for n, file in enumerate(FILES)}


def test_a_column_of_groups_is_proposed_last(tmp_path: Path) -> None:
    rows = "".join(f"{n // 3},{n:04d},{'ab'[n % 2]}\n" for n in range(40))
    found = table(tmp_path, "lesion_id,image_id,dx\n" + rows)
    assert [column.name for column in found.label_columns] == ["dx", "lesion_id"]
