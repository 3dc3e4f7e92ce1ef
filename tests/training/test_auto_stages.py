"""Which stages `run` trains where the images choose the model: decided by what the stages before gave."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from housetrain.models.choose import PRETRAINED, SCRATCH, SMALL, Ways
from housetrain.models.recipe import Recipe
from housetrain.training.auto_stages import advice, in_doubt, stages_of
from housetrain.training.ladder import Stage, StageRow, Standing

LITE, BEST = Recipe.of("efficientnet-lite0"), Recipe.of("best")
CNN = Recipe.of("cnn", conv=2)


def a_run(name: str, accuracy: float, **result: Any) -> Any:
    recipe = (BEST if "scratch" in name else LITE).to_json()
    return SimpleNamespace(
        folder=Path(name), name=name, complete=True, recipe_json=recipe, model_path=Path(name, "model.keras"),
        result={"val_accuracy": accuracy, "seconds": 20.0, "epochs_run": 10, **result},
    )  # fmt: skip


def standing(*runs: Any, best: int = 0, limit_s: float | None = None, majority: float = 0.5, n: int = 400) -> Standing:
    """What the ladder knows after ``runs``, each of 20 seconds, with ``n`` validation images of two classes."""
    labels = (np.arange(n) >= majority * n).astype(np.int64)
    prepared: Any = SimpleNamespace(
        validation=SimpleNamespace(labels=labels, __len__=lambda: n), spec=SimpleNamespace(height=224)
    )
    prepared.validation = _Split(labels)
    rows = tuple(StageRow(run.folder.name, 20.0, 0.1, run.result["val_accuracy"]) for run in runs)
    return Standing(rows, {run.folder.name: run for run in runs}, runs[best], prepared, limit_s)


class _Split:
    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)


def stages(first: str, images: int = 2000, cores: int = 2) -> dict[str, Stage]:
    ways = Ways(LITE, BEST, CNN if first == SMALL else None, first, None)
    return {stage.name: stage for stage in stages_of(ways, images, cores)}


def test_the_kind_of_images_decides_which_way_is_first_and_both_ways_are_there() -> None:
    frozen = ["pretrained", "several-stages", "flips-horizontal", "flips-both"]
    assert list(stages(PRETRAINED)) == [*frozen, "fine-tuned", "fine-tuned-flips", "scratch-trial", "from-scratch"]
    assert list(stages(SCRATCH)) == ["from-scratch", *frozen, "fine-tuned", "fine-tuned-flips"]
    assert list(stages(SMALL))[:2] == ["small", "pretrained"] and "from-scratch" in stages(SMALL)
    letters = Ways(LITE.but(flip="none"), BEST, CNN, SMALL, None)
    assert not any(stage.name.startswith("flips") for stage in stages_of(letters, 2000, 2)), (
        "digits have a fixed direction"
    )


def test_the_mean_over_mirror_images_is_tried_where_there_is_doubt_and_both_only_after_one_helped() -> None:
    one, both = (stages(PRETRAINED)[f"flips-{name}"] for name in ("horizontal", "both"))
    plain, sure = a_run("several-stages", 0.9), a_run("several-stages", 0.99)
    assert one.wanted(standing(plain)) and not one.wanted(standing(sure)) and one.dearer and both.dearer
    assert one.recipe(standing(plain)).test_time_flips == "horizontal"
    assert not one.wanted(standing(a_run("from-scratch", 0.9)))
    for gain in (0.01, -0.01):
        now = standing(plain, a_run("flips-horizontal", 0.91))
        rows = (now.rows[0], replace(now.rows[1], gain=gain))
        assert both.wanted(now._replace(rows=rows)) is (gain > 0)


@pytest.mark.parametrize(("accuracy", "doubt"), [(0.99, False), (0.975, True), (0.985, False)])
def test_another_way_is_tried_where_the_first_leaves_room(accuracy: float, doubt: bool) -> None:
    now = standing(a_run("pretrained", accuracy))
    assert in_doubt(now) is doubt and stages(PRETRAINED)["scratch-trial"].wanted(now) is doubt
    assert stages(SMALL)["pretrained"].wanted(standing(a_run("small", accuracy))) is doubt


def test_three_mistakes_of_a_few_images_are_no_doubt() -> None:
    assert not in_doubt(standing(a_run("pretrained", 17 / 20), n=20))
    assert in_doubt(standing(a_run("pretrained", 16 / 20), n=20))


@pytest.mark.parametrize(
    ("trial", "whole"),
    [
        (0.55, False),  # not clearly above the most frequent class
        (0.70, False),  # 30 % of mistakes, of which 4.5 % may be left: more than 3 %
        (0.85, True),  # 2.25 %
    ],
)
def test_the_trial_decides_about_the_whole_training(trial: float, whole: bool) -> None:
    now = standing(a_run("pretrained", 0.97), a_run("scratch-trial", trial))
    assert stages(PRETRAINED)["from-scratch"].wanted(now) is whole


def test_a_trial_that_learned_little_is_not_expected_to_improve_much() -> None:
    cells = {"majority": 0.687, "n": 437}  # solar cells: the whole training ended at an error of 0.221, not 0.037
    trial = a_run("scratch-trial", 0.751)
    assert not stages(PRETRAINED)["from-scratch"].wanted(standing(a_run("pretrained", 0.865), trial, **cells))


def test_a_result_at_the_level_of_the_most_frequent_class_is_never_the_end() -> None:
    weak = standing(a_run("pretrained", 0.73), a_run("scratch-trial", 0.72), majority=0.726)
    assert stages(PRETRAINED)["from-scratch"].wanted(weak)
    assert stages(SMALL)["from-scratch"].wanted(standing(a_run("small", 0.5)))


def test_the_trial_is_short_and_the_whole_training_fits_its_time() -> None:
    short = stages(PRETRAINED, images=2000)["scratch-trial"].recipe(standing(a_run("pretrained", 0.9)))
    assert (short.epochs, short.warmup_epochs) == (8, pytest.approx(8 * 6 / 40))
    assert stages(PRETRAINED, images=50_000)["scratch-trial"].recipe(standing(a_run("pretrained", 0.9))).epochs == 3
    whole = stages(PRETRAINED)["from-scratch"]
    both = a_run("pretrained", 0.9), a_run("scratch-trial", 0.9)
    assert whole.recipe(standing(*both)).epochs == 40, "80 s; up to 400 s are allowed without a limit"
    slow = a_run("scratch-trial", 0.9, seconds=200.0)  # 20 s an epoch
    assert whole.recipe(standing(both[0], slow)).epochs == 20
    assert whole.recipe(standing(both[0], slow, limit_s=340)).epochs == 15


def test_fine_tuning_needs_a_time_limit_and_a_pretrained_model_that_is_the_best() -> None:
    tuned = stages(PRETRAINED, images=400)["fine-tuned"]
    best = a_run("pretrained", 0.98)
    assert not tuned.wanted(standing(best)) and tuned.wanted(standing(best, limit_s=600))
    assert not tuned.wanted(standing(best, a_run("from-scratch", 0.99), best=1, limit_s=600))
    recipe = tuned.recipe(standing(best, limit_s=600))
    assert (recipe.optimizer, recipe.learning_rate, recipe.schedule, recipe.epochs) == ("adamw", 4e-4, "cosine", 10)
    assert (recipe.flip, recipe.zoom, recipe.rotate, recipe.contrast) == ("horizontal", 0, 0, 0)
    assert recipe.unfreeze > 500 and recipe.weights.endswith("model.keras")
    assert tuned.recipe(standing(best, limit_s=120)).epochs == 4  # 100 s at 16 images/s
    assert not tuned.wanted(standing(best, limit_s=80)), "two epochs would only spend the time"
    slow = a_run("pretrained", 0.98, features_s=80.0)  # 10 images/s with 800 images: 2 images/s in training
    assert tuned.recipe(standing(slow, limit_s=620)).epochs == 3
    assert math.isinf(standing(best).left_s)


def test_a_head_that_fits_features_far_from_the_images_is_not_where_fine_tuning_starts() -> None:
    tuned = stages(PRETRAINED, images=400)["fine-tuned"]
    near = tuned.recipe(standing(a_run("pretrained", 0.96), limit_s=600))
    assert near.weights.endswith("model.keras"), "its average with the frozen weights is tried, too"
    now = standing(a_run("pretrained", 0.83), a_run("several-stages", 0.86), best=1, limit_s=600)
    far = tuned.recipe(now)
    assert (far.weights, far.stages, far.flip) == ("imagenet", 1, "horizontal")
    both = StageRow("flips-both", 20.0, 0.1, 0.87, gain=0.01)
    assert tuned.recipe(now._replace(rows=(*now.rows, both))).flip == "both"


def test_the_fine_tuned_model_averages_over_mirror_images_where_the_frozen_one_did() -> None:
    stage = stages(PRETRAINED)["fine-tuned-flips"]
    runs = a_run("pretrained", 0.83), a_run("flips-both", 0.88), a_run("fine-tuned", 0.90)
    now = standing(*runs, best=2, limit_s=900)
    one, flips, tuned = now.rows
    helped = now._replace(rows=(one, replace(flips, gain=0.02), replace(tuned, val_loss=0.09)), best=runs[1])
    assert stage.wanted(helped), "although the frozen model is better with its four views"
    assert not stage.wanted(now), "mirror images did not help the frozen model"
    assert not stage.wanted(helped._replace(rows=(*helped.rows[:2], replace(tuned, val_loss=0.11))))
    recipe = stage.recipe(helped)
    assert (recipe.test_time_flips, recipe.unfreeze, recipe.head, recipe.flip) == ("both", 0, "logistic", "horizontal")
    assert recipe.weights.endswith("fine-tuned/model.keras") and stage.dearer
    wide = a_run("fine-tuned", 0.96)
    wide.recipe_json = LITE.but(stages=6, unfreeze=1000).to_json()
    near = helped._replace(runs={**helped.runs, "fine-tuned": wide})
    assert stage.recipe(near).stages == 6, "else its weights do not fit"


def test_where_more_time_may_give_a_better_model_the_command_says_how_much() -> None:
    def said(accuracy: float, name: str = "flips-both", limit_s: float | None = None, images: int = 2000) -> str:
        row = StageRow(name, 100.0, 0.3, accuracy, best=True)
        return advice([row], Ways(LITE, BEST, None, PRETRAINED, limit_s), images, cores=2)

    assert "--time-limit 30m" in said(0.88), "100 s, then 10 epochs of 2,000 images at 16 a second in 85 % of the rest"
    assert "--time-limit 5m" in said(0.88, images=200)
    assert said(0.99) == said(0.88, limit_s=600) == said(0.88, name="from-scratch") == ""
