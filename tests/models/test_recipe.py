"""Recipe: one error for all problems, stable names, no Keras."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest

from housetrain.errors import RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.models.nets import PRESETS, check_feasible
from housetrain.models.recipe import Recipe
from housetrain.sweeps.grid import Grid


def spec(height: int, width: int, color_mode: str = "grayscale") -> InputSpec:
    return InputSpec(height=height, width=width, color_mode=color_mode)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", PRESETS)
def test_every_preset_is_a_recipe_that_survives_json_and_pickle(model: str) -> None:
    recipe = Recipe.of(model)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert recipe == Recipe(model=model) and recipe.differences == {}
    size = recipe.prepare_options["image_size"]
    check_feasible(recipe, spec(size, size, recipe.prepare_options["color_mode"]))


def test_the_tutorials_presets_are_the_tutorials() -> None:
    cnn, mlp = Recipe.of("cnn"), Recipe.of("mlp")
    assert (cnn.optimizer, cnn.learning_rate, cnn.batch_size, cnn.epochs) == ("adam", 1e-3, 32, 10)
    assert (mlp.optimizer, mlp.learning_rate, mlp.batch_size, mlp.epochs) == ("adam", 1e-3, 32, 3)
    assert not cnn.augments and not mlp.augments
    assert cnn.prepare_options == {"image_size": 50, "color_mode": "grayscale", "resize": "stretch"}
    assert mlp.prepare_options["image_size"] == 28 and Recipe.of("deep").prepare_options["image_size"] == 256
    assert Recipe().model == "best" and Recipe().augments


def test_names_and_fingerprints_tell_recipes_apart() -> None:
    assert Recipe.of("cnn", conv=2, nodes=128, dense=1).name == "2-conv-128-nodes-1-dense"
    assert Recipe.of("mlp").name == "mlp"
    assert Recipe.of("cnn").fingerprint == Recipe.of("cnn", conv="3").fingerprint
    assert Recipe.of("cnn").fingerprint != Recipe.of("cnn", seed=1).fingerprint
    assert Recipe.of("cnn", epochs=4).differences == {"epochs": 4}


def test_all_problems_come_in_one_line_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.of("mlp", epohcs=3, batch_size=0, learning_rate="fast", conv=2, weight_decay=0.1)
    message = str(caught.value)
    assert "\n" not in message and "5 problems" in message
    for part in ("epohcs: unknown setting (did you mean epochs?)", "batch_size: ", "learning_rate: ", "'fast'"):
        assert part in message
    assert "conv: the model 'mlp' does not use it" in message
    assert "weight_decay: adam has no weight decay" in message


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"model": "bset"}, "did you mean best?"),
        ({"model": 3}, "model: "),
        ({"learning_rate": float("nan")}, "learning_rate: "),
        ({"learning_rate": float("inf")}, "learning_rate: "),
        ({"warmup_epochs": 5, "epochs": 5}, "warmup_epochs: must be less"),
        ({"flip": "up"}, "'horizontal'"),
        ({"epochs": None}, "epochs: "),
    ],
)
def test_one_wrong_setting(settings: dict[str, object], part: str) -> None:
    with pytest.raises(RecipeError, match="The recipe has a problem") as caught:
        Recipe(**settings)
    assert part in str(caught.value)


def test_text_from_flags_is_taken() -> None:
    recipe = Recipe.of("cnn", epochs="5", learning_rate="1e-4", deterministic="true", warmup_epochs="2")
    assert (recipe.epochs, recipe.learning_rate, recipe.deterministic, recipe.warmup_epochs) == (5, 1e-4, True, 2.0)


def test_a_recipe_is_frozen_and_but_checks() -> None:
    recipe = Recipe.of("cnn")
    with pytest.raises(Exception, match="frozen"):
        recipe.epochs = 3  # type: ignore[misc]
    assert recipe.but(epochs=3).epochs == 3 and recipe.epochs == 10
    with pytest.raises(RecipeError, match="epochs"):
        recipe.but(epochs=0)


@pytest.mark.parametrize("epochs", [1, 2, 100])
def test_the_preset_warm_up_keeps_its_share(epochs: int) -> None:
    preset = Recipe()
    recipe = Recipe(epochs=epochs)
    assert recipe.warmup_epochs / epochs == pytest.approx(preset.warmup_epochs / preset.epochs, abs=1e-3)


def test_every_field_is_described() -> None:
    assert all(field.description for field in Recipe.model_fields.values())


def test_the_grid_is_the_tutorials_27_in_their_order() -> None:
    names = list(Grid().recipes())
    assert names == [
        f"{conv}-conv-{nodes}-nodes-{dense}-dense"
        for dense in (0, 1, 2)
        for nodes in (32, 64, 128)
        for conv in (1, 2, 3)
    ]
    assert all(recipe.name == name for name, recipe in Grid().recipes().items())


def test_extra_axes_and_seeds_make_unique_names() -> None:
    grid = Grid(dense=(0,), nodes=(64,), conv=(2, 3), learning_rate=(1e-3, 3e-4), seeds=2, epochs=3, seed=5)
    names = list(grid.recipes())
    assert len(names) == len(set(names)) == len(grid) == 8
    assert names[0] == "2-conv-64-nodes-0-dense-learning_rate-0.001-seed-5"
    assert {recipe.seed for recipe in grid.recipes().values()} == {5, 6}
    assert {recipe.epochs for recipe in grid.recipes().values()} == {3}
    again = Grid.from_json(json.loads(json.dumps(grid.to_json())))
    assert again.recipes() == grid.recipes()


def test_a_grid_of_another_model() -> None:
    assert list(Grid(model="best", flip=("none", "horizontal")).recipes()) == [
        "best-flip-none",
        "best-flip-horizontal",
    ]
    assert len(Grid(model="mlp")) == 1


def test_a_wrong_grid_stops_before_the_first_trial() -> None:
    with pytest.raises(RecipeError) as caught:
        Grid(conv=(0, 1), lerning_rate=(1e-3, 1e-4), nodes=())
    assert str(caught.value).count("axis without values") == 1
    with pytest.raises(RecipeError) as caught:
        Grid(conv=(0, 1), lerning_rate=(1e-3, 1e-4))
    assert str(caught.value).count("did you mean learning_rate") == 1
    with pytest.raises(RecipeError, match="the same trial twice"):
        Grid(conv=(1, 1))


def test_a_setting_that_the_model_does_not_use_is_refused_where_it_is_given() -> None:
    with pytest.raises(RecipeError, match="conv: the model 'mlp' does not use it"):
        Recipe.of("mlp", conv=3)  # also with the default value
    with pytest.raises(RecipeError, match=r"2 problems.*nodes: .*progressive: "):
        Recipe.of("deep", nodes=64, progressive=1.0)
    with pytest.raises(RecipeError, match=r"unfreeze: the model 'best' has no pretrained weights; .*resnet50"):
        Recipe.of("best", unfreeze=3)
    with pytest.raises(RecipeError, match="unfreeze: with weights none the whole model is trained from scratch"):
        Recipe.of("resnet50", weights="none", unfreeze=3)
    assert Recipe.of("resnet50", weights="none", unfreeze=0, head="logistic").unfreeze == 0
    assert Recipe.of("cnn", weights="none") == Recipe.of("cnn")


def test_a_recipe_file_holds_what_the_model_uses() -> None:
    mlp = Recipe.of("mlp", nodes=32)
    assert "nodes" in mlp.to_json() and not {"conv", "progressive", "head"} & mlp.to_json().keys()
    assert Recipe.from_json(mlp.model_dump()) == mlp, "a file with all fields at their defaults is read, too"
    with pytest.raises(RecipeError, match="conv: the model 'mlp' does not use it"):
        Recipe.from_json(mlp.to_json() | {"conv": 2})
    changed = Recipe.of("resnet50", unfreeze=3).but(weights="none", unfreeze=0)
    assert not changed.pretrained and "unfreeze" not in changed.to_json()
    with pytest.raises(RecipeError, match="conv: the model 'mlp' does not use it"):
        mlp.but(conv=3)


def test_recipes_and_grids_need_no_keras() -> None:
    code = (
        "import sys; from housetrain.sweeps.grid import Grid; Grid().recipes();"
        "bad = {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules); sys.exit(len(bad))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "setting",
    [{"epochs": 3}, {"batch_size": "16"}, {"learning_rate": 1e-4}, {"patience": 0}, {"optimizer": "sgd"},
     {"schedule": "cosine"}, {"dropout": 0.5}],
)  # fmt: skip
def test_a_setting_that_the_logistic_head_does_not_use_is_refused_with_the_way_out(setting: dict[str, object]) -> None:
    (name,) = setting
    with pytest.raises(RecipeError, match=rf"{name}: the logistic head is not trained by epochs; set head=dense"):
        Recipe.of("xception", **setting)
    assert Recipe.of("xception", head="dense", **setting).head == "dense"
    assert Recipe.of("xception", unfreeze=20, **setting).unfreeze == 20
    assert Recipe.of("xception", weights="none", **setting).weights == "none"
    preset = Recipe.of("xception").to_json()
    assert Recipe.from_json(preset) == Recipe.of("xception", **{name: preset[name]}), "the preset's own value is fine"


def test_all_unused_settings_are_named_at_once() -> None:
    with pytest.raises(RecipeError, match=r"2 problems: batch_size.*epochs|2 problems: epochs.*batch_size"):
        Recipe.of("efficientnet-lite0", epochs=3, batch_size=8)


@pytest.mark.parametrize(
    ("settings", "patience"),
    [
        ({"model": "mlp"}, 0),
        ({"model": "cnn", "epochs": 10}, 0),
        ({"model": "cnn", "epochs": 40}, 5),
        ({"model": "mlp", "epochs": "30"}, 5),
        ({"model": "cnn", "epochs": 40, "patience": 0}, 0),
        ({"model": "cnn", "epochs": 40, "schedule": "cosine"}, 0),
        ({"model": "best", "epochs": 100}, 0),
        ({"model": "deep", "epochs": 10}, 5),
    ],
)
def test_more_epochs_than_the_preset_has_stop_early(settings: dict[str, object], patience: int) -> None:
    recipe = Recipe(**settings)
    assert recipe.patience == patience
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_what_the_preset_fills_in_for_more_epochs_is_no_difference() -> None:
    assert Recipe.of("cnn", epochs=40).differences == {"epochs": 40}
    assert Recipe.of("best", epochs=20).differences == {"epochs": 20}


def test_views_and_averages_over_mirror_images_exclude_each_other() -> None:
    with pytest.raises(RecipeError, match="views: with test_time_flips each training image has one row"):
        Recipe.of("efficientnet-lite0", test_time_flips="both", views=2)
    with pytest.raises(RecipeError, match="test_time_flips: the model 'cnn' has no pretrained weights"):
        Recipe.of("cnn", test_time_flips="both")
