"""The list of a split, in memory and as a file."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from data.made_up_catalogs import catalog, folder, image

from housetrain.data.split import split
from housetrain.data.split_manifest import Row, SplitManifest
from housetrain.errors import CorruptError, IncompleteError


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    odd = "b/" + os.fsdecode(b"\xff\n\xc3\xa9.jpg")
    images = catalog(*folder({"a": 30, "b": 30}).images, image(odd, "b"), image("a/x.jpg", "a", reason="truncated"))
    one = split(images, findings=(), balance="trim")
    path = one.save(tmp_path)
    assert path == tmp_path / "split.json" and [item.name for item in tmp_path.iterdir()] == ["split.json"]
    assert path.read_bytes().isascii()
    loaded = SplitManifest.load(tmp_path)
    assert loaded == one
    assert {type(loaded.rows), type(loaded.classes), type(loaded.left_out)} == {tuple}


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="no split here"):
        SplitManifest.load(tmp_path)
    path = split(folder({"a": 30, "b": 30}), findings=()).save(tmp_path)
    plain = json.loads(path.read_bytes())
    plain["rows"]["label"][0] ^= 1
    path.write_text(json.dumps(plain))
    with pytest.raises(CorruptError, match="changed after it was written"):
        SplitManifest.load(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptError, match="cannot be read"):
        SplitManifest.load(tmp_path)


def test_rows_are_in_the_order_of_the_arrays() -> None:
    one = split(folder({"a": 100, "b": 100}), findings=())
    assert one.rows == one.of("train") + one.of("validation") + one.of("test")
    labels = [row.label for row in one.of("train")]
    changes = sum(left != right for left, right in itertools.pairwise(labels))
    assert changes > len(labels) / 4  # mixed, not sorted by class


def test_the_fingerprint_is_that_of_the_content() -> None:
    base = split(folder({"a": 30, "b": 30}), findings=())
    assert split(folder({"a": 30, "b": 30}), findings=()).fingerprint == base.fingerprint
    others = [
        split(folder({"a": 30, "b": 30}), findings=(), seed=1),
        split(folder({"a": 30, "b": 31}), findings=()),
        split(folder({"a": 30, "b": 30}), findings=(), balance="none"),
        SplitManifest.of_rows(base.root, base.classes, rows=base.rows[1:], options=base.options),
        SplitManifest.of_rows(
            base.root,
            base.classes,
            rows=[Row("other", *list_of(base.rows[0])[1:]), *base.rows[1:]],
            options=base.options,
        ),
    ]
    assert len({base.fingerprint, *(one.fingerprint for one in others)}) == 6


def list_of(row: Row) -> list[Any]:
    return [row.path, row.sha256, row.label, row.split, row.group]
