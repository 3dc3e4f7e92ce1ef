"""Builders of ICC profiles, and of files that carry them.

In: the corners of a color space (CIE 1931 x, y) and its curve. Out: bytes of a profile of version 2 (ICC.1:2001-04).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from hostile import chunk

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
_CONE = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])  # Bradford


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def parametric(kind: int, *values: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(f">HH{len(values)}i", kind, 0, *(round(value * 65536) for value in values))


def table(values: Any) -> bytes:
    numbers = np.rint(np.asarray(values) * 65535).astype(int)
    return b"curv" + bytes(4) + struct.pack(f">I{len(numbers)}H", len(numbers), *numbers)


SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
SPACES: dict[str, tuple[Any, tuple[float, float], bytes]] = {
    "sRGB": (_SRGB, D65, SRGB_CURVE),
    "sRGB as a gamma": (_SRGB, D65, gamma(2.2)),
    "Display P3": (_P3, D65, SRGB_CURVE),
    "Adobe RGB (1998)": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), D65, gamma(2.19921875)),
    "ProPhoto RGB": (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), (0.3457, 0.3585), gamma(1.8)),
    "Rec. 2020": (
        ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
        D65,
        parametric(3, 1 / 0.45, 1 / 1.0993, 0.0993 / 1.0993, 1 / 4.5, 0.0181 * 4.5),
    ),
    "P3 as a table": (_P3, D65, table(np.linspace(0, 1, 1024) ** 2.2)),
}
"""Name -> corners, white, curve."""


def colorants(corners: Any, white: tuple[float, float]) -> Any:
    """Linear light of red, green and blue as XYZ under D50, one a column."""

    def xyz(x: float, y: float) -> Any:
        return np.array([x / y, 1, (1 - x - y) / y])

    primaries, target = np.array([xyz(*corner) for corner in corners]).T, xyz(*white)
    scaled = primaries * np.linalg.solve(primaries, target)
    return np.linalg.inv(_CONE) @ np.diag((_CONE @ D50) / (_CONE @ target)) @ _CONE @ scaled


def profile(name: str, *, curve: bytes = b"", called: str = "", v4_name: bool = False) -> bytes:
    """The profile of one of `SPACES`, perhaps with another curve or name."""
    corners, white, usual = SPACES[name]
    text = called or name
    description = b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text.encode("latin-1") + bytes(79)
    if v4_name:
        wide = text.encode("utf-16-be")
        description = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(wide), 28) + wide

    def numbers(values: Any) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))

    tags = {b"desc": description, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": numbers(D50)}
    for column, color in enumerate((b"r", b"g", b"b")):
        tags[color + b"XYZ"] = numbers(colorants(corners, white)[:, column])
        tags[color + b"TRC"] = curve or usual
    entries, body, at = b"", b"", 132 + 12 * len(tags)
    for tag, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        entries += struct.pack(">4sII", tag, at + len(body), len(content))
        body += padded
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", *(round(value * 65536) for value in D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def png_with_profile(data: bytes, icc: bytes, *, compressed: bytes | None = None) -> bytes:
    """A PNG with an ``iCCP`` chunk after its header."""
    body = b"some name\0\0" + (zlib.compress(icc) if compressed is None else compressed)
    return data[:33] + chunk(b"iCCP", body) + data[33:]


def jpeg_with_profile(data: bytes, icc: bytes, *, parts: int = 1) -> bytes:
    """A JPEG with a profile in APP2 segments."""
    size = -(-len(icc) // parts)
    segments = b""
    for number in range(parts):
        content = b"ICC_PROFILE\0" + bytes([number + 1, parts]) + icc[number * size : (number + 1) * size]
        segments += b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content
    return data[:2] + segments + data[2:]
