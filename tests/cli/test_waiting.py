"""A command that has said nothing for a second says what it does."""

from __future__ import annotations

import time

import pytest

from housetrain.cli import terminal
from housetrain.cli.progress_bar import ProgressBar
from housetrain.cli.waiting import over, waiting

SOON = 0.05


def test_a_long_silence_is_explained_once(capfd: pytest.CaptureFixture[str]) -> None:
    with waiting("Loading the model", patience_s=SOON):
        time.sleep(4 * SOON)
    assert capfd.readouterr() == ("", "Loading the model ...\n")


@pytest.mark.parametrize("quiet", [True, False])
def test_short_work_and_quiet_commands_say_nothing(quiet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with waiting("Loading the model", quiet=quiet, patience_s=SOON if quiet else 60):
        time.sleep(2 * SOON)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("say", [lambda: terminal.out("a"), lambda: ProgressBar().note("a"), over])
def test_what_is_said_by_then_is_enough(say, capfd: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    with waiting("Loading the model", patience_s=0.5):
        say()
        time.sleep(0.7)
    assert "Loading" not in capfd.readouterr().err


def test_an_error_ends_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), waiting("Loading the model", patience_s=SOON):
        raise KeyboardInterrupt
    time.sleep(2 * SOON)
    assert capfd.readouterr().err == ""


def test_one_inside_another_does_not_make_the_outer_one_wait_for_its_second(capfd: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    with waiting("Comparing", patience_s=30), waiting("Loading the model", patience_s=30):
        pass
    assert time.monotonic() - start < 15 and capfd.readouterr().err == ""
