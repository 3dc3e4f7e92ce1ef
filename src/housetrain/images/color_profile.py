"""Color profiles: RGB pixels of another color space -> sRGB.

In: the bytes of an ICC profile or of the file that holds one, and uint8 RGB pixels. Out: sRGB pixels, the space that
browsers show and backbones were pretrained on. It does not know files on disk or the model input.

Phones store Display P3, cameras Adobe RGB, photo editors ProPhoto RGB. All of them are a matrix and a curve for each
color (ICC.1:2022, annex F.3), which is what is read here. Other profiles (tables of scanners, grayscale, CMYK, damaged
ones) are not applied: a profile never costs an image. No C library parses the profile of a stranger.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from housetrain.images.pixel_ops import Pixels
from housetrain.images.sniff import tiff_tags

MAX_BYTES = 4 << 20
"""The largest profile that is read; those of color spaces have 500 to 4,000 bytes."""

_SRGB = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
"""Linear sRGB to XYZ under D50 (IEC 61966-2-1, adapted by Bradford), one color a column."""

_SAME = 2.5  # of 255, mean over a grid of colors: sRGB with a gamma of 2.2 is at 1.8, Display P3 at 11
_ROWS = 64
_STEPS = 1 << 16

Numbers = npt.NDArray[np.float64]

_EXIF_IFD, _INTEROPERABILITY_IFD, _MOST_ENTRIES = 0x8769, 0xA005, 16


@dataclass(frozen=True, eq=False)
class ColorConversion:
    """Converts pixels of one color space to sRGB; colors outside of sRGB become the nearest inside, color by color.

    Args:
        name: What the profile calls itself, such as ``Display P3``.
        linear: float32 ``(1, 256, 3)``: light of each value of red, green and blue, 0 to 1.
        matrix: float32 ``(3, 3)``: linear light of the space to that of sRGB.
    """

    name: str
    linear: npt.NDArray[np.float32]
    matrix: npt.NDArray[np.float32]

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return sRGB pixels.

        Args:
            pixels: uint8 ``(height, width, 3)``.
        """
        converted: Pixels = np.empty(pixels.shape, np.uint8)
        for start in range(0, len(pixels), _ROWS):  # floats of a whole large image would take gigabytes
            rows = slice(start, start + _ROWS)
            light = cv2.transform(cv2.LUT(np.ascontiguousarray(pixels[rows]), self.linear), self.matrix)
            steps = np.rint(np.clip(light, 0, 1) * (_STEPS - 1)).astype(np.uint16)
            converted[rows] = _encoding()[steps]
        return converted


@functools.cache
def _encoding() -> Pixels:
    """Return the sRGB value of each step of linear light (IEC 61966-2-1)."""
    light = np.arange(_STEPS) / (_STEPS - 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    values: Pixels = np.rint(encoded * 255).astype(np.uint8)
    return values


@functools.lru_cache(maxsize=32)
def conversion_of(profile: bytes) -> ColorConversion | None:
    """Return the conversion to sRGB, or ``None`` where there is nothing to convert.

    Args:
        profile: An ICC profile; empty or damaged ones give ``None``, and so do those of sRGB and its variants.
    """
    if len(profile) < 132 or profile[16:24] != b"RGB XYZ ":
        return None
    try:
        tags = _tags(profile)
        colorants = np.array([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]).T
        values = np.arange(256) / 255
        with np.errstate(all="ignore"):
            linear = np.stack([_curve(tags[name], values) for name in (b"rTRC", b"gTRC", b"bTRC")], axis=1)
        matrix = np.linalg.solve(np.array(_SRGB), colorants)
    except (KeyError, ValueError, struct.error, ArithmeticError, np.linalg.LinAlgError):
        return None
    if not (np.isfinite(linear).all() and np.isfinite(matrix).all() and (np.abs(matrix) < 16).all()):
        return None
    conversion = ColorConversion(
        _description(tags.get(b"desc", b"")) or "another color space",
        np.clip(linear, 0, 1).astype(np.float32)[np.newaxis],
        matrix.astype(np.float32),
    )
    grid = np.stack(np.meshgrid(*3 * [np.arange(0, 256, 17, dtype=np.uint8)]), axis=3).reshape(1, -1, 3)
    moved = np.abs(conversion(grid).astype(int) - grid).mean()
    return conversion if moved > _SAME else None


@functools.lru_cache(maxsize=32)
def is_xyb(profile: bytes) -> bool:
    """Whether a profile is that of XYB JPEGs (jpegli): their numbers are no colors before it is applied."""
    try:
        return _description(_tags(profile)[b"desc"]).startswith("XYB")
    except (KeyError, struct.error):
        return False


def profile_in_jpeg(parts: Sequence[bytes]) -> bytes:
    """Join the parts of a profile (ICC.1:2022, annex B.4).

    Args:
        parts: Contents of the segments: sequence number from 1, number of parts, content.

    Returns:
        The profile, or ``b""`` where parts are missing, repeated or too large.
    """
    numbered = {part[0]: part[2:] for part in parts if len(part) > 2 and part[1] == len(parts)}
    whole = sorted(numbered) == list(range(1, len(parts) + 1)) and sum(map(len, parts)) <= MAX_BYTES
    return b"".join(numbered[number] for number in sorted(numbered)) if whole else b""


def profile_in_exif(block: bytes) -> bytes:
    """Return the profile of Adobe RGB where a camera says in EXIF that it used it, else ``b""``.

    Cameras set to Adobe RGB mostly embed no profile: the interoperability index ``R03`` says it (DCF 2.0, 4.2.1).

    Args:
        block: The bytes that begin ``II*`` or ``MM*``, possibly truncated or corrupt.
    """
    at = 0
    for name in (_EXIF_IFD, _INTEROPERABILITY_IFD):  # a directory in a directory in the first directory
        at = next(iter(tiff_tags(block, {name}, at=at).get(name, ())), 0)
        if not at:
            return b""
    entries = block[at + 2 : at + 2 + 12 * _MOST_ENTRIES]
    order = "<" if block[:1] == b"I" else ">"
    index = struct.pack(f"{order}HHI4s", 1, 2, 4, b"R03\0")  # tag, type ASCII, count, text
    return adobe_rgb() if index in entries else b""


@functools.cache
def adobe_rgb() -> bytes:
    """Return a profile of Adobe RGB (1998): its specification, version 2005-05, 4.3.1 and annex A (under D50)."""
    colors = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
    return _profile("Adobe RGB (1998)", colors, struct.pack(">4s4xIH", b"curv", 1, 563))  # a gamma of 563/256


def profile_in_cicp(body: bytes) -> bytes:
    """Return the profile of a color space that a ``cICP`` chunk of a PNG names by number, or ``b""``.

    The numbers are those of ITU-T H.273: primaries 12 (Display P3) or 9 (BT.2020), with the curve of sRGB or BT.709.
    High dynamic range (16, 18) has no one look in sRGB: the numbers are used as they are.
    """
    space = _SPACES.get(body[0]) if len(body) == 4 and body[1] in _CURVES_OF_CICP and not body[2] else None
    return _profile(*space, _SRGB_CURVE) if space else b""


_CURVES_OF_CICP = {1, 6, 13, 14, 15}
_SRGB_CURVE = struct.pack(">4s4xH2x5i", b"para", 3, 157286, 62119, 3417, 5072, 2651)  # IEC 61966-2-1, in 1/65536
_SPACES = {  # primaries of ITU-T H.273 -> name, colors in XYZ under D50 (adapted by Bradford)
    12: ("Display P3", ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))),
    9: ("BT.2020", ((0.67348, 0.27904, -0.00193), (0.16567, 0.67535, 0.02998), (0.12505, 0.04561, 0.79686))),
}


