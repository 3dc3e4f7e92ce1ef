"""Text and marks of the report, its plots and the studio's plots can be read: WCAG 2.2 contrast, light and dark."""

from __future__ import annotations

import re

import pytest

from housetrain.report.page import PLOTS_CSS, TEMPLATES

PAIR = re.compile(r"--([\w-]+):\s*light-dark\((#[0-9a-f]{6}),\s*(#[0-9a-f]{6})\)")
COLORS = {
    name: {"light": light, "dark": dark}
    for file in (PLOTS_CSS, TEMPLATES / "report.css")
    for name, light, dark in PAIR.findall(file.read_text(encoding="utf-8"))
}
TEXT = ("ink", "soft", "blue", "orange", "green", "red")
GROUNDS = ("card", "paper", "shade")
MARKS = ("blue-fill", "orange-fill", "train-fill", "validation-fill", "test-fill", "gray", "violet", "pink", "cyan")


def luminance(color: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_that_of_wcag() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_4_5_and_marks_have_2_5_against_what_they_stand_on(theme: str) -> None:
    low = {
        f"{text} on {ground}": round(contrast(COLORS[text][theme], COLORS[ground][theme]), 2)
        for text in TEXT
        for ground in GROUNDS
    }
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}
    marks = {mark: round(contrast(COLORS[mark][theme], COLORS["card"][theme]), 2) for mark in MARKS}
    assert {mark: value for mark, value in marks.items() if value < 2.5} == {}
