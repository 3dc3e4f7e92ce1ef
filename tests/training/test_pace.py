"""The pace of a training: steps, speed, and how long the rest takes."""

from __future__ import annotations

import time

import pytest

from housetrain.training.pace import Pace


class Time:
    """A clock that a test sets."""

    now = 0.0


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> type[Time]:
    monkeypatch.setattr(Time, "now", 0.0)
    monkeypatch.setattr(time, "monotonic", lambda: Time.now)
    return Time


def test_steps_and_speed_are_reported_twice_a_second(at: type[Time]) -> None:
    pace = Pace(10, 32, 310)
    at.now = 0.4
    assert pace.count(1) is None
    at.now = 2.0
    assert pace.count(5) == pytest.approx(5 * 32 / 2)
    at.now = 5.0
    pace.count(12)
    assert pace.step == 10, "fit counts whole executions"
    assert pace.rate == pytest.approx(310 / 5), "the last batch is smaller"
    pace.begin(0)
    assert (pace.step, pace.seconds) == (0, 0)


def test_the_time_left_is_known_after_two_steps_and_ignores_what_compiling_took(at: type[Time]) -> None:
    pace = Pace(10, 32, 320, costs=[1.0] * 3)
    assert pace.seconds_left() is None
    at.now = 20.0  # compiled, and one step
    pace.count(1)
    assert pace.seconds_left() is None
    at.now = 21.0
    pace.count(2)
    assert pace.seconds_left() == pytest.approx(8 + 2 * 10)


def test_the_time_left_is_corrected_by_each_whole_epoch(at: type[Time]) -> None:
    pace = Pace(10, 32, 320, costs=[1.0] * 3)
    for step in range(1, 11):
        at.now = 20.0 + step
        pace.count(step)
    at.now += 9.0  # validation takes as long as the steps
    pace.end()
    pace.begin(1)
    assert pace.seconds_left() == pytest.approx(2 * 20)


def test_epochs_on_small_images_and_validation_count_by_their_cost(at: type[Time]) -> None:
    pace = Pace(10, 32, 320, validation=96, costs=[0.25, 0.25, 1.0])
    at.now = 5.0
    pace.count(1)
    at.now = 6.0
    pace.count(2)
    whole = 4 * 10 * (1 + 96 / 320 / 3)
    assert pace.seconds_left() == pytest.approx(whole * (0.25 * 0.8 + 0.25 + 1.0))
