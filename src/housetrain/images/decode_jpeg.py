"""JPEG bytes -> pixels, strictly: a damaged image is an error, a harmless oddity is not.

In: the bytes of one JPEG. Out: uint8 pixels as they are stored (not turned by EXIF), and a word on what is odd.
It does not know files, other formats, EXIF turning, or sizes a model wants (it only takes a least size).

libjpeg goes on after almost any damage and fills the rest with gray. `simplejpeg` reports its first warning as an
error. Most of these warnings mean lost pixels; four of them do not, and real collections are full of those: a wrong
JFIF version, an unknown Adobe transform, stray bytes between header segments, and a missing end marker after
complete data. Those four are mended in memory and the image is decoded again, because libjpeg reports only its
*first* warning and a harmless one would hide a bad one behind it. Spare bytes after the last row cost no pixel that
can be told from outside (the decoder had all it asked for), so that the image is used and the oddity is said.

Scaled decoding (by the discrete cosine transform, at 1/8, 1/4 or 1/2) reads every coefficient that full decoding
reads, so it finds the same damage; ``tests/data/test_decode.py`` holds it to that.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import simplejpeg

from housetrain.errors import DecodeError
from housetrain.images.pixel_ops import Pixels, to_gray
from housetrain.images.sniff import exif_orientation

MAX_SCANS = 500  # a progressive file repeats the whole image in every scan: this many is an attack, not an image
NO_END = "no end marker"
_SAME_SIZE, _ROOM_TO_AVERAGE = 1.05, 1.5  # see _enough

_END = b"\xff\xd9"
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # C4 Huffman tables, C8 reserved, CC arithmetic tables
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


@dataclass(frozen=True)
class JpegHeader:
    """What the segments before the first scan say. Offsets are into the bytes; sizes are in pixels as stored."""

    width: int
    height: int
    components: int
    progressive: bool
    orientation: int
    segments: tuple[tuple[int, int], ...]  # [start, end) of each segment, the SOI and the first SOS included
    jfif_at: int  # offset of the JFIF version byte, or 0
    adobe_at: int  # offset of the Adobe transform byte, or 0

    @property
    def mode(self) -> str:
        """Pillow's name of the color mode."""
        return _MODES.get(self.components, f"{self.components} components")


def read_header(data: bytes) -> JpegHeader:
    """Walk the segments up to the first scan.

    Args:
        data: Bytes that begin with ``FF D8``.

    Returns:
        The header; nothing is decoded and nothing of the image's size is allocated.

    Raises:
        DecodeError: ``truncated`` before the first scan, or ``damaged (...)``.
    """
    segments, position, size = [(0, 2)], 2, len(data)
    frame: tuple[int, int, int, int] | None = None
    orientation, jfif_at, adobe_at = 0, 0, 0
    while True:
        start = data.find(b"\xff", position)
        if start < 0:
            raise DecodeError("truncated")
        position = start + 1
        while position < size and data[position] == 0xFF:  # fill bytes are allowed before a marker
            position += 1
        if position + 3 > size:
            raise DecodeError("truncated")
        marker = data[position]
        if marker == 0 or marker in _ALONE:
            position += 1
            continue
        if marker == 0xD9:
            raise DecodeError("truncated")
        length = data[position + 1] << 8 | data[position + 2]
        body, end = position + 3, position + 1 + length
        if length < 2:
            raise DecodeError("damaged (segment without length)")
        if end > size:
            raise DecodeError("truncated")
        segments.append((position - 1, end))
        if marker in _START_OF_FRAME and frame is None and length >= 8:
            frame = (
                marker,
                data[body + 1] << 8 | data[body + 2],
                data[body + 3] << 8 | data[body + 4],
                data[body + 5],
            )
        elif marker == 0xE1 and not orientation and data.startswith(b"Exif\0\0", body):
            orientation = exif_orientation(data[body + 6 : end])
        elif marker == 0xE0 and not jfif_at and length >= 16 and data.startswith(b"JFIF\0", body):
            jfif_at = body + 5
        elif marker == 0xEE and length >= 14 and data.startswith(b"Adobe", body):
            adobe_at = body + 11
        elif marker == 0xDA:
            break
        position = end
    if frame is None:
        raise DecodeError("damaged (no frame header)")
    marker, height, width, components = frame
    if not height or not width:
        raise DecodeError("damaged (no size in the header)")
    return JpegHeader(
        width, height, components, marker in _PROGRESSIVE, orientation or 1, tuple(segments), jfif_at, adobe_at
    )


