"""The Test page: it shows the evaluation, and asks before it uses the test split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from studio.conftest import Page, texts

from housetrain.studio import jobs
from housetrain.system import store
from housetrain.training.run import Run


def test_test_shows_the_evaluation_of_the_run_folder(page: Page, finished: Run) -> None:
    test = page("test")
    assert not test.exception
    kept = json.loads((finished.folder / "evaluation" / "evaluation.json").read_text())
    low, high = kept["accuracy_interval"]
    said = texts(test)
    assert f"test accuracy {kept['accuracy'] * 100:.1f} %" in said
    assert f"95 % interval {low * 100:.1f}–{high * 100:.1f} %" in said
    assert "data:image" in said, "no image of a mistake"


def test_test_asks_before_it_opens_and_counts(page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[list[str]] = []

    def start(folder: Path, words: list[object], **options: object) -> None:
        begun.append(list(map(str, words)))

    monkeypatch.setattr(jobs, "start", start)
    for item in (finished.folder / "evaluation").iterdir():
        item.unlink()
    store.append_line(finished.folder / "evaluations.jsonl", {"model_sha256": "other"})
    test = page("test")
    assert "Opened 1 time for this run" in texts(test)
    [button] = [one for one in test.button if one.label.startswith("Open the test")]
    button.click().run()
    assert not begun, "it was opened without asking"
    assert "opening number **2**" in texts(test)
    assert [one for one in test.button if one.label == "Open it"]  # what that does, the browser's story tells


def test_test_shows_what_was_damaged_in_one_sentence(page: Page, finished: Run) -> None:
    (finished.folder / "evaluation" / "predictions.csv").write_text("torn")
    test = page("test")
    assert not test.exception
    assert len(test.error) == 1 and "predictions.csv" in test.error[0].value.replace("\\", "")
