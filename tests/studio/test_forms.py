"""The form: every setting of a recipe is on it, in words, and nothing else comes out of it than what was chosen."""

from __future__ import annotations

import pytest
from studio.conftest import Page

from housetrain.models.backbones import ENCODER
from housetrain.models.nets import PRESETS
from housetrain.models.recipe import Recipe
from housetrain.studio import forms
from housetrain.training.run import Run


def test_the_words_are_of_settings_that_exist() -> None:
    assert set(forms.FIELDS) <= set(Recipe.model_fields)
    assert all(len(field.help.split()) >= 5 for field in forms.FIELDS.values())


@pytest.mark.parametrize("model", [name for name in PRESETS if name != ENCODER])
def test_every_setting_is_on_the_form_and_begins_with_the_presets_value(model: str, page: Page, finished: Run) -> None:
    test = page("train", state={"view": "new", "recipe-model": model})
    assert not test.exception
    widgets = [*test.number_input, *test.selectbox, *test.slider, *test.toggle, *test.text_input]
    shown = {
        str(one.key).removeprefix(f"recipe-{model}-"): one for one in widgets if str(one.key).startswith("recipe-")
    }
    uses = {name for preset in PRESETS.values() for name in preset.uses} - set(PRESETS[model].uses)
    wanted = set(Recipe.model_fields) - forms.DECIDED - uses - {"model", "size"}
    assert wanted <= set(shown)
    base = Recipe.of(model)
    for name in wanted - {"time_limit_s"}:
        assert shown[name].value == pytest.approx(getattr(base, name)), name


def test_a_setting_without_words_of_its_own_is_drawn_all_the_same(
    page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("optimizer", "deterministic", "patience", "dropout"):
        monkeypatch.delitem(forms.FIELDS, name)
    monkeypatch.setattr(
        forms,
        "_more",
        lambda base, model: {
            name: forms._other(name, getattr(base, name), model)
            for name in Recipe.model_fields
            if name not in forms.FIELDS and name not in forms.DECIDED
        },
    )
    test = page("train", state={"view": "new"})
    assert not test.exception
    assert {"Optimizer", "Patience", "Dropout"} <= {one.label for one in (*test.selectbox, *test.number_input)}
