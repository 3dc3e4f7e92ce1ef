"""Text on images, in the fonts that come with OpenCV: Latin, Greek, Cyrillic, Chinese, Japanese and Korean.

In: a uint8 RGB array and a line of text. Out: the text on the array. No font file of the machine is used, so the same
text looks the same everywhere. A character that the fonts do not have is drawn as an empty box. Arabic letters are not
joined, and right-to-left text is drawn in the order of its characters.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import cv2
import numpy as np

from housetrain.errors import one_line
from housetrain.images.pixel_ops import Pixels

Color = tuple[int, int, int]
MISSING = "□"
"""Stands for a character that the fonts do not have (a "tofu", as browsers draw it)."""
_ASCENT = 0.93  # height of the tallest letters above the baseline, as a share of the font size
_WEIGHTS = {False: 400, True: 700}


def draw_text(
    image: Pixels,
    text: str,
    corner: tuple[float, float],
    *,
    size: int,
    color: Color = (0, 0, 0),
    bold: bool = False,
    anchor: Literal["left", "center", "right"] = "left",
) -> None:
    """Draw one line of text in place.

    Args:
        image: uint8 ``(height, width, 3)``, RGB, contiguous.
        text: One line; control characters are shown as escapes.
        corner: (x, y) in pixels of the top of the line, at the side that ``anchor`` names.
        size: Font size in pixels.
        color: RGB, each 0 to 255.
        bold: Whether the text is bold.
        anchor: Which part of the text lies at ``corner``.
    """
    text = drawable(text)
    x, y = corner
    if anchor != "left":
        x -= _width(text, size, bold) * (0.5 if anchor == "center" else 1.0)
    canvas: Any = image
    cv2.putText(canvas, text, (round(x), round(y + _ASCENT * size)), color, _font(), size, weight=_WEIGHTS[bold])


def text_width(text: str, *, size: int, bold: bool = False) -> int:
    """Return how many pixels wide `draw_text` draws a line."""
    return _width(drawable(text), size, bold)


def shorten(text: str, room: float, *, size: int, bold: bool = False) -> str:
    """Return the text with its middle cut out where it would be wider than ``room`` pixels."""
    if text_width(text, size=size, bold=bold) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        head = kept // 2
        short = f"{text[:head]}…{text[len(text) - (kept - head) :]}"
        if text_width(short, size=size, bold=bold) <= room:
            return short
    return "…"


def drawable(text: str) -> str:
    """Return the text on one line, with `MISSING` for each character that cannot be drawn."""
    text = one_line(text.encode("utf-8", "replace").decode())
    return "".join(letter if letter.isascii() or _has(letter) else MISSING for letter in text)


@functools.cache
def _font() -> Any:
    return cv2.FontFace("sans")


@functools.lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    # OpenCV draws a question mark for a character that its fonts do not have, and does not say so.
    return letter.isspace() or not np.array_equal(_glyph(letter), _glyph("?"))


@functools.lru_cache(maxsize=4096)
def _glyph(letter: str) -> Pixels:
    canvas = np.zeros((32, 48), np.uint8)
    cv2.putText(canvas, letter, (8, 24), (255,), _font(), 20)
    return canvas


def _width(text: str, size: int, bold: bool) -> int:
    return int(cv2.getTextSize((0, 0), text, (0, 0), _font(), size, weight=_WEIGHTS[bold])[2])
