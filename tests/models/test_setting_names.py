"""Names of settings: those of other tools lead to ours, and every setting is listed."""

from __future__ import annotations

import pytest

from housetrain.errors import RecipeError
from housetrain.models.recipe import Recipe
from housetrain.models.setting_names import OTHER_NAMES, choices, problem_text, settings


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("imgsz", "image_size"), ("img_size", "image_size"), ("lr", "learning_rate"), ("random_state", "seed"),
        ("color", "color_mode"), ("batch", "batch_size"), ("dropout_rate", "dropout"), ("num_epochs", "epochs"),
        ("learning-rat", "learning_rate"),
    ],
)  # fmt: skip
def test_names_of_other_tools_lead_to_the_setting(typed: str, meant: str) -> None:
    with pytest.raises(RecipeError, match=f"{typed}: unknown setting .did you mean {meant}"):
        Recipe.of("cnn", **{typed: 1})


def test_every_other_name_is_none_of_ours_and_means_one() -> None:
    assert not OTHER_NAMES.keys() & Recipe.model_fields.keys()
    assert set(OTHER_NAMES.values()) <= Recipe.model_fields.keys()


def test_every_setting_is_listed_with_its_values_and_meaning() -> None:
    listed = {one.name: one for one in settings()}
    assert list(listed) == list(Recipe.model_fields)
    assert all(one.meaning for one in listed.values())
    assert listed["nodes"].type == "whole number >=1 <=4,096"
    assert (listed["color_mode"].type, listed["color_mode"].default) == ("grayscale|rgb", "preset's")
    assert choices("color_mode") == ["grayscale", "rgb"]
    assert choices("epochs") == choices("nothing") == []


def test_a_problem_is_a_phrase_with_the_value() -> None:
    assert problem_text("Input should be a valid boolean", 3) == "must be true or false, not 3"
    assert problem_text("Input should be greater than 0", 0) == "must be more than 0, not 0"
    assert problem_text("Value error, too many", "x") == "too many, not 'x'"
    assert problem_text("Something else") == "something else"
