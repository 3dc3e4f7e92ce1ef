"""The sheet of augmented images: real changes of real images, nothing written among the images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import housetrain as ht
from housetrain.errors import FolderError, RecipeError
from housetrain.report.augmented_sheet import _CAPTION, _CELL, _TOP, MARGIN, show_augmented


@pytest.fixture
def catalog(tmp_path: Path) -> ht.Catalog:
    random = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(3):
            image = cv2.resize(random.integers(0, 256, (5, 5, 3), np.uint8), (60, 60), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(tmp_path / "images" / label / f"{number}.png"), image)
    return ht.scan(tmp_path / "images")


def cells(sheet: np.ndarray, row: int, count: int) -> list[np.ndarray]:
    top = _TOP + row * (_CELL + _CAPTION + 6) + _CAPTION
    return [sheet[top : top + _CELL, MARGIN + n * (_CELL + 6) : MARGIN + n * (_CELL + 6) + _CELL] for n in range(count)]


def test_each_image_is_followed_by_changed_versions_of_it(catalog: ht.Catalog, tmp_path: Path) -> None:
    path = show_augmented(catalog, tmp_path / "sheet.png", ht.Recipe.of("best"), per_class=2, variants=3)
    sheet = cv2.imread(str(path))
    assert sheet is not None
    for row in range(4):
        original, *changed = cells(sheet, row, 4)
        assert original.std() > 5
        assert len({one.tobytes() for one in (original, *changed)}) == 4
        assert all(abs(float(one.mean()) - float(original.mean())) < 60 for one in changed)


def test_a_mirror_image_is_a_mirror_image(catalog: ht.Catalog, tmp_path: Path) -> None:
    recipe = ht.Recipe.of("cnn", flip="horizontal")
    path = show_augmented(catalog, tmp_path / "sheet.png", recipe, per_class=1, variants=1)
    sheet = cv2.imread(str(path))
    assert sheet is not None
    original, mirrored = cells(sheet, 0, 2)
    assert np.abs(original[:, ::-1].astype(int) - mirrored.astype(int)).mean() < 12  # 50 pixels on 112


def test_a_recipe_without_augmentation_and_a_place_among_the_images_are_refused(
    catalog: ht.Catalog, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"does not augment.*Received: model='mlp'"):
        show_augmented(catalog, tmp_path / "sheet.png", ht.Recipe.of("mlp"))
    with pytest.raises(FolderError):
        show_augmented(catalog, catalog.root / "sheet.png", ht.Recipe.of("best"))


def test_the_command_draws_it(catalog: ht.Catalog, call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = call("show", catalog.root, "--augmented", "--output", "sheet.png")
    assert code == 0, err
    assert Path(out.strip().splitlines()[-1]).stat().st_size > 10_000