def decode_jpeg(
    data: bytes, header: JpegHeader, *, color_mode: Literal["grayscale", "rgb"], at_least: tuple[int, int] | None = None
) -> tuple[Pixels, str]:
    """Decode strictly.

    Args:
        data: The whole file.
        header: What :func:`read_header` said of it.
        color_mode: ``"grayscale"`` is the stored brightness (Y channel), which needs no color conversion at all.
        at_least: Height and width in pixels, as stored, that the result must reach; the decoder then works
            at 1/8, 1/4 or 1/2 where that is enough. ``None``: full size. An image is never enlarged.

    Returns:
        Pixels ``(height, width, 1 or 3)`` uint8, and what is odd about the file though harmless (often ``""``).

    Raises:
        DecodeError: ``truncated``, ``damaged (...)``, ``too many scans (...)`` or ``unsupported JPEG (...)``.
    """
    if header.progressive and (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise DecodeError(f"too many scans ({scans})")
    current = data
    oddities: list[str] = []
    while True:
        try:
            return _strict(current, header, color_mode, at_least), ", ".join(oddities)
        except ValueError as error:
            said = str(error)
        mended, oddity = _mend(current, header, said)
        if not oddity:
            break
        current, header = mended, read_header(mended)
        oddities.append(oddity)
    if spare := re.search(r"(\d+) extraneous bytes before marker 0xd9", said):
        oddities.append(f"{spare[1]} spare bytes after the last row")
        return _strict(current, header, color_mode, at_least, strict=False), ", ".join(oddities)
    if "subsampling" in said:
        return _by_pillow(data, color_mode), ""
    if "Premature end of JPEG file" in said or NO_END in oddities:
        raise DecodeError("truncated")
    if "precision" in said:
        raise DecodeError("unsupported JPEG (more than 8 bits a channel)")
    raise DecodeError(f"damaged ({said.removeprefix('Corrupt JPEG data: ').strip() or 'no reason given'})")


def _strict(
    data: bytes, header: JpegHeader, color_mode: str, at_least: tuple[int, int] | None, *, strict: bool = True
) -> Pixels:
    height, width = _enough(header, at_least) if at_least else (0, 0)
    if header.components != 4:
        space = "GRAY" if color_mode == "grayscale" else "RGB"
        pixels: Pixels = simplejpeg.decode_jpeg(data, space, min_height=height, min_width=width, strict=strict)
        return pixels
    inks = simplejpeg.decode_jpeg(data, "CMYK", min_height=height, min_width=width, strict=strict)
    # JPEG stores four inks inverted (Adobe's way, which Pillow and the browsers assume as well): 255 is no ink
    light = inks[..., :3].astype(np.uint16) * inks[..., 3:]
    rgb: Pixels = ((light + 127) // 255).astype(np.uint8)
    if color_mode == "rgb":
        return rgb
    return to_gray(rgb)


def _enough(header: JpegHeader, at_least: tuple[int, int]) -> tuple[int, int]:
    """Return the size to ask the decoder for: that of 1/8, 1/4, 1/2 or full scale.

    Only these average blocks as area shrinking does; 3/8, 5/8 ... are slower and further from it. And from an image
    only a little larger than wanted the second shrinking would blur: it is (nearly) the size itself, or 1.5 times.
    Measured on 200 photos of 500x375, mean difference to an area-resized full decode, n/8 -> this: at 50x50 gray
    3.1 -> 1.8 of 255, at 96x96 RGB 3.1 -> 1.0.
    """
    for divisor in (8, 4, 2):
        height, width = -(-header.height // divisor), -(-header.width // divisor)
        less, more = sorted((height / at_least[0], width / at_least[1]))
        if less >= _ROOM_TO_AVERAGE or 1 <= less <= more <= _SAME_SIZE:
            return height, width
    return header.height, header.width


def _mend(data: bytes, header: JpegHeader, said: str) -> tuple[bytes, str]:
    """Return the bytes with their harmless oddities put right, and the name of these: ``""`` when there are none."""
    oddities: list[str] = []
    changed = bytearray(data)
    if header.jfif_at and data[header.jfif_at] not in (1, 2):
        changed[header.jfif_at : header.jfif_at + 2] = b"\x01\x01"
        oddities.append("unknown JFIF version")
    if header.adobe_at and data[header.adobe_at] > 2:
        changed[header.adobe_at] = 2 if header.components == 4 else 1  # what libjpeg assumes, said in its own words
        oddities.append("unknown Adobe transform")
    if any(end != start for (_, end), (start, _) in pairwise(header.segments)):
        scan = header.segments[-1][1]
        changed = bytearray().join(changed[start:end] for start, end in header.segments) + changed[scan:]
        oddities.append("stray bytes in the header")
    if "Premature end of JPEG file" in said and not header.progressive and not data.endswith(_END):
        # A missing end mark can only be told from missing data by trying. A progressive file cut between two scans
        # would then decode without a word, so it gets no mark from us.
        changed += _END
        oddities.append(NO_END)
    return bytes(changed), ", ".join(oddities)


def _by_pillow(data: bytes, color_mode: Literal["grayscale", "rgb"]) -> Pixels:
    """Decode the rare layouts that TurboJPEG refuses. Pillow notices truncation, but not every flipped bit."""
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        with JpegImageFile(io.BytesIO(data)) as image:
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DecodeError("truncated" if "truncated" in str(error) else f"damaged ({error})") from error
    return to_gray(rgb) if color_mode == "grayscale" else rgb
