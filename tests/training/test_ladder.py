"""Stages: which are trained, which one is selected, and what a kill leaves. On real digits and small nets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import prepared_digits
import pytest
from events_of import Event, Listener

from housetrain.data.prepare import Prepared
from housetrain.errors import StoreError
from housetrain.models.outputs import cross_entropy, tempered
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.training.ladder import Selected, Stage, Standing, climb
from housetrain.training.run import Run

WEAK = Recipe.of("mlp", epochs=1, nodes=2, dense=1, learning_rate=1e-5)
GOOD = Recipe.of("mlp", epochs=4, nodes=32, dense=1, learning_rate=1e-2)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared_digits.digits(tmp_path_factory.mktemp("digits"), classes=2, most=300)


def always(_: Standing) -> bool:
    return True


def stages(*recipes: Recipe, wanted: Callable[[Standing], bool] = always, whole: int = 0) -> list[Stage]:
    def given(recipe: Recipe) -> Callable[[Standing], Recipe]:
        return lambda _: recipe

    return [Stage(f"stage-{n}", given(recipe), wanted, whole=n < whole) for n, recipe in enumerate(recipes)]


def climbed(folder: Path, images: Prepared, made: list[Stage], **options: Any) -> Selected:
    first = made[0].recipe(None)  # type: ignore[arg-type]  # it asks for nothing
    return climb(folder, made, options.pop("prepare", lambda _: images), first=first, request={"a": 1}, **options)


def test_the_lowest_validation_loss_is_the_run_of_the_folder(digits: Prepared, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    made = [*stages(WEAK, GOOD), Stage("unwanted", lambda _: GOOD.but(epochs=5), lambda _: False)]
    found = climbed(folder, digits, made)
    assert [row.name for row in found.rows] == ["stage-0", "stage-1"], "a stage that is not wanted is not trained"
    assert [row.best for row in found.rows] == [False, True] and found.rows[1].improved
    assert found.rows[1].gain == pytest.approx(found.rows[0].val_loss - found.rows[1].val_loss)
    own, stage = Run.open(folder), Run.open(folder / "stages" / "stage-1")
    assert own.complete and own.matches(GOOD, digits) and own.result == stage.result
    assert own.model_sha256 == stage.model_sha256 and own.history == stage.history
    assert own.validation_probabilities(len(digits.validation)) is not None
    labels, weak = digits.validation.labels, Run(folder / "stages" / "stage-0")
    outputs = weak.validation_probabilities(len(labels))
    assert outputs is not None
    assert found.rows[0].val_loss == pytest.approx(cross_entropy(labels, tempered(labels, outputs)).mean())
    assert found.rows[0].val_loss < (weak.result or {})["val_loss"], "smoothing and class weights are not compared"
    before = own.model_path.stat().st_mtime_ns, store.read_json(folder / "stages.json")
    events: list[Event] = []
    again = climbed(folder, digits, made, callbacks=[Listener(events.append)])
    assert again.rows == found.rows and not [event for event in events if event["event"] == "epoch"]
    assert (own.model_path.stat().st_mtime_ns, store.read_json(folder / "stages.json")) == before
    with pytest.raises(StoreError, match="another run"):
        climb(folder, made, lambda _: digits, first=WEAK, request={"a": 2})


def test_a_worse_stage_is_not_selected(digits: Prepared, tmp_path: Path) -> None:
    found = climbed(tmp_path / "run", digits, stages(GOOD, WEAK))
    assert [row.best for row in found.rows] == [True, False] and found.rows[1].gain < 0
    assert found.run.matches(GOOD, digits)


def test_no_stage_begins_when_the_time_is_over(digits: Prepared, tmp_path: Path) -> None:
    made = stages(WEAK, GOOD, WEAK.but(epochs=2), whole=2)
    found = climbed(tmp_path / "run", digits, made, time_limit_s=600)
    assert [row.name for row in found.rows] == ["stage-0", "stage-1", "stage-2"]
    assert Run(tmp_path / "run" / "stages" / "stage-1").recipe_json["time_limit_s"] is None, "trained to its end"
    limited = Recipe.from_json(Run(tmp_path / "run" / "stages" / "stage-2").recipe_json)
    assert limited.time_limit_s is not None and 0 < limited.time_limit_s < 600
    assert found.run.matches(GOOD, digits)
    short = climbed(tmp_path / "short", digits, made, time_limit_s=1e-3)
    assert [row.name for row in short.rows] == ["stage-0"] and short.run.complete


def test_a_stage_sees_what_the_stages_before_gave(digits: Prepared, tmp_path: Path) -> None:
    seen: list[Standing] = []

    def wanted(standing: Standing) -> bool:
        seen.append(standing)
        return True

    found = climbed(tmp_path / "run", digits, stages(WEAK, GOOD, GOOD.but(seed=1), wanted=wanted), time_limit_s=600)
    weak, good = seen
    assert not weak.beats_majority(weak.best) and weak.mistakes > 3
    assert good.beats_majority(good.best) and good.best.folder.name == "stage-1" and good.error < weak.error
    assert good.left_s == pytest.approx(600 - sum(row.seconds for row in found.rows[:2]))
    assert set(good.runs) == {"stage-0", "stage-1"}


def test_the_same_call_after_a_kill_ends_in_the_same_table(digits: Prepared, tmp_path: Path) -> None:
    made = stages(WEAK, GOOD)
    folder = tmp_path / "run"

    def killed(recipe: Recipe) -> Prepared:
        if recipe == GOOD:
            raise KeyboardInterrupt
        return digits

    with pytest.raises(KeyboardInterrupt):
        climbed(folder, digits, made, prepare=killed)
    assert not Run(folder).complete and (folder / "stages" / "stage-0" / "result.json").is_file()
    first = store.read_json(folder / "stages.json")["rows"][0]["seconds"]
    events: list[Event] = []
    found = climbed(folder, digits, made, callbacks=[Listener(events.append)])
    assert found.rows[0].seconds == first, "the time of a stage is kept"
    assert len([event for event in events if event["event"] == "epoch"]) == GOOD.epochs, "only the second is trained"

    for name in ("result.json", "model.keras"):  # killed while the files of the selected run were copied
        (folder / name).unlink()
    assert climbed(folder, digits, made).rows == found.rows and Run(folder).complete
    assert Run(folder).model_sha256 == Run(folder / "stages" / "stage-1").model_sha256
