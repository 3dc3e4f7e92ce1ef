"""Contact sheets: samples are the same everywhere, names of any script are drawn, nothing is written among images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from noise_folders import folder_of

from housetrain.data.catalog import scan
from housetrain.data.contact_sheet import samples_of, show
from housetrain.errors import FolderError, RecipeError


def test_samples_are_chosen_by_content_and_a_duplicate_is_not_shown_twice(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=12, dogs=3)
    first = sorted((source / "dogs").iterdir())[0]
    (source / "dogs" / "copy.png").write_bytes(first.read_bytes())
    catalog = scan(source, workers=1, cache=False)
    chosen = samples_of(catalog, per_class=5)
    assert {name: len(images) for name, images in chosen.items()} == {"cats": 5, "dogs": 3}
    assert samples_of(catalog, per_class=5) == chosen
    assert samples_of(catalog, per_class=5, seed=1) != chosen
    assert len({image.sha256 for image in chosen["dogs"]}) == 3


@pytest.mark.parametrize("classes", [2, 12])
def test_a_sheet_shows_every_class_whatever_its_name(classes: int, tmp_path: Path) -> None:
    names = ["Größe <b>", "猫", "\u0e44\u0e17\u0e22", *(f"class {index}" for index in range(classes))][:classes]
    source = folder_of(tmp_path / "images", **dict.fromkeys(names, 2))
    sheet = show(scan(source, workers=1, cache=False), tmp_path / "out" / "sheet.png", sizes=(10, 20))
    drawn = cv2.imread(str(sheet))
    assert drawn.shape[1] >= 760 and drawn.shape[0] > 200
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50


def test_what_cannot_be_drawn_is_refused_and_the_images_folder_is_never_written(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=2, dogs=2)
    catalog = scan(source, workers=1, cache=False)
    with pytest.raises(RecipeError, match="nothing to draw"):
        show(catalog, tmp_path / "sheet.png", sizes=())
    with pytest.raises(FolderError):
        show(catalog, source / "sheet.png")


def test_an_image_that_changed_after_the_scan_costs_only_its_card(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=2, dogs=2)
    catalog = scan(source, workers=1, cache=False)
    sorted((source / "cats").iterdir())[0].write_bytes(b"torn")
    assert show(catalog, tmp_path / "sheet.png").is_file()
