from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from housetrain.evaluation.opening import FALL, FEW_VALIDATION_IMAGES, Opening
from housetrain.training.clusters import clusters


@pytest.mark.parametrize("frames", [1, 5])
def test_a_fall_is_called_by_chance_at_most_at_the_stated_rate(frames: int) -> None:
    random, called, plain, tries = np.random.default_rng(1), 0, 0, 2000
    groups = np.repeat(np.arange(60), frames)
    for _ in range(tries):
        before, after = (np.repeat(random.random(60) < 0.85, frames) for _ in range(2))
        one = Opening(
            1, 1, "", "", "",
            validation_accuracy=float(before.mean()), validation_images=60 * frames,
            validation_effect=clusters(before, groups).effect,
        )  # fmt: skip
        called += one.falls_short(int(after.sum()), len(after), clusters(after, groups).effect)
        independent = dataclasses.replace(one, validation_effect=1.0)
        plain += independent.falls_short(int(after.sum()), len(after))
    assert called / tries <= FALL
    assert frames == 1 or plain / tries > 0.1  # counted as independent images


def test_the_best_of_several_epochs_is_not_called_a_fall_more_often() -> None:
    random, called, tries = np.random.default_rng(2), 0, 1000
    for _ in range(tries):
        best = random.binomial(300, 0.85, 20).max() / 300
        one = Opening(1, 1, "", "", "", validation_accuracy=best, validation_images=300, validation_tries=20)
        called += one.falls_short(int(random.binomial(300, 0.85)), 300)
    assert called / tries <= FALL


def test_a_fall_from_validation_to_test_is_seen() -> None:
    one = Opening(1, 1, "", "", "", validation_accuracy=0.915, validation_images=300)
    assert one.falls_short(168, 300)
    assert one.falls_short(168, 300, effect=5.0)
    assert not one.falls_short(270, 300)


def test_a_fall_names_its_reasons_and_what_to_do() -> None:
    one = Opening(1, 1, "", "", "", validation_accuracy=0.915, validation_images=300)
    text = one.describe_fall(grouped=False)
    assert "91.5 % of the 300 validation images" in text and "at most 1 % of tests" in text
    assert "--group-by" in text and "too few" not in text
    assert "--group-by" not in one.describe_fall(grouped=True)
    small = dataclasses.replace(one, validation_images=FEW_VALIDATION_IMAGES - 1)
    assert "99 validation images are too few to choose by" in small.describe_fall(grouped=False)
