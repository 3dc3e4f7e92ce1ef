"""Class maps: the files they are read from, and what they do to a folder of images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from noise_folders import folder_of

import housetrain as ht
from housetrain.data.class_map import ClassMap
from housetrain.errors import RecipeError

NAMES = {"red fox": "fox", "arctic fox": "fox", "empty": "", "Katze": "cat"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.csv", "from,to\nred fox,fox\narctic fox,fox\nempty,\nKatze,cat\n"),
        ("map.csv", "red fox;fox\r\narctic fox;fox\r\nempty;\r\nKatze;cat\r\n"),
        ("map.tsv", "From\tTo\tnote\nred fox\tfox\t1\narctic fox\tfox\t2\nempty\t\t3\nKatze\tcat\t4\n"),
        ("map.json", json.dumps({**NAMES, "empty": None})),
        ("map.json", json.dumps([{"from": name, "to": to} for name, to in NAMES.items()])),
    ],
)
def test_a_map_is_read_from_csv_and_json(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert ClassMap.of(tmp_path / name).names == NAMES


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("map.csv", "fox\ncat\n", "no map"),
        ("map.csv", "from,to\nfox,a\nfox,b\n", "twice"),
        ("map.json", "[1, 2]", "no map"),
        ("map.json", "{", "no JSON"),
        ("map.json", "[" * 100_000, "no JSON"),
    ],
)
def test_anything_else_is_one_error(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        ClassMap.of(tmp_path / name)


def test_a_missing_file_and_a_folder_are_one_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(RecipeError, match="cannot be read"):
            ClassMap.of(path)


def test_columns_add_the_probabilities_of_merged_classes() -> None:
    found = ClassMap(NAMES)
    classes = ("Katze", "arctic fox", "empty", "red fox", "wolf")
    assert found.apply(classes) == ("cat", "fox", "wolf")
    given = np.array([0.1, 0.2, 0.3, 0.25, 0.15], np.float32)
    np.testing.assert_allclose(given @ found.columns(classes), [0.1, 0.45, 0.15])
    assert found.summary(classes) == "1 renamed, 2 merged into 1, 1 dropped"


def test_scan_renames_merges_and_drops(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "images", red=4, arctic=3, empty=2, wolf=5)
    names = {"red": "fox", "arctic": "fox", "empty": "", "lynx": "cat"}
    catalog = ht.scan(root, class_map=names)
    assert catalog.counts() == {"fox": 7, "wolf": 5}
    assert catalog.fingerprint != ht.scan(root).fingerprint
    (note,) = [finding for finding in ht.check(catalog) if finding.kind == "class-map"]
    assert "2 merged into 1" in note.message
    assert "2 images dropped" in note.message
    assert "lynx, which is not here" in note.message
    assert ht.split(catalog).classes == ("fox", "wolf")
    assert ht.split(catalog).options["labels"] == {"class_map": names}


def test_an_empty_class_folder_is_renamed_too(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "images", cat=3, dog=3)
    (root / "Hund").mkdir()
    catalog = ht.scan(root, class_map={"Hund": "dog"})
    assert catalog.empty_classes == ()
    assert catalog.classes == ("cat", "dog")
