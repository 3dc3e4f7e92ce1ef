from __future__ import annotations

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
