"""Elements of all pages: text from files can neither format nor break a page, and errors are one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from studio.conftest import texts

from housetrain.studio import widgets

pytest.importorskip("streamlit", reason="the studio is an extra")
from streamlit.testing.v1 import AppTest


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cats", "cats"),
        ("**bold**", r"\*\*bold\*\*"),
        ("[link](http://x)", r"\[link\]\(http\://x\)"),
        (":red[x] $a$", r"\:red\[x\] \$a\$"),
        ("a\nb", r"a\\nb"),
    ],
)
def test_plain_escapes_markdown(text: str, shown: str) -> None:
    assert widgets.plain(text) == shown


def test_readable_is_valid_unicode_on_one_line() -> None:
    name = b"caf\xe9\n.jpg".decode("utf-8", "surrogateescape")
    assert widgets.readable(name) == "caf?\\n.jpg"
    widgets.readable(name).encode("utf-8")


def draw(script: str) -> AppTest:
    test = AppTest.from_string(f"from housetrain.studio import widgets\n{script}", default_timeout=30).run()
    assert not test.exception
    return test


def test_a_gallery_escapes_names() -> None:
    test = draw("widgets.gallery([widgets.Tile(('',), '<script>alert(1)</script>', 'a & b')])")
    said = texts(test)
    assert "<script>" not in said and "&lt;script&gt;" in said and "a &amp; b" in said


def test_an_error_is_one_message_and_the_page_continues() -> None:
    test = draw(
        "import streamlit as st\n"
        "from housetrain.errors import FolderError\n"
        "with widgets.in_one_sentence():\n"
        "    raise FolderError('The folder *x* does not exist')\n"
        "st.caption('the rest')"
    )
    [error] = test.error
    assert error.value.replace("\\", "") == "The folder *x* does not exist."
    assert "the rest" in texts(test)


def test_a_run_can_be_chosen(work: Path) -> None:
    for name in ("first", "second"):
        (work / "runs" / name).mkdir(parents=True)
        (work / "runs" / name / "recipe.json").write_text("{}")
    script = "run = widgets.choose_run('Run')\nimport streamlit as st\nst.caption(run.name)"
    test = draw(script)
    [box] = test.selectbox
    assert set(box.options) == {"first", "second"}
    box.select("first").run()
    assert not test.exception and "first" in texts(test)


def test_without_runs_there_is_nothing_to_choose(work: Path) -> None:
    test = draw("import streamlit as st\nst.caption(str(widgets.choose_run('Run')))")
    assert "None" in texts(test) and not test.selectbox
