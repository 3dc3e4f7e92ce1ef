"""What a person and a page see while a model is trained."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from housetrain.errors import DiskFull
from housetrain.training.progress import ProgressFile, Terminal, in_words, quietly

BEGIN = {
    "event": "begin",
    "run": "r",
    "name": "tiny",
    "epochs": 3,
    "first_epoch": 1,
    "steps": 40,
    "images": 1280,
    "validation": 300,
    "parameters": 1234,
    "precision": "float32",
    "weights": {"a": 1.5, "b": 0.75},
}
PROGRESS = {
    "event": "progress",
    "phase": "train",
    "epoch": 2,
    "epochs": 3,
    "step": 20,
    "steps": 40,
    "loss": 0.5,
    "accuracy": 0.75,
    "images_per_s": 1234.5,
    "eta_s": 75.0,
    "pid": 1,
}
EPOCH = {
    "event": "epoch",
    "epoch": 2,
    "epochs": 3,
    "loss": 0.4,
    "accuracy": 0.8,
    "val_loss": 0.5,
    "val_accuracy": 0.7,
    "lr": 0.001,
    "seconds": 2.0,
    "images_per_s": 1000.0,
    "best": True,
}
RESULT = {
    "reason": "all epochs",
    "epochs_run": 3,
    "best_epoch": 2,
    "val_loss": 0.5,
    "val_accuracy": 0.7,
    "seconds": 61.0,
    "overfitting": "",
}
END = {"event": "end", "state": "complete", "reason": "all epochs", "result": RESULT, "run": "r"}
STORY: list[dict[str, Any]] = [
    BEGIN,
    PROGRESS,
    PROGRESS | {"phase": "validate", "step": 40},
    EPOCH,
    {"event": "note", "text": "look [red]here"},
    END,
]


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    view = Terminal()
    view._console = Console(file=out, force_terminal=terminal, width=140, highlight=False, soft_wrap=True)
    view._bar = Progress(*view._bar.columns, console=view._console, transient=True, auto_refresh=False)
    view._live = terminal
    with view:
        for event in STORY:
            view(event)
    return out.getvalue()


def test_without_a_terminal_there_is_one_plain_line_an_epoch() -> None:
    text = shown(terminal=False)
    assert "\x1b" not in text
    assert text.splitlines() == [
        "Training tiny: 1,234 weights, 1,280 images, 3 epochs of 40 steps, float32",
        "Classes are weighed: a 1.50, b 0.75",
        "epoch 2/3  loss 0.4000  accuracy 0.8000  val_loss 0.5000  val_accuracy 0.7000  "
        "1,000 images/s  2.0 s  best so far",
        "look [red]here",
        "Trained 3 epochs in 1 min 01 s (all epochs): best is epoch 2, val_loss 0.5000, val_accuracy 0.7000",
    ]


def test_a_terminal_gets_a_bar_with_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(terminal=True)
    assert "epoch 2/3" in text
    assert "20/40" in text
    assert "1,234 images/s" in text
    assert "1 min 15 s left" in text
    monkeypatch.setenv("NO_COLOR", "1")
    colors = [code for code in shown(terminal=True).split("\x1b[") if code[:2] in ("31", "32", "33", "34", "35", "38")]
    assert colors == []


def test_the_progress_file_follows(tmp_path: Path) -> None:
    keep = ProgressFile(tmp_path / "progress.json")
    phases = []
    for event in STORY:
        keep(event)
        phases.append(json.loads((tmp_path / "progress.json").read_text())["phase"])
    assert phases == ["prepare", "train", "validate", "validate", "validate", "complete"]
    last = json.loads((tmp_path / "progress.json").read_text())
    assert last["step"] == 40
    assert last["pid"] > 0


def test_a_full_disk_does_not_stop_training_over_a_progress_bar() -> None:
    def full(event: object) -> None:
        raise DiskFull("no room")

    quietly(full)(BEGIN)


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (75, "1 min 15 s"), (3900, "1 h 05 min")])
def test_time_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
