"""Options: what is typed becomes recipe fields, durations and sweeps; each option is declared once."""

from __future__ import annotations

import pytest
from typer.main import get_command

from housetrain.cli.app import app
from housetrain.cli.options import RECIPE_OPTIONS, one_of, plan_from, recipe_from, seconds, settings_from
from housetrain.errors import RecipeError
from housetrain.models.recipe import Recipe

NO_AXES = {"conv": None, "nodes": None, "dense": None}


@pytest.mark.parametrize(("text", "expected"), [("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("45", 45.0)])
def test_a_duration_in_seconds(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["soon", "0s", "-5m", "inf", "nan", "m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="10m"):
        seconds(text)


def test_settings_are_json_or_plain_text() -> None:
    assert settings_from(["ema=0.9", "flip=none", "learning-rate=1e-3", "time_limit_s=null"]) == {
        "ema": 0.9,
        "flip": "none",
        "learning_rate": 1e-3,
        "time_limit_s": None,
    }
    with pytest.raises(RecipeError, match="--set NAME=VALUE"):
        settings_from(["epochs"])


def test_every_recipe_option_is_a_recipe_field() -> None:
    assert set(RECIPE_OPTIONS) <= set(Recipe.model_fields)


@pytest.mark.parametrize("verb", ["run", "train", "sweep", "finetune"])
def test_a_verb_gets_the_options_that_were_given(verb: str) -> None:
    command = get_command(app).commands[verb]  # type: ignore[attr-defined]
    options = {one.name: one for one in command.params}
    assert "flags" not in options
    assert options["epochs"].opts == ["--epochs"]
    with command.make_context(verb, ["folder", "--epochs", "7", "--deterministic"]) as context:
        assert context.params["epochs"] == 7
        assert context.params["deterministic"] is True
        assert context.params["patience"] is None


def test_a_recipe_from_a_preset_or_a_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("recipe") / "recipe.json"
    file.write_text('{"model": "mlp", "epochs": 2}', encoding="utf-8")
    assert recipe_from(None, "cnn", {"conv": 2}).conv == 2
    assert recipe_from(file, "cnn", {"epochs": 3}) == Recipe.of("mlp", epochs=3)
    file.write_text("[]", encoding="utf-8")
    with pytest.raises(RecipeError, match="no settings"):
        recipe_from(file, "cnn", {})


def test_lists_are_axes_and_single_values_are_fixed() -> None:
    plan = plan_from("cnn", {"epochs": 3}, ["learning_rate=1e-3,1e-4"], axes={**NO_AXES, "conv": "1,2", "dense": "0"})
    recipes = list(plan.recipes.values())
    assert {recipe.conv for recipe in recipes} == {1, 2}
    assert {recipe.learning_rate for recipe in recipes} == {1e-3, 1e-4}
    assert {(recipe.dense, recipe.epochs) for recipe in recipes} == {(0, 3)}


def test_a_range_needs_a_search() -> None:
    with pytest.raises(RecipeError, match="--search optuna"):
        plan_from("cnn", {}, ["learning_rate=1e-4..1e-2"], axes=NO_AXES)
    plan = plan_from("cnn", {}, ["learning_rate=1e-4..1e-2"], axes=NO_AXES, search="optuna", trials=5)
    assert plan.search["kind"] == "optuna" and "learning_rate" in plan.space


def test_one_of_names_the_choices() -> None:
    assert one_of("resize", "pad", ("stretch", "pad")) == "pad"
    with pytest.raises(RecipeError, match=r"Unknown resize\..*stretch, pad"):
        one_of("resize", "squash", ("stretch", "pad"))


@pytest.mark.parametrize("verb", ["run", "train", "sweep"])
def test_set_help_lists_every_setting_without_a_folder(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    get_command(app).main([verb, "--set", "help"], standalone_mode=False)
    printed = capsys.readouterr().out
    for name, field in Recipe.model_fields.items():
        assert f"{name}  (" in printed and str(field.description).split()[0] in printed
    assert "optimizer  (adam|adamw|muon|rmsprop|sgd; default adam)" in printed
    assert "nodes  (whole number >=1 <=4,096; default 64)" in printed


def test_set_is_completed_by_names_then_by_choices() -> None:
    from housetrain.cli.options import SET

    complete = SET["autocompletion"]
    assert complete("opt") == ["optimizer="]
    assert complete("optimizer=a") == ["optimizer=adam", "optimizer=adamw"]
    assert complete("deterministic=") == ["deterministic=true", "deterministic=false"]
    assert complete("epochs=") == []
