"""What was typed about labels becomes a folder and the keyword arguments of scan."""

from __future__ import annotations

from pathlib import Path

import pytest

from housetrain.cli.label_options import LABEL_OPTIONS, parsed, source_of
from housetrain.data.label_source import LabelOptions
from housetrain.errors import FolderError, RecipeError


def test_the_folder_or_the_training_folder_is_meant() -> None:
    assert source_of(Path("pets"), {"labels": "a.csv"}) == (Path("pets"), {"labels": "a.csv"})
    given = {"train_dir": Path("one"), "test_dir": Path("two")}
    assert source_of(None, given) == (Path("one"), {"test_dir": Path("two")})
    with pytest.raises(FolderError, match=r"No folder of images is given.*--train-dir"):
        source_of(None, {})
    with pytest.raises(FolderError, match=r"both given.*FOLDER='pets'"):
        source_of(Path("pets"), given)


@pytest.mark.parametrize(("typed", "level"), [("1", 1), ("12", 12), ("leaf", "leaf"), ("name", "name")])
def test_levels_of_classes(typed: str, level: object) -> None:
    assert parsed({"class_level": typed}) == {"class_level": level}


@pytest.mark.parametrize("typed", ["0", "-1", "leaves", "1.5", ""])
def test_other_levels_are_refused(typed: str) -> None:
    with pytest.raises(RecipeError, match=r"no class level.*1, 2, \.\.\., leaf or name"):
        parsed({"class_level": typed})


def test_every_option_is_an_argument_of_scan() -> None:
    assert set(LABEL_OPTIONS) - {"train_dir"} == set(LabelOptions.__annotations__)
