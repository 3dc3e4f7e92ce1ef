from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from housetrain.evaluation.metrics import wilson
from housetrain.training.clusters import clustered_interval, clusters, group_numbers


def draw(random: np.random.Generator, share: float, alike: float, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Draw correct predictions whose correlation within a group is ``alike``."""
    own = random.random(len(sizes)) < share
    if alike < 1:
        odds = max(1e-9, alike / (1 - alike)) if alike else 1e-9
        own = random.beta(share / odds, (1 - share) / odds, len(sizes)) if alike else np.full(len(sizes), share)
    return np.asarray(random.random(int(sizes.sum())) < np.repeat(own, sizes))


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("share", [0.6, 0.85, 0.97])
@pytest.mark.parametrize(("groups", "uneven"), [(20, False), (60, True), (240, False)])
def test_bursts_of_five_are_covered_at_the_stated_rate(alike: float, share: float, groups: int, uneven: bool) -> None:
    random, covered, tries = np.random.default_rng(3), 0, 250
    for _ in range(tries):
        sizes = random.geometric(0.2, groups) if uneven else np.full(groups, 5)
        correct = draw(random, share, alike, sizes)
        low, high = clustered_interval(correct, np.repeat(np.arange(groups), sizes))
        covered += low <= share <= high
    # nominal 0.95; 0.917 is three standard errors below. Groups without any correlation are covered more often
    assert covered / tries >= 0.917


def test_the_plain_interval_covers_bursts_of_alike_images_half_as_often() -> None:
    random, plain, grouped = np.random.default_rng(0), 0, 0
    for _ in range(300):
        correct = draw(random, 0.85, 1.0, np.full(60, 5))
        low, high = wilson(int(correct.sum()), len(correct))
        plain += low <= 0.85 <= high
        low, high = clustered_interval(correct, np.repeat(np.arange(60), 5))
        grouped += low <= 0.85 <= high
    assert plain / 300 < 0.65 and grouped / 300 > 0.92


def test_images_on_their_own_have_the_wilson_interval() -> None:
    for hits, total in ((0, 5), (37, 40), (600, 1200), (40, 40)):
        correct = np.arange(total) < hits
        assert clustered_interval(correct, np.arange(total)) == pytest.approx(wilson(hits, total), abs=1e-9)
    assert clustered_interval(np.zeros(0, bool), []) == (0.0, 1.0)


def test_a_few_near_duplicates_change_little() -> None:
    correct = np.arange(1000) < 900
    groups = np.arange(1000) // 2 * 2 * (np.arange(1000) < 10) + np.arange(1000) * (np.arange(1000) >= 10)
    low, high = clustered_interval(correct, groups)
    assert (low, high) == pytest.approx(wilson(900, 1000), abs=0.002)


def test_the_design_effect_of_images_that_are_all_alike_is_their_number() -> None:
    groups = np.repeat(np.arange(200), 5)
    assert clusters(groups % 4 > 0, groups).effect == pytest.approx(5, rel=0.02)
    assert clusters(np.ones(1000, bool), groups).effect == 5  # nothing is known of how alike the mistakes are
    random = np.random.default_rng(0).random(1000) < 0.7
    assert clusters(random, groups).effect == pytest.approx(1.0, abs=0.2)
    assert clusters(random, np.zeros(1000)).effect == 1000
    low, high = clustered_interval(random, np.zeros(1000))
    assert high - low > 0.9  # one group says next to nothing


def test_images_without_a_group_are_on_their_own() -> None:
    assert len(set(group_numbers(["", "a", "", "a", "b"]).tolist())) == 4
