"""Read a drawing back: every one must be well-formed, named, and of finite numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from housetrain.report.plots.svg import LARGEST_TEXT

HOSTILE = "<script>alert('x')</script>\n&amp;\u202e\udce9"


def parsed(drawing: Any) -> ET.Element:
    root = ET.fromstring(str(drawing))
    assert root.get("role") == "img" and root.get("aria-label")
    assert "nan" not in str(drawing) and "inf" not in str(drawing)
    return root


def texts(drawing: Any) -> list[str]:
    return [element.text or (element[0].tail if len(element) else "") or "" for element in parsed(drawing).iter("text")]


def of_class(drawing: Any, name: str) -> list[ET.Element]:
    return [element for element in parsed(drawing).iter() if name in (element.get("class") or "").split()]


def across(text: ET.Element) -> tuple[float, float]:
    """Return the left and right edge of a text on a small screen, in DejaVu Sans, the widest usual font."""
    bold = "strong" in (text.get("class") or "").split()
    content = text.text or (text[0].tail if len(text) else "") or ""
    width = sum((_BOLD if bold else _REGULAR)[letter] for letter in content) * LARGEST_TEXT
    x = float(text.get("x", 0))
    return {"start": (x, x + width), "middle": (x - width / 2, x + width / 2), "end": (x - width, x)}[
        text.get("text-anchor", "start")
    ]


_REGULAR = dict.fromkeys("0123456789", 0.636) | {".": 0.318, " ": 0.318, ",": 0.318, "%": 0.95, "e": 0.615, "-": 0.361}
_BOLD = dict.fromkeys("0123456789", 0.696) | {".": 0.38, " ": 0.348, "%": 1.002}
_BOLD |= {"a": 0.675, "t": 0.478, "e": 0.678, "p": 0.716, "o": 0.687, "c": 0.593, "h": 0.712, "s": 0.595}
