"""Every page: its empty state, and that none of them imports Keras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from studio.conftest import Page, texts

from housetrain.studio.views import find_pages
from housetrain.training.run import Run

VIEWS = tuple(find_pages())


@pytest.mark.parametrize("name", VIEWS)
def test_an_empty_working_folder_says_what_to_do(name: str, page: Page, work: Path) -> None:
    test = page(name)
    assert not test.exception
    said = texts(test)
    assert "ht-empty" in said, "no empty state"
    assert any(button.label for button in test.button), "nothing to click on"
    assert not list(work.glob("runs")) and not list(work.glob("prepared")), "looking wrote something"


def test_the_page_never_imports_keras(work: Path, finished: Run) -> None:
    """All pages are drawn in one process; nothing of TensorFlow may be in it afterwards."""
    script = f"""
import sys
from streamlit.testing.v1 import AppTest
for name in {VIEWS!r}:
    page = f"from housetrain.studio.views import {{name}}\\n{{name}}.show()"
    test = AppTest.from_string(page, default_timeout=30).run()
    assert not test.exception, (name, test.exception)
from housetrain.studio import desk
desk.close_all()
heavy = [name for name in ("tensorflow", "keras", "jax", "torch", "tensorboard", "matplotlib") if name in sys.modules]
print("HEAVY", heavy)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=work, timeout=120)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr[-2000:]
