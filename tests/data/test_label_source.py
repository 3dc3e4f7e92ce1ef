"""Labels from elsewhere than class folders, through scan, split and prepare, on real files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from housetrain.data.catalog import Catalog, scan
from housetrain.data.label_source import LabelOptions, LabelSource, parse_class_level, typed
from housetrain.data.prepare import prepare
from housetrain.data.split import split
from housetrain.errors import FolderError, RecipeError


def draw(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (48, 48), interpolation=cv2.INTER_CUBIC))


def test_a_table_labels_images_through_to_the_arrays(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    for number in range(40):
        draw(root / "images" / f"{number:03d}.png", number)
    rows = (f"{number:03d},{'cat' if number % 2 else 'dog'}" for number in range(40))
    (root / "labels.csv").write_text("id,species\n" + "\n".join(rows) + "\n")
    catalog = scan(root, labels="labels.csv", workers=1)
    assert catalog.counts() == {"cat": 20, "dog": 20}
    assert catalog.label_source == {"labels": "labels.csv"}
    prepared = prepare(split(catalog), tmp_path / "arrays", image_size=16, workers=1)
    for row in prepared.split.rows:
        assert row.label == ("cat" if int(Path(row.path).stem) % 2 else "dog")
    assert Catalog.from_json(catalog.to_json()) == catalog
    # the saved catalog knows the files under the labels of the last scan: other labels must not come out of it
    again = scan(root, label_from_name=r"^(\d)\d\d$", workers=1)
    assert again.classes == ("0",)


def test_separate_folders_are_splits_of_their_own(tmp_path: Path) -> None:
    number = 0
    for top in ("here/learn", "there/steer", "there/judge"):
        for label in ("cat", "dog"):
            for _ in range(6):
                draw(tmp_path / top / label / f"{number}.png", number)
                number += 1
    catalog = scan(
        tmp_path / "here/learn", validation_dir=tmp_path / "there/steer", test_dir=tmp_path / "there/judge", workers=1
    )
    assert catalog.ready_made
    assert catalog.classes == ("cat", "dog")
    assert {image.split for image in catalog.images if "/judge/" in image.path} == {"test"}
    manifest = split(catalog)
    assert {name: sum(counts.values()) for name, counts in manifest.counts().items()} == {
        "train": 12,
        "validation": 12,
        "test": 12,
    }
    prepared = prepare(manifest, tmp_path / "arrays", image_size=16, workers=1)  # beside the folders, below the root
    assert len(prepared.split.rows) == 36
    with pytest.raises(FolderError, match="never changed"):
        prepare(manifest, tmp_path / "there/judge/arrays", image_size=16, workers=1)


@pytest.mark.parametrize(("text", "level"), [(None, None), ("1", 1), ("3", 3), ("leaf", "leaf")])
def test_class_levels(text: str | None, level: object) -> None:
    assert parse_class_level(text) == level


@pytest.mark.parametrize("text", ["0", "-1", "top", "1.5", ""])
def test_no_class_levels(text: str) -> None:
    with pytest.raises(RecipeError, match="no class level"):
        parse_class_level(text)


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no such table"):
        LabelSource(labels="gone.csv").table(tmp_path)


def test_options_as_they_are_typed() -> None:
    assert typed({}) == typed({"labels": None, "keep_companions": False}) == ""
    given: LabelOptions = {"labels": "my labels.csv", "threshold": 0.5, "class_level": 2, "keep_companions": True}
    assert typed(given) == " --labels 'my labels.csv' --threshold 0.5 --class-level 2 --keep-masks"
    assert typed({"validation_dir": Path("val"), "class_map": Path("map.csv")}) == " --validation-dir val --map map.csv"
    assert typed({"class_map": {"a": "b"}}) == "", "nothing can be typed for it"
