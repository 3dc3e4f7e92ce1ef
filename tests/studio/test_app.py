"""The entry script. What it takes to see it is tested in `test_gate`."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

import housetrain.studio
from housetrain.training.run import Run

APP = Path(housetrain.studio.__file__).with_name("app.py")


def test_the_first_page_is_data(finished: Run) -> None:
    test = AppTest.from_file(APP, default_timeout=30).run()
    assert not test.exception
    assert test.title[0].value == "Data"
