"""The explanation of a prediction on the page: asked for once, kept for its model and its image."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from studio.conftest import Page, texts

from housetrain.evaluation.first_convolution import FirstConvolution
from housetrain.images.encode import encode
from housetrain.report.layers_page import view_of, write_layers_page
from housetrain.studio import explaining, jobs
from housetrain.studio.jobs import Job
from housetrain.training.run import Run


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Every `explain` is done at once, with files made by hand; return the commands."""
    begun: list[list[str]] = []
    done: dict[Path, Job] = {}

    def start(folder: Path, words: list[object], *, target: Path, work: Path) -> Job:
        begun.append(list(map(str, words)))
        image = np.zeros((8, 8, 3), np.uint8)
        (target / "cat-1").mkdir(parents=True)
        for name in ("grad-cam", "occlusion"):
            (target / "cat-1" / f"{name}.png").write_bytes(encode(image))
        maps, kernels = np.ones((6, 6, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
        pixels = np.zeros((8, 8, 1), np.float32)
        found = FirstConvolution("conv_1", pixels, kernels, np.zeros(1, np.float32), maps, (0,), 8, 1, 0)
        write_layers_page(target / "layers.html", view_of(found, ()), title="x")
        kept = tmp_path / "jobs" / target.name
        kept.mkdir(parents=True)
        (kept / "ended.json").write_text('{"code": 0}')
        done[target] = Job(kept, "explain", (), str(target), 0.0)
        return done[target]

    monkeypatch.setattr(jobs, "start", start)
    monkeypatch.setattr(jobs, "newest", lambda folder, *, target=None, verb="": done.get(target))
    return begun


def components(test: object) -> list[dict[str, object]]:
    found = [json.loads(element.proto.json) for element in test.get("bidi_component")]  # type: ignore[attr-defined]
    return [one for one in found if "numbers" in one]


def test_a_test_image_is_explained_by_heat_maps_and_by_the_first_convolution(
    page: Page, finished: Run, explained: list[list[str]]
) -> None:
    test = page("test")
    assert not test.exception and not components(test)
    [box] = [one for one in test.selectbox if one.label == "Explain the prediction for"]
    [button] = [one for one in test.button if one.label == "Explain"]
    test = button.click().run()
    assert not test.exception
    [words] = explained
    assert words[:2] == ["explain", str(finished.folder)] and "--layers" in words
    assert box.options[0].startswith(str(Path(words[2]).relative_to(finished.split.root)))
    [shown] = components(test)
    assert np.shape(shown["numbers"]["maps"]) == (1, 6, 6)  # type: ignore[index]
    assert "(9 + 1) × 8 = 80 parameters" in texts(test)
    assert not [one for one in test.button if one.label == "Explain"]


def test_an_explanation_is_for_its_model_and_image_only(finished: Run) -> None:
    images = sorted((finished.split.root / "cats").iterdir())[:2]
    other = images[0].parents[1] / "dogs" / images[0].name
    other.write_bytes(images[0].read_bytes())
    first = explaining._target(finished, images[0])
    assert first not in (explaining._target(finished, images[1]), explaining._target(finished, other))
    images[0].write_bytes(images[0].read_bytes())
    assert explaining._target(finished, images[0]) == first, "an upload of the same photo is explained again"
    model = finished.folder / "model.keras"
    before = model.stat().st_mtime
    os.utime(model, (before + 9, before + 9))
    assert explaining._target(finished, images[0]) != first, "the explanation of the earlier model is shown"
