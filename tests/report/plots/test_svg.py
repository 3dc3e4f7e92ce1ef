"""SVG: escaped, readable at every size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawings import HOSTILE, parsed
from hypothesis import given
from hypothesis import strategies as some

from housetrain.report.plots import svg


@given(some.floats(-1e4, 1e4), some.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low: float, width: float) -> None:
    found = svg.ticks(low, low + width)
    assert 1 <= len(found) <= 11
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)
    steps = np.diff(found)
    if len(steps):
        mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
        assert any(math.isclose(mantissa, nice, rel_tol=1e-3) for nice in (1, 2, 2.5, 5, 10))


def test_ticks_of_nothing() -> None:
    assert svg.ticks(3.0, 3.0) == [3.0]


def test_text_is_escaped_and_control_characters_are_seen() -> None:
    drawing = svg.Drawing(10, 10, label=HOSTILE)
    drawing.text(1, 1, HOSTILE, tip=HOSTILE)
    drawing.rect(1, 1, 2, 2, "bar", tip=HOSTILE)
    root = parsed(drawing.markup())
    assert {element.tag for element in root.iter()} == {"svg", "text", "title", "rect"}
    assert "\n" not in str(drawing.markup()) and "\\n" in str(drawing.markup()) and "\\u202e" in str(drawing.markup())


@pytest.mark.parametrize(("text", "room"), [("short", 100), ("a name that is much too long for this", 80)])
def test_a_long_name_keeps_its_begin_and_its_end(text: str, room: float) -> None:
    cut = svg.shorten(text, room)
    assert svg.text_width(cut) <= room + 12
    assert cut[0] == text[0] and cut[-1] == text[-1] and ("…" in cut) == (cut != text)


def test_a_legend_escapes_its_texts() -> None:
    assert "<script>" not in svg.legend([("one", HOSTILE)])


def test_a_name_that_just_fits_is_not_shortened() -> None:
    for name in ("cats", "dogs", "golden retriever", "x" * 37):
        for size in (7.0, 9.35, 12.0, 12.5):
            assert svg.shorten(name, svg.text_width(name, size=size), size=size) == name
