from __future__ import annotations

import json
from pathlib import Path

import pytest

from housetrain.data.table_cells import as_number, class_names, decode_text, json_cells, text_cells
from housetrain.errors import FolderError


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "  "])
def test_separators(separator: str) -> None:
    text = "".join(f"{separator.join(row)}\n" for row in (["a", "b"], ["1", "2"], ["3", "4"]))
    assert text_cells(text) == [["a", "b"], ["1", "2"], ["3", "4"]]


def test_quoted_separators_comments_and_blank_lines() -> None:
    assert text_cells('# made by hand\na,"b, c"\n\nd,e\n') == [["a", "b, c"], ["d", "e"]]


@pytest.mark.parametrize("text", ["", "one\ntwo\nthree\n", "a b\nc\nd e f\ng\nh i j k\n"])
def test_no_table(text: str) -> None:
    assert text_cells(text) == []


def test_json_lines_objects_and_mappings(tmp_path: Path) -> None:
    lines = '{"file": "a.png", "label": 1}\n{"file": "b.png", "flag": true}\n'
    assert json_cells(lines, tmp_path / "x.jsonl") == [
        ["file", "label", "flag"],
        ["a.png", "1", ""],
        ["b.png", "", "true"],
    ]
    assert json_cells('{"a.png": "cat"}', tmp_path / "x.json") == [["file", "label"], ["a.png", "cat"]]
    with pytest.raises(FolderError, match="no valid JSON"):
        json_cells("{", tmp_path / "x.json")


CAT_DOG = [["file", "label", "split"], ["1.jpg", "cat", "train"], ["2.jpg", "dog", "test"]]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"train": {"cat": ["1.jpg"]}, "test": {"dog": ["2.jpg"]}}', CAT_DOG),
        ('{"train": {"1.jpg": "cat"}, "test": {"2.jpg": "dog"}}', CAT_DOG),
        (
            '{"train": [["1.jpg", 0, "cat"]], "val": [["2.jpg", 1, "dog"]]}',
            [["1", "2", "3", "split"], ["1.jpg", "0", "cat", "train"], ["2.jpg", "1", "dog", "val"]],
        ),  # CoOp
        ('{"labels": [["1.jpg", 0], ["2.jpg", 1]]}', [["1", "2"], ["1.jpg", "0"], ["2.jpg", "1"]]),  # StyleGAN
        ('{"1.jpg": {"label": "cat"}, "2.jpg": {"label": "dog"}}', [row[:2] for row in CAT_DOG]),
        ('{"classes": ["cat", "dog"], "labels": {"1.jpg": 0, "2.jpg": 1}}', [row[:2] for row in CAT_DOG]),  # FiftyOne
        ("[[1, [2]], [3]]", [["1", "2"], ["1", ""]]),
        ("[1, 2]", []),
        ("{}", []),
    ],
)
def test_shapes_of_json(tmp_path: Path, text: str, rows: list[list[str]]) -> None:
    assert json_cells(text, tmp_path / "x.json") == rows


def test_an_export_of_label_studio(tmp_path: Path) -> None:
    def task(name: str, *choices: str) -> dict[str, object]:
        return {"data": {"image": name}, "annotations": [{"result": [{"value": {"choices": list(choices)}}]}]}

    cells = json_cells(json.dumps([task("1.jpg", "cat"), task("2.jpg", "cat", "dog")]), tmp_path / "x.json")
    columns = {name: [row[number] for row in cells[1:]] for number, name in enumerate(cells[0])}
    assert columns["image"] == ["1.jpg", "2.jpg"] and columns["label"] == ["cat", "cat|dog"]
    assert json_cells('[{"annotations": [1, {"result": 2}], "data": 3}]', tmp_path / "x.json")[1:] == [["", "3"]]


def test_labels_of_several_words_and_a_header_without_its_first_name() -> None:
    assert text_cells("1 Boeing 707\n2 A310\n") == [["1", "Boeing 707"], ["2", "A310"]]
    celeba = "2\nBald Young Smiling\n1.jpg  1 -1  1\n2.jpg -1 -1  1\n"
    assert text_cells(celeba)[:2] == [["image", "Bald", "Young", "Smiling"], ["1.jpg", "1", "-1", "1"]]


@pytest.mark.parametrize("text", ['{"0": "rust", "1": "scab"}', '{"rust": 0, "scab": 1}'])
def test_class_numbers_get_their_names_from_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"0": 1, "1": [2]}')
    (tmp_path / "zmap.json").write_text(text)
    assert class_names(tmp_path / "train.csv", {"0", "1"}) == {"0": "rust", "1": "scab"}
    assert class_names(tmp_path / "train.csv", {"0", "2"}) == {}


def test_class_numbers_get_their_names(tmp_path: Path) -> None:
    table = tmp_path / "train.txt"
    assert class_names(table, {"0", "1"}) == {}
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert class_names(table, {"0", "1"}) == {"0": "cat", "1": "dog"}
    assert class_names(table, {"0", "2"}) == {}
    assert class_names(table, {"cat"}) == {}


def test_text_and_numbers() -> None:
    assert decode_text("é".encode("utf-16")) == decode_text("é".encode("cp1252")) == decode_text("é".encode()) == "é"
    assert as_number("0.5") == 0.5
    assert as_number("half") is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings(encoding: str) -> None:
    assert decode_text("file;Käse\na.jpg;x\n".encode(encoding)) == "file;Käse\na.jpg;x\n"


def test_a_line_for_spreadsheets_is_no_row() -> None:
    assert text_cells("sep=;\nfile;label\na;b\n") == [["file", "label"], ["a", "b"]]
