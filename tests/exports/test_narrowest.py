"""`predict --precision auto`: the narrowest model whose classes on all validation images stay; float32 elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from events_of import Event, Listener
from small_run import Tiny

from housetrain.data.prepared import Prepared
from housetrain.exports import narrowest as module
from housetrain.exports.bundle import export
from housetrain.exports.narrowest import narrowest
from housetrain.inference.predictor import Predictor
from housetrain.models.recipe import Recipe
from housetrain.system import machine, store
from housetrain.training.run import Run
from housetrain.training.train import train

pytest.importorskip("openvino")


@pytest.fixture
def run(received: Path) -> Run:
    return Run.open(received)


def quick(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(machine, "quick_precisions", lambda: names)


def test_a_processor_that_is_not_quick_at_anything_narrower_stays_with_float32(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    found = narrowest(run.folder)
    assert (found.folder, found.precision) == (run.folder, "fp32") and "not quicker" in found.why
    assert not (run.folder / "exports" / "openvino-int8").exists()


def test_a_quick_form_that_keeps_every_class_is_made_once_and_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, "bf16")
    events: list[Event] = []
    found = narrowest(run.folder, callbacks=[Listener(events.append)])
    assert found.precision == "bf16" and "keep their class" in found.why
    assert [event["text"] for event in events if event["event"] == "note"] == [f"Precision bf16: {found.why}"]
    images = np.stack([np.asarray(one) for one in _validation(run)])
    with Predictor.load(found.folder) as narrow, Predictor.load(run, engine="keras") as own:
        assert np.array_equal(narrow.probabilities(images).argmax(axis=1), own.probabilities(images).argmax(axis=1))
    monkeypatch.setattr(module, "export", None)  # a second call exports nothing
    assert narrowest(run.folder) == found


def test_a_form_that_changes_one_class_is_not_used(run: Run, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, "int8", "bf16")
    own = Recipe.from_json(run.recipe_json)
    other = train(Prepared.open(tiny.prepared), own.but(seed=5), run.folder.parent / "other")

    def exported(_: Run, folder: Path, **options: str) -> object:
        return export(other, folder, format="openvino", precision="fp32")

    monkeypatch.setattr(module, "export", exported)
    found = narrowest(run.folder)
    assert found.precision == "fp32" and found.folder == run.folder
    assert "int8 changes the class of" in found.why and "bf16 changes the class of" in found.why
    assert store.read_json(run.folder / "exports" / "narrowest.json")["precision"] == "fp32"


def test_a_bundle_without_its_run_stays_as_it_is(run: Run, tmp_path: Path) -> None:
    bundle = export(run, tmp_path / "alone").folder
    found = narrowest(bundle)
    assert found.folder == bundle and "without its run" in found.why


def _validation(run: Run) -> list[np.ndarray]:
    from housetrain.training.run_data import prepared_of

    return list(prepared_of(run).validation.images)
