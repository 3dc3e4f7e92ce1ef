"""The Train page: its numbers are those of the run folder; it starts, stops and resumes trainings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from studio.conftest import Page, texts, write_recipe

from housetrain.studio import jobs
from housetrain.system import store
from housetrain.training.run import Run


def test_train_shows_the_numbers_of_the_run_folder(page: Page, finished: Run) -> None:
    test = page("train", state={"view": "watch"})
    assert not test.exception
    best = min(finished.history, key=lambda row: row["val_loss"])
    said = texts(test)
    assert f"validation accuracy {best['val_accuracy'] * 100:.1f} %" in said
    assert f"validation loss {best['val_loss']:.4f}" in said
    assert "Finished: 6 of 6 epochs" in said
    assert [button.label for button in test.button if button.label == "Test"]


def test_train_says_in_one_sentence_what_does_not_fit(page: Page, finished: Run) -> None:
    test = page("train", state={"view": "new", "recipe-cnn-conv": 5})
    assert not test.exception
    assert len(test.error) == 1 and "smaller than" in test.error[0].value.replace("\\", "")
    assert not [button for button in test.button if button.label == "Train"]


def test_train_says_what_contradicts_itself(page: Page, finished: Run) -> None:
    test = page("train", state={"view": "new", "recipe-cnn-weight_decay": 0.1})
    assert len(test.error) == 1 and "adam has no weight decay" in test.error[0].value.replace("\\", "")


@pytest.mark.parametrize(
    ("files", "said", "offers"),
    [
        ({}, "killed", "Resume"),
        ({"progress.json": {"phase": "stopped", "epoch": 7}}, "Stopped.", "Resume"),
        ({"progress.json": {"phase": "train", "epoch": 7, "pid": 999999}}, "killed", "Resume"),
        ({"failed.json": {"reason": "the loss is not a number"}}, "the loss is not a number", "Resume"),
    ],
    ids=["no note", "stopped", "killed", "failed"],
)
def test_train_tells_a_stopped_training_from_a_killed_one(
    files: dict[str, dict[str, object]], said: str, offers: str, page: Page, finished: Run
) -> None:
    (finished.folder / "result.json").unlink()
    for name, value in files.items():
        store.write_json_atomic(finished.folder / name, value)
    test = page("train", state={"view": "watch"})
    assert not test.exception
    assert said in texts(test)
    assert [button for button in test.button if button.label == offers]


def test_train_finds_a_training_again_and_stops_it(page: Page, finished: Run, work: Path) -> None:
    """A process that holds the run's lock, as a training started anywhere does; the page stops it by that alone."""
    (finished.folder / "result.json").unlink()
    script = (
        "import sys, time; from pathlib import Path; from housetrain.system.lock import Lock\n"
        "with Lock(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    try: time.sleep(60)\n"
        "    except KeyboardInterrupt: print('asked to stop', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(finished.folder), "housetrain"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        progress = {"phase": "train", "epoch": 7, "step": 3, "steps": 10, "images_per_s": 1234.0, "eta_s": 42.0}
        store.write_json_atomic(finished.folder / "progress.json", progress)
        for _ in range(2):  # a second tab sees the same
            test = page("train")
            assert not test.exception
            said = texts(test)
            assert "speed 1,234 /s" in said and "time left 42 s" in said
            assert not [button for button in test.button if button.label == "Resume"]
        [stop] = [button for button in test.button if button.label == "Stop"]
        stop.click().run()
        assert process.stdout.readline() == "asked to stop\n"
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_run_that_is_begun_is_shown_before_it_has_a_name(page: Page, finished: Run, work: Path) -> None:
    test = page("train", state={"view": "watch", "begun": "not-there-yet"})
    assert not test.exception


def test_train_starts_the_recipe_that_the_form_holds(
    page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []

    def start(folder: Path, words: list[object], **options: object) -> None:
        begun.append(list(map(str, words)))

    monkeypatch.setattr(jobs, "start", start)
    state = {
        "view": "new",
        "recipe-cnn-conv": 1,
        "recipe-cnn-nodes": 16,
        "recipe-cnn-epochs": 4,
        "recipe-cnn-learning_rate": 0.002,
        "recipe-cnn-batch_size": 64,
        "recipe-cnn-flip": "horizontal",
        "recipe-cnn-time_limit_s": 2.0,
    }
    test = page("train", state=state)
    [button] = [one for one in test.button if one.label == "Train"]
    button.click().run()
    assert not test.exception
    [words] = begun
    assert words[0] == "train" and words[1].endswith("pets-12x12-grayscale")
    recipe = json.loads(Path(words[words.index("--recipe") + 1]).read_text())
    asked = {"conv": 1, "nodes": 16, "epochs": 4, "learning_rate": 0.002, "batch_size": 64, "time_limit_s": 120.0}
    assert {name: recipe[name] for name in asked} == asked and recipe["flip"] == "horizontal"


def test_a_recipe_of_every_kind_can_be_shown(page: Page, finished: Run) -> None:
    write_recipe(finished.folder, optimizer="adamw", weight_decay=0.1)
    assert not page("train", state={"view": "watch"}).exception
