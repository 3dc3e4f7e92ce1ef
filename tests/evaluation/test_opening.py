from __future__ import annotations

import numpy as np
import pytest

from housetrain.evaluation.opening import Opening
from housetrain.training.clusters import clusters


@pytest.mark.parametrize("frames", [1, 5])
def test_a_fall_is_called_by_chance_at_most_at_the_stated_rate(frames: int) -> None:
    random, called, plain, tries = np.random.default_rng(1), 0, 0, 400
    groups = np.repeat(np.arange(60), frames)
    for _ in range(tries):
        before, after = (np.repeat(random.random(60) < 0.85, frames) for _ in range(2))
        one = Opening(1, 1, "", "", "", validation_accuracy=float(before.mean()), validation_images=60 * frames)
        called += one.falls_short(int(after.sum()), len(after), clusters(after, groups).effect)
        plain += one.falls_short(int(after.sum()), len(after))
    assert called / tries <= 0.05
    assert frames == 1 or plain / tries > 0.1  # counted as independent images


def test_a_fall_from_validation_to_test_is_seen() -> None:
    one = Opening(1, 1, "", "", "", validation_accuracy=0.915, validation_images=300)
    assert one.falls_short(168, 300)
    assert one.falls_short(168, 300, effect=5.0)
    assert not one.falls_short(270, 300)
