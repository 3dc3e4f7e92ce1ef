"""What a person sees while housetrain works."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from events_of import BEGIN, RESULT, ROW, STEP, snapshot
from rich.console import Console

from housetrain.cli.progress_bar import ProgressBar, callbacks_for
from housetrain.system.events import TITLES, Callback, Callbacks
from housetrain.system.progress_file import PROGRESS_FILE, ProgressFile


@pytest.fixture(autouse=True)
def a_terminal_with_a_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where TERM is dumb, Rich draws no bars: what is tested must not depend on who runs the tests."""
    monkeypatch.setenv("TERM", "xterm-256color")


def training(bar: Callback) -> None:
    bar.begin("train", **BEGIN)
    bar.progress("train", 20, 40, phase="train", **STEP)
    bar.progress("train", 40, 40, phase="validate", **STEP)
    bar.epoch(ROW, epochs=3, best=True, confusion=None)
    bar.note("look [red]here")
    bar.end("train", "complete", result=RESULT, reason="all epochs")


def printed(work: Any, *, terminal: bool) -> str:
    out = io.StringIO()
    work(ProgressBar(Console(file=out, force_terminal=terminal, width=140, highlight=False, soft_wrap=True)))
    return out.getvalue()


def test_without_a_terminal_there_is_one_plain_line_an_epoch() -> None:
    assert printed(training, terminal=False).splitlines() == [
        "Training tiny: 1,234 parameters, 1,280 images, 3 epochs of 40 steps, float32",
        "Class weights: a 1.50, b 0.75",
        "epoch 2/3  loss 0.4000  accuracy 0.8000  val_loss 0.5000  val_accuracy 0.7000  "
        "1,000 images/s  2.0 s  best so far",
        "look [red]here",
        "Trained 3 epochs in 1 min 01 s (all epochs): best is epoch 2, val_loss 0.5000, val_accuracy 0.7000",
    ]


def test_a_terminal_gets_a_bar_with_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(training, terminal=True)
    for part in ("epoch 2/3", "20/40", "1,234 images/s", "1 min 15 s left", "validating"):
        assert part in text
    assert text.endswith("\x1b[?25h") or "\x1b[?25h" in text, "the cursor is shown again"
    monkeypatch.setenv("NO_COLOR", "1")
    colors = [
        code
        for code in printed(training, terminal=True).split("\x1b[")
        if code[:2] in ("31", "32", "33", "34", "35", "38")
    ]
    assert colors == []


@pytest.mark.parametrize("stage", [stage for stage in TITLES if stage not in ("train", "sweep")])
def test_every_stage_has_the_same_bar(stage: Any) -> None:
    def work(bar: Callback) -> None:
        bar.begin(stage)
        bar.progress(stage, 1, 4)
        bar.progress(stage, 3, 4, images_per_s=12.0, eta_s=0.5)
        bar.progress(stage, 4, 4)
        bar.end(stage)

    text = printed(work, terminal=True)
    assert TITLES[stage] in text and "4/4" in text
    assert printed(work, terminal=False) == ""


def test_the_terminal_is_given_back_however_the_work_ends() -> None:
    def work(bar: Callback) -> None:
        with pytest.raises(KeyboardInterrupt), Callbacks([bar]).stage("scan"):
            bar.progress("scan", 1, 4)
            raise KeyboardInterrupt

    text = printed(work, terminal=True)
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0


def sweep(bar: Callback) -> None:
    bar.begin("sweep")
    for done in (1, 1, 2):
        bar.progress("sweep", done, 4, snapshot=snapshot(done))
    bar.end("sweep")


def test_a_sweep_has_a_line_for_each_finished_trial() -> None:
    assert printed(sweep, terminal=False).splitlines() == [
        "1/4  trial-0  complete  val_loss 0.5000  1 min 30 s left",
        "2/4  trial-1  complete  val_loss 0.4000  1 min 30 s left",
    ]


def test_a_sweep_has_a_bar_for_each_running_trial() -> None:
    text = printed(sweep, terminal=True)
    assert "best val_loss 0.5000" in text
    assert "epoch 2/9" in text and "val_loss 0.7500" in text and "4,321 images/s" in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0


def test_the_studio_reads_the_progress_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callbacks_for(quiet=True) == []
    path = tmp_path / "progress.json"
    monkeypatch.setenv(PROGRESS_FILE, str(path))
    (file,) = callbacks_for(quiet=True)
    assert isinstance(file, ProgressFile)
    file.begin("scan")
    file.progress("scan", 1, 10)
    file.progress("scan", 10, 10)
    file.end("scan")
    value = json.loads(path.read_text())
    assert (value["title"], value["done"], value["total"]) == ("Reading", 10, 10)
    assert value["seconds"] >= 0
