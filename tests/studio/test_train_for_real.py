"""A real training from the page: begun, killed, gone on with, stopped; and nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from studio.conftest import Page, drawings, texts

from housetrain.studio import shelf
from housetrain.system.lock import Lock
from housetrain.training.run import Run


def until(true: Callable[[], object], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.1)


def test_the_64_128_256_net_is_trained_killed_resumed_and_stopped_from_the_page(
    page: Page, finished: Run, work: Path
) -> None:
    state = {"view": "new", "recipe-model": "deep", "recipe-deep-epochs": 400, "recipe-deep-patience": 0}
    test = page("train", state=state)
    [button] = [one for one in test.button if one.label == "Train"]
    button.click().run()
    assert not test.exception, test.exception
    until(lambda: len(shelf.runs_in(work)) == 2, "the run folder is made")
    [run] = [one for one in shelf.runs_in(work) if one.folder != finished.folder]
    name = shelf.label_of(run, work)
    try:
        until(lambda: len(run.history) >= 2, "two epochs")
        assert run.recipe_json["model"] == "deep"
        assert run.state == "running"
        said = texts(page("train", state={"run": name}))
        assert "Epoch" in said or "speed" in said

        holder = Lock.holder(run.folder)
        assert holder is not None
        os.kill(int(holder["pid"]), signal.SIGKILL)
        until(lambda: run.state == "stopped", "the kill is noticed")
        kept = len(run.history)
        test = page("train", state={"view": "watch", "run": name})
        assert "it was killed" in texts(test) and f"{kept} of 400 epochs are kept" in texts(test)

        [resume] = [one for one in test.button if one.label == "Resume"]
        resume.click().run()
        assert not test.exception
        until(lambda: len(run.history) > kept, "it goes on")
        assert [row["epoch"] for row in run.history] == list(range(1, len(run.history) + 1))

        test = page("train", state={"view": "watch", "run": name})
        [stop] = [one for one in test.button if one.label == "Stop"]
        stop.click().run()
        until(lambda: run.state == "stopped", "it stops", 60)
        assert (run.progress or {})["phase"] == "stopped"
        assert run.model_path.is_file()
        assert "Stopped." in texts(page("train", state={"view": "watch", "run": name}))
    finally:
        holder = Lock.holder(run.folder) if Lock.held(run.folder) else None
        if holder is not None:
            os.kill(int(holder["pid"]), signal.SIGKILL)


def test_a_model_is_drawn_before_it_is_built(page: Page, finished: Run) -> None:
    test = page("train", state={"view": "new", "recipe-model": "best"})
    assert not test.exception and not test.error
    assert 'class="slab' in drawings(test) and "MFLOP" in texts(test)


def test_a_model_that_the_images_are_too_small_for_is_not_drawn(page: Page, finished: Run) -> None:
    test = page("train", state={"view": "new", "recipe-model": "resnet50"})
    assert not test.exception
    assert 'class="slab' not in drawings(test)
    assert "needs images of at least 32x32 pixels, not 12x12" in texts(test)
