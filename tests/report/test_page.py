"""A page: one file, escaped, complete or not written at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest

from housetrain.errors import HousetrainError
from housetrain.report import page

TEMPLATE = "explained.html.j2"
PIXEL = "data:image/png;base64,AAAA"


def shown(**more: Any) -> dict[str, Any]:
    """Return the context of a page with one explanation."""
    one = {
        "label": "cat", "probability": 0.9012, "name": "cat", "name_probability": 0.9012, "left": 0.25,
        "image": "1.jpg", "images": {"image": PIXEL, "grad-cam": "", "occlusion": PIXEL}, "grid": [6, 6],
        "layers": [], **more,
    }  # fmt: skip
    return {"title": "run: explanations", "explain": {"shown": [one], "filters": ""}}


def test_a_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    path = page.write_page(tmp_path / "page.html", TEMPLATE, shown())
    assert path == tmp_path / "page.html" and [file.name for file in tmp_path.iterdir()] == ["page.html"]
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "<title>run: explanations</title>" in text
    assert not re.search(r"@import|https?://|<link|url\((?!data:)", text)
    for file in (page.PLOTS_CSS, page.TEMPLATES / "report.css"):
        assert file.read_text(encoding="utf-8") in text, "styles are part of the page, not escaped"


def test_texts_are_escaped_and_control_characters_are_seen(tmp_path: Path) -> None:
    text = page.write_page(
        tmp_path / "page.html", TEMPLATE, shown(label="<script>&", image="a\nb\u202e\udce9.jpg")
    ).read_text(encoding="utf-8")
    assert "&lt;script&gt;&amp;" in text and "<script>" not in text
    assert "a\\nb\\u202e\\udce9.jpg" in text and "\u202e" not in text


def test_numbers_stay_with_their_units(tmp_path: Path) -> None:
    text = page.write_page(tmp_path / "page.html", TEMPLATE, shown()).read_text(encoding="utf-8")
    assert f"90.1{page.NBSP}%" in text and f"25.0{page.NBSP}%" in text


def test_an_undefined_value_is_an_error_and_the_old_page_stays(tmp_path: Path) -> None:
    path = page.write_page(tmp_path / "page.html", TEMPLATE, shown())
    before = path.read_bytes()
    context = shown()
    del context["explain"]["shown"][0]["image"]
    with pytest.raises(jinja2.UndefinedError, match="'image'"):
        page.write_page(path, TEMPLATE, context)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, read_only: Any) -> None:
    path = page.write_page(tmp_path / "runs" / "page.html", TEMPLATE, shown())
    before = path.read_bytes()
    read_only(tmp_path / "runs")
    with pytest.raises(HousetrainError) as caught:
        page.write_page(path, TEMPLATE, shown(label="dog"))
    assert "\n" not in str(caught.value) and path.read_bytes() == before


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("90.1 %", "90.1_%"),
        ("3 min 20 s", "3_min 20_s"),
        ("1 h 05 min", "1_h 05_min"),
        ("12.3 MB, 512 bytes", "12.3_MB, 512_bytes"),
        ("88.3–91.7 %", "88.3–|91.7_%"),
        ("2 secrets and 3 cats", "2 secrets and 3 cats"),
        ("a–b", "a–b"),
    ],
)
def test_a_line_never_breaks_inside_a_quantity(value: str, expected: str) -> None:
    assert page.nonbreaking(value) == expected.replace("_", page.NBSP).replace("|", page.WORD_JOINER)


def test_printable_text_is_unchanged() -> None:
    assert page.printable("Bär – 90 %") == "Bär – 90 %"
    kept = f"a{page.NBSP}b{page.WORD_JOINER}c"
    assert page.printable(kept) == kept
    assert page.printable("a\tb\x00\u202e") == "a\\tb\\x00\\u202e"


def test_a_title_names_few_classes_and_counts_many() -> None:
    assert page.title_of(["cat", "dog"]) == "cat or dog"
    assert page.title_of(list("01234")) == "0, 1, 2, 3 or 4"
    assert page.title_of(list("0123456789")) == "10 classes"
