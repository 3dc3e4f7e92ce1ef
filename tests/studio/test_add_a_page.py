"""A new page is one file in `housetrain.studio.views`: the menu then shows it, and its address opens it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from housetrain.studio import views

pytest.importorskip("streamlit", reason="the studio is an extra")
from streamlit.testing.v1 import AppTest

TOY = '''
"""The Toy page."""

import streamlit as st

from housetrain.studio.views import Page

PAGE = Page("Toy", icon="toys", position=0)


def show():
    """Draw the page."""
    st.title("A toy page", anchor=False)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more file in the package, as a new page would be."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(views, "__path__", [*views.__path__, str(folder)])
    yield
    sys.modules.pop("housetrain.studio.views.toy", None)
    vars(views).pop("toy", None)


def test_the_menu_has_every_page_in_order() -> None:
    assert list(views.find_pages()) == ["data", "labels", "train", "compare", "test", "predict", "export"]
    for view in views.find_pages().values():
        assert view.PAGE.title and view.PAGE.icon and callable(view.show)


def test_a_new_page_appears_in_the_menu_and_opens(toy: None, work: Path) -> None:
    assert list(views.find_pages())[:2] == ["toy", "data"]
    test = AppTest.from_file(str(Path(views.__file__).parents[1] / "app.py"), default_timeout=30).run()
    assert not test.exception
    assert [title.value for title in test.title] == ["A toy page"]
