"""Text on images: drawn where it belongs, in every script that the fonts have."""

from __future__ import annotations

import numpy as np
import pytest

from housetrain.images.draw_text import MISSING, draw_text, drawable, shorten, text_width


def canvas(text: str, corner: tuple[float, float] = (100, 10), **options: object) -> np.ndarray:
    image = np.full((60, 300, 3), 255, np.uint8)
    draw_text(image, text, corner, size=20, **options)  # type: ignore[arg-type]
    return image


def box(image: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((image < 128).any(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_the_anchor_is_the_left_end_the_middle_or_the_right_end() -> None:
    width = text_width("Hamburg", size=20)
    left, top, right, bottom = box(canvas("Hamburg"))
    assert abs(left - 100) <= 3 and abs(right - (100 + width)) <= 3
    assert top >= 10 and bottom <= 10 + 1.4 * 20, "the corner is the top of the line"
    middle = box(canvas("Hamburg", anchor="center"))
    assert abs((middle[0] + middle[2]) / 2 - 100) <= 3
    assert abs(box(canvas("Hamburg", anchor="right"))[2] - 100) <= 3


def test_color_is_rgb_and_bold_is_wider() -> None:
    image = canvas("MMM", color=(200, 0, 0))
    darkest = image.reshape(-1, 3)[image.sum(axis=2).argmin()]
    assert darkest[0] > 150 and darkest[1] < 60
    assert text_width("Hamburg", size=20, bold=True) > text_width("Hamburg", size=20)


@pytest.mark.parametrize("text", ["Straße", "Ελληνικά", "Кириллица", "中文", "ひらがな", "한국어"])
def test_these_scripts_are_drawn(text: str) -> None:
    assert drawable(text) == text
    assert len({canvas(letter).tobytes() for letter in dict.fromkeys(text)}) == len(dict.fromkeys(text)), "all differ"


def test_a_character_without_a_glyph_is_an_empty_box_and_a_question_mark_stays_one() -> None:
    assert drawable("ไทย?") == MISSING * 3 + "?"
    assert (canvas(MISSING) != canvas("?")).any()
    assert drawable("a\nb\udce9") == "a\\nb?", "one line, no halves of characters"


def test_a_long_text_loses_its_middle() -> None:
    short = shorten("a very long name of a file.jpg", 100, size=12)
    assert text_width(short, size=12) <= 100
    assert short.startswith("a v") and short.endswith(".jpg") and "…" in short
    assert shorten("short", 100, size=12) == "short" and shorten("MMMM", 1, size=12) == "…"
