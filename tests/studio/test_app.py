"""The entry script: with a password set, nothing is shown without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from studio.conftest import texts

import housetrain.studio
from housetrain.studio.settings import PASSWORD
from housetrain.training.run import Run

APP = Path(housetrain.studio.__file__).with_name("app.py")


def test_without_a_password_the_first_page_is_data(finished: Run) -> None:
    test = AppTest.from_file(APP, default_timeout=30).run()
    assert not test.exception
    assert test.title[0].value == "Data"


def test_the_password_opens_and_nothing_else_does(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "open sesame")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    test = AppTest.from_file(APP, default_timeout=30).run()
    assert [title.value for title in test.title] == ["housetrain studio"]
    assert "pets" not in texts(test)
    test.text_input[0].set_value("open sesam")
    test.button[0].click().run()
    assert len(test.error) == 1 and [title.value for title in test.title] == ["housetrain studio"]
    test.text_input[0].set_value("open sesame")
    test.button[0].click().run()
    assert not test.exception
    assert test.title[0].value == "Data"