@functools.cache
def _profile(name: str, colors: tuple[tuple[float, ...], ...], curve: bytes) -> bytes:
    text = name.encode() + b"\0"
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text}
    for letter, color in zip(b"rgb", colors, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(x * 65536) for x in color))
        tags[bytes([letter]) + b"TRC"] = curve
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, at + len(body), len(content))
        body += content
    return bytes(16) + b"RGB XYZ " + bytes(104) + table + body


def profile_in_png(body: bytes) -> bytes:
    """Return the profile of an ``iCCP`` chunk (PNG, 11.3.2.3), or ``b""`` where it is damaged."""
    compressed = body.partition(b"\0")[2][1:]
    unzip = zlib.decompressobj()
    try:
        profile = unzip.decompress(compressed, MAX_BYTES)
    except zlib.error:
        return b""
    return profile if unzip.eof else b""


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = min(struct.unpack_from(">I", profile, 128)[0], 100)
    found = {}
    for number in range(count):
        name, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        found[name] = profile[at : at + size]
    return found


def _xyz(tag: bytes) -> list[float]:
    return [value / 65536 for value in struct.unpack_from(">3i", tag, 8)]


def _curve(tag: bytes, x: Numbers) -> Numbers:
    """Return the linear light of values 0 to 1 (ICC.1:2022, 10.6 curveType and 10.18 parametricCurveType)."""
    if tag[:4] == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        if count == 0:
            return x
        points = struct.unpack_from(f">{min(count, 1 << 16)}H", tag, 12)
        if count == 1:
            return np.asarray(x ** (points[0] / 256))
        return np.interp(x, np.linspace(0, 1, len(points)), np.array(points) / 65535)
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    kind = struct.unpack_from(">H", tag, 8)[0]
    needed = (1, 3, 4, 5, 7)[kind] if kind < 5 else 0
    given = [value / 65536 for value in struct.unpack_from(f">{needed}i", tag, 12)]
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0  # c and f: what is linear below d; e: what is added above
    match kind, given:
        case 0, (g,):
            pass
        case 1, (g, a, b):
            d = -b / a
        case 2, (g, a, b, e):
            d, f = -b / a, e
        case 3, (g, a, b, c, d):
            pass
        case 4, (g, a, b, c, d, e, f):
            pass
        case _:
            raise ValueError("unknown curve")
    return np.asarray(np.where(x >= d, np.clip(a * x + b, 0, None) ** g + e, c * x + f))


def _description(tag: bytes) -> str:
    """Return the name in a ``desc`` tag of version 2 or 4, at most 40 printable characters; ``""`` if there is none."""
    try:
        if tag[:4] == b"mluc":
            size, at = struct.unpack_from(">II", tag, 20)
            text = tag[at : at + min(size, 200)].decode("utf-16-be", "ignore")
        else:
            text = tag[12 : 12 + min(struct.unpack_from(">I", tag, 8)[0], 100)].decode("latin-1")
    except struct.error:
        return ""
    return "".join(character for character in text if character.isprintable())[:40].strip()
