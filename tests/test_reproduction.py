"""A run done again from its image files: bit-equal, equal within chance, or different, and where the two part."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image  # noqa: TID253

import housetrain as ht
from housetrain.errors import FolderError, IncompleteError, RecipeError, SourceChanged

SHORT = {"model": "mlp", "epochs": 2, "image_size": 12}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes, bright above and bright below."""
    rng = np.random.default_rng(0)
    for label in ("above", "below"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for number in range(60):
            pixels = rng.integers(0, 160, (16, 16))
            pixels[slice(0, 8) if label == "above" else slice(8, 16)] += 50
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "in" / label / f"{number}.png")
    return tmp_path / "in"


def trained(images: Path, folder: Path, **settings: Any) -> ht.Run:
    recipe = ht.Recipe.of(**{**SHORT, **settings})
    arrays = ht.prepare(images, folder.parent / f"{folder.name}-arrays", **recipe.prepare_options)
    return ht.train(arrays, recipe, folder)


def test_a_deterministic_run_is_bit_equal(images: Path, tmp_path: Path) -> None:
    run = trained(images, tmp_path / "run", deterministic=True)
    found = ht.reproduce(run)
    assert found.again.folder == tmp_path / "run-again"
    assert (found.verdict, found.parts_at, found.pixels, found.weights) == ("bit-equal", "", True, 0.0)
    assert not (found.again.folder / "evaluations.jsonl").exists(), "the test split stays closed"
    assert found.versions == {}
    shutil.rmtree(tmp_path / "run-arrays")
    assert ht.reproduce(run).pixels is None, "nothing is claimed of pixels that are gone"


def test_it_tells_where_two_runs_part(images: Path, tmp_path: Path) -> None:
    run = trained(images, tmp_path / "run", deterministic=True)
    kept = json.loads((run.folder / "recipe.json").read_text())
    (run.folder / "recipe.json").write_text(json.dumps({**kept, "seed": 7}))  # as if another seed had been recorded
    environment = json.loads((run.folder / "env.json").read_text())
    environment["versions"]["keras"] = "3.0.0"
    (run.folder / "env.json").write_text(json.dumps(environment))
    found = ht.reproduce(ht.Run.open(run.folder))
    assert found.parts_at == "weights" and found.verdict != "bit-equal" and found.weights
    assert found.versions["keras"][0] == "3.0.0" and "keras 3.0.0 ->" in found.summary()
    assert found.to_json()["verdict"] == found.verdict


def test_changed_and_missing_images_are_named_and_nothing_is_trained(images: Path, tmp_path: Path) -> None:
    run = trained(images, tmp_path / "run")
    with (images / "above" / "3.png").open("ab") as file:
        file.write(b"x")
    (images / "below" / "4.png").unlink()
    with pytest.raises(SourceChanged, match=r"2 images.*missing: below/4\.png; changed: above/3\.png"):
        ht.reproduce(run)
    assert not (tmp_path / "run-again").exists()


def test_what_cannot_be_done_again_is_refused(images: Path, tmp_path: Path) -> None:
    run = trained(images, tmp_path / "run")
    with pytest.raises(FolderError, match="the run itself"):
        ht.reproduce(run, run.folder)
    described = json.loads((run.folder / "input.json").read_text())
    (run.folder / "input.json").write_text(json.dumps({**described, "own_model": "abc"}))
    with pytest.raises(RecipeError, match="given in Python"):
        ht.reproduce(ht.Run.open(run.folder))
    (run.folder / "result.json").unlink()
    with pytest.raises(IncompleteError, match="not finished"):
        ht.reproduce(ht.Run.open(run.folder))
