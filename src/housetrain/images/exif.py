"""The bytes of an image file -> when it was taken, and by which camera.

In: bytes. Out: two texts, empty where the file does not say. It decodes no pixels, and corrupt metadata is no error.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from datetime import datetime
from typing import NamedTuple

_MARK = b"Exif\0\0"
_SEARCHED = 1 << 17  # bytes from the start of a file; HEIC and WebP have it later, but these are small
_TIME = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_MAKE, _MODEL, _DATE, _EXIF = 0x010F, 0x0110, 0x0132, 0x8769
_TAKEN, _SUBSECOND, _SERIAL = 0x9003, 0x9291, 0xA431


class Photo(NamedTuple):
    """What a camera wrote into a file.

    Args:
        taken: Local time, ISO 8601: ``2026-05-01T09:30:00``, with a fraction where the camera gives one; or ``""``.
        camera: Make, model and serial number, as far as they are known; or ``""``.
    """

    taken: str = ""
    camera: str = ""


def photo_of(data: bytes) -> Photo:
    """Return when and by which camera an image was taken (Exif 2.32, 4.6.4 and 4.6.5).

    Args:
        data: A whole file of any format that is read.
    """
    block = _block(data)
    if not block:
        return Photo()
    from PIL.Image import Exif

    exif = Exif()
    with contextlib.suppress(Exception), warnings.catch_warnings():  # whatever is wrong: the image is usable without it
        warnings.simplefilter("ignore")
        exif.load(_MARK + block)
        own = exif.get_ifd(_EXIF)
        parts = (_text(exif.get(_MAKE)), _text(exif.get(_MODEL)), _text(own.get(_SERIAL)))
        taken = _time(_text(own.get(_TAKEN)) or _text(exif.get(_DATE)), _text(own.get(_SUBSECOND)))
        return Photo(taken, " ".join(part for part in parts if part))
    return Photo()


def _block(data: bytes) -> bytes:
    """Return the TIFF structure that holds the metadata, or nothing."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        return data
    if data[:4] == b"\x89PNG":
        at = data.find(b"eXIf")
        return data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")] if at > 0 else b""
    at = data.find(_MARK, 0, _SEARCHED)
    if at < 0 and data[8:12] == b"WEBP":
        at = data.find(b"EXIF")
        return data[at + 8 :].removeprefix(_MARK) if at > 0 else b""
    return data[at + len(_MARK) : at + len(_MARK) + (1 << 16)] if at >= 0 else b""


def _text(value: object) -> str:
    return " ".join(str(value).replace("\0", " ").split())[:64] if value is not None else ""


def _time(text: str, fraction: str) -> str:
    found = _TIME.match(text)
    if found is None:
        return ""
    digits = fraction if fraction.isdecimal() else ""
    try:
        when = datetime(*map(int, found.groups()), microsecond=int(f"{digits:0<6}"[:6]) if digits else 0)  # type: ignore[misc,arg-type]
    except ValueError:  # 0000:00:00 of a camera whose clock was never set
        return ""
    return when.isoformat()
