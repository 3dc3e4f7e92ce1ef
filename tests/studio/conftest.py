"""A working folder with images, arrays, runs and a sweep, made by hand: no Keras, no server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade_runs import fill_run, made_up_evaluation, split_of, write_images

from housetrain.data.prepare import prepare
from housetrain.studio.settings import VARIABLE, Settings
from housetrain.system import store
from housetrain.training.run import Run

pytest.importorskip("streamlit", reason="the studio is an extra")
from streamlit.testing.v1 import AppTest

Page = Callable[..., AppTest]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder that the pages work in; ``work/pets`` is where images go."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    settings = Settings(work=folder, data_root=folder)
    monkeypatch.setenv(VARIABLE, settings.to_environment()[VARIABLE])
    import streamlit as st

    st.cache_data.clear()
    st.cache_resource.clear()
    return folder


@pytest.fixture
def pets(work: Path) -> Path:
    """A folder of 60 small images of two classes."""
    write_images(work / "pets", ("cats", "dogs"), per_class=30)
    return work / "pets"


@pytest.fixture
def finished(pets: Path, work: Path) -> Run:
    """A finished run on prepared images, tested."""
    manifest = split_of(pets, ("cats", "dogs"))
    prepared = prepare(manifest, work / "prepared" / "pets-12x12-grayscale", image_size=12, workers=1)
    run = fill_run(work / "runs" / "pets", manifest, prepared=prepared)
    write_recipe(run.folder)
    made_up_evaluation(run).save(run.folder / "evaluation")
    return run


def write_recipe(folder: Path, **changes: Any) -> None:
    """Give a run a whole recipe."""
    from housetrain.models.recipe import Recipe

    recipe = Recipe.of("cnn", conv=1, nodes=8, epochs=6, **changes)
    store.write_json_atomic(folder / "recipe.json", recipe.to_json())


@pytest.fixture
def page() -> Page:
    """Return a function that draws one page: name -> what is on it."""

    def draw(name: str, *, state: dict[str, Any] | None = None) -> AppTest:
        script = f"from housetrain.studio.views import {name}\n{name}.show()"
        test = AppTest.from_string(script, default_timeout=30)
        for key, value in (state or {}).items():
            test.session_state[key] = value
        return test.run()

    return draw


def texts(test: AppTest) -> str:
    """Return all words of a page, Markdown's backslashes taken away."""
    found = [element.value for kind in ("title", "subheader", "markdown", "caption") for element in test.get(kind)]
    found += [element.value for kind in ("error", "warning", "info", "success") for element in getattr(test, kind)]
    found += [f"{element.label} {element.value}" for element in test.metric]
    found += [element.proto.body for element in test.get("html")]
    found += [element.label for element in (*test.button, *test.selectbox)]
    return "\n".join(map(str, found)).replace("\\", "")


def drawings(test: AppTest) -> str:
    """Return the markup of all plots of a page."""
    return "\n".join(json.loads(element.proto.json)["drawing"] for element in test.get("bidi_component"))


def read(path: Path) -> Any:
    return json.loads(path.read_text())
