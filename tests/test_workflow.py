"""The whole workflow: what it checks before it starts, where it writes, what it reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from events_of import Event, Listener
from prepared_digits import digits

import housetrain as ht
from housetrain import workflow
from housetrain.data.split_manifest import NO_TEST
from housetrain.errors import RecipeError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return ht.sample("digits", tmp_path / "images")


def test_contradictions_are_found_before_the_images_are_read(tmp_path: Path) -> None:
    missing = tmp_path / "no such folder"
    with pytest.raises(RecipeError, match="Settings replace those of the preset"):
        workflow.run(missing, recipe=ht.Recipe.of("mlp"), settings={"epochs": 2})
    with pytest.raises(RecipeError, match="Settings replace those of the preset"):
        workflow.run(missing, sweep=ht.Grid(), settings={"epochs": 2})
    with pytest.raises(RecipeError, match="smaller than its 2x2 window"):
        workflow.run(missing, recipe=ht.Recipe.of("cnn", conv=4, image_size=20))
    recipes = [ht.Recipe.of("cnn", image_size=30), ht.Recipe.of("cnn", image_size=40)]
    with pytest.raises(RecipeError, match="same images"):
        workflow.run(missing, sweep=recipes)
    assert not list(tmp_path.iterdir())


def test_a_run_reports_its_stages_in_order(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    events: list[Event] = []
    recipe = ht.Recipe.of("mlp", epochs=1)
    outcome = workflow.run(images, recipe=recipe, callbacks=[Listener(events.append)])
    begun = [event["stage"] for event in events if event["event"] == "begin"]
    assert [stage for stage in begun if stage in ("scan", "prepare", "train")] == ["scan", "prepare", "train"]
    ended = [(event["stage"], event["state"]) for event in events if event["event"] == "end"]
    assert [stage for stage, _ in ended] == begun and {state for _, state in ended} == {"complete"}
    assert outcome.run.folder == Path("runs/images") and outcome.report.is_file() and outcome.bundle.is_dir()
    assert outcome.to_json()["result"]["epochs_run"] == 1
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert any(note.startswith("Prepared 1,2") and "validation" in note for note in notes)
    again = workflow.run(images, recipe=recipe)
    assert again.run.folder == outcome.run.folder and again.evaluation.opening.count == 1


def test_folders_are_named_by_their_model_until_one_is_free_or_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = digits(tmp_path / "arrays", classes=2, most=60)
    recipes = [ht.Recipe.of("mlp", epochs=1, seed=seed) for seed in range(3)]
    for recipe, name in zip(recipes, ("pets", "pets-mlp", "pets-mlp-2"), strict=True):
        folder = workflow.free_run_folder(Path("data/pets"), arrays, recipe)
        assert folder == Path("runs") / name
        ht.train(arrays, recipe, folder)
    assert [workflow.free_run_folder(Path("data/pets"), arrays, recipe).name for recipe in recipes] == [
        "pets",
        "pets-mlp",
        "pets-mlp-2",
    ]


def test_without_a_test_split_every_page_says_validation_only(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from housetrain.cli import results

    monkeypatch.chdir(tmp_path)
    order = [str(digit) for digit in range(9, -1, -1)]
    outcome = workflow.run(images, recipe=ht.Recipe.of("mlp", epochs=1), test_split=0, classes=order)
    assert outcome.evaluation is None and outcome.to_json()["evaluation"] is None
    assert outcome.run.classes == tuple(order) and len(outcome.prepared.test) == 0
    results.outcome(outcome)
    results.next_step(outcome.run)
    printed = capsys.readouterr().out
    said = [printed, outcome.report.read_text(), (outcome.bundle / "README.md").read_text()]
    assert all(NO_TEST in text for text in said)
    assert "not tested yet" not in said[1] and "Test accuracy" not in said[2]
    assert "--on OTHER_IMAGES" in printed
    assert ht.Predictor.load(outcome.bundle).classes == tuple(order)
