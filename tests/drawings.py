"""Read a drawing back: every one must be well-formed, named, and of finite numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

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
