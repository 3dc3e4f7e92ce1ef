"""What a file is, told from its bytes, and whether its outer structure is whole.

In: the bytes of a file. Out: the format's name, and errors for what is cut or changed. It does not decode pixels.

The decoders behind Pillow read what they need and stop, so that a checksum in a PNG, the end of a GIF or the size of a
WebP canvas is nobody's business unless it is looked at here, before anything is allocated.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from housetrain.errors import DecodeError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")

JPEG_START = b"\xff\xd8\xff"

EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
}
"""The names a file of each format may end in, in lower case; the first is the usual one."""

_OTHERS = (  # what people also keep in image folders; only named, never opened
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\x01\0", "ICO"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf", "7z"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x93NUMPY", "NumPy array"),
    (b"\x89HDF", "HDF5"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office document"),
)


class Outline(NamedTuple):
    """What the outer structure says. Sizes are pixels as stored; an orientation of 0 says nothing."""

    width: int
    height: int
    orientation: int = 0


def sniff(data: bytes) -> str:
    """Name the image format of some bytes.

    Args:
        data: A whole file, or at least its first 512 bytes.

    Returns:
        One of :data:`FORMATS`.

    Raises:
        DecodeError: ``empty file``, or ``not an image (...)`` with what it seems to be.
    """
    if data[:3] == JPEG_START:
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[4:8] == b"ftyp":
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(_big_endian(data[:4]), 512), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        raise DecodeError(f"not a supported image ({'HEIC' if brands & {b'heic', b'heix', b'mif1'} else 'video'})")
    if data[:2] == b"BM" and len(data) >= 18 and data[15:18] == b"\0\0\0":  # header size: 12 to 124 bytes
        return "BMP"
    raise DecodeError(_what_else(data))


def _what_else(data: bytes) -> str:
    if not data:
        return "empty file"
    if not data.strip(b"\0"):
        return "not an image (only zero bytes)"
    for start, name in _OTHERS:
        if data.startswith(start):
            return f"not a supported image ({name})"
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start:
        return "not an image (HTML)"
    if b"<svg" in start:
        return "not a supported image (SVG)"
    if start.startswith(b"<?xml"):
        return "not an image (XML)"
    for start_of_known in (b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"II*", b"MM\0", b"BM"):
        if data.startswith(start_of_known) and len(data) < 18:
            return "truncated"
    try:
        text = data[:512].decode("utf-8", errors="strict" if len(data) <= 512 else "ignore")
    except UnicodeDecodeError:
        return "not an image"
    return "not an image (text)" if all(c.isprintable() or c in "\t\r\n\f" for c in text) else "not an image"


def outline(data: bytes, format_: str) -> Outline | None:
    """Walk a file's outer structure.

    Args:
        data: The whole file.
        format_: What :func:`sniff` said.

    Returns:
        Width, height and orientation where the structure says them, ``None`` where only a decoder can.

    Raises:
        DecodeError: ``truncated`` or ``damaged (...)``.
    """
    walk = {"PNG": _png, "GIF": _gif, "WEBP": _webp, "TIFF": _tiff, "AVIF": _avif}.get(format_)
    return walk(data) if walk else None


def _png(data: bytes) -> Outline:
    """Walk the chunks: their checksums guard the image, and Pillow does not look at those of the pixel data."""
    width = height = orientation = 0
    for kind, start, end in _chunks(data):
        if _needed(kind) and not _whole(data, start, end):
            raise DecodeError(f"damaged (wrong checksum of {kind.decode('latin-1')})")
        if kind == b"IHDR" and end - start >= 20:
            width, height = struct.unpack_from(">II", data, start + 8)
        elif kind == b"eXIf":
            orientation = exif_orientation(data[start + 8 : end - 4])
    if not width or not height:
        raise DecodeError("damaged (no size in the header)")
    return Outline(width, height, orientation or 1)


def without_bad_notes(data: bytes) -> bytes:
    """Return a PNG without the notes (texts, times, EXIF) whose checksum is wrong: Pillow would refuse the image."""
    bad = [(start, end) for kind, start, end in _chunks(data) if not _needed(kind) and not _whole(data, start, end)]
    for start, end in reversed(bad):
        data = data[:start] + data[end:]
    return data


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of every chunk of a PNG (length, kind, body, checksum), to the IEND."""
    kind, end = b"", 8
    while kind != b"IEND":
        start = end
        if start + 12 > len(data):
            raise DecodeError("truncated")
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            raise DecodeError("truncated")
        yield kind, start, end


def _needed(kind: bytes) -> bool:
    """Whether an image is wrong without this chunk; a lower-case first letter says that it is not (PNG, 5.4)."""
    return not kind[0] & 0x20 or kind == b"tRNS"


def _whole(data: bytes, start: int, end: int) -> bool:
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) == _big_endian(data[end - 4 : end])


def _gif(data: bytes) -> Outline:
    """Walk the blocks: a GIF that ends inside one was cut; one without the end mark is common and harmless."""
    if len(data) < 13:
        raise DecodeError("truncated")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + _color_table(flags)
    frames = 0
    while position < len(data) and (kind := data[position]) != 0x3B:
        if kind == 0x21:
            position = _after_sub_blocks(data, position + 2)
        elif kind == 0x2C:
            if position + 10 > len(data):
                raise DecodeError("truncated")
            if not frames:  # Pillow enlarges the image to its first frame
                left, top, wide, high = struct.unpack_from("<HHHH", data, position + 1)
                width, height = max(width, left + wide), max(height, top + high)
            position = _after_sub_blocks(data, position + 11 + _color_table(data[position + 9]))
            frames += 1
        elif frames:
            break  # what follows an image without being a block is trailing rubbish
        else:
            raise DecodeError("damaged (unknown block)")
    if not frames:
        raise DecodeError("truncated")
    return Outline(width, height, 1)


def _color_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, position: int) -> int:
    size = len(data)
    while position < size:
        length = data[position]
        position += length + 1
        if not length:
            return position
    raise DecodeError("truncated")


def _webp(data: bytes) -> Outline:
    """Read the canvas size: libwebp allocates the canvas when it is merely opened."""
    if len(data) < 30 or struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1:
        raise DecodeError("truncated")  # (+ 1: the last padding byte is often left away)
    kind = data[12:16]
    if kind == b"VP8X":
        return Outline(1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return Outline(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Outline(width & 0x3FFF, height & 0x3FFF)
    raise DecodeError("damaged (unknown WebP chunk)")


def _tiff(data: bytes) -> Outline | None:
    """Read the size of the first page, so that pages Pillow has no mode for can be given to another decoder."""
    tags = _directory(data, {256, 257, 274})
    width, height = tags.get(256, 0), tags.get(257, 0)
    return Outline(width, height, _valid(tags.get(274, 1))) if width and height else None


def _avif(data: bytes) -> None:
    """Walk the outermost boxes: one that leads beyond the end was cut. Sizes are for the decoder to find."""
    position = 0
    while position + 8 <= len(data):
        length = _big_endian(data[position : position + 4])
        if length == 1:  # the true length follows, in eight bytes
            length = _big_endian(data[position + 8 : position + 16])
        if length == 0:  # to the end of the file
            return
        position += max(length, 8)
    if position > len(data):
        raise DecodeError("truncated")


def exif_orientation(block: bytes) -> int:
    """Read tag 274 of an EXIF block (the part that begins ``II*`` or ``MM*``).

    Args:
        block: The bytes of the block, cut or damaged as they may be.

    Returns:
        1 to 8; 1 as well where the block says nothing or nonsense: a damaged note about an image is not a damaged
        image.
    """
    return _valid(_directory(block, {274}).get(274, 1))


def _directory(block: bytes, wanted: set[int]) -> dict[int, int]:
    """Return the wanted SHORT or LONG tags of the first directory of a TIFF structure (TIFF 6.0, section 2)."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return {}
    at = struct.unpack_from(order + "I", block, 4)[0]
    if at + 2 > len(block):
        return {}
    count = struct.unpack_from(order + "H", block, at)[0]
    found: dict[int, int] = {}
    for entry in range(at + 2, min(at + 2 + 12 * count, len(block) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", block, entry)
        if tag in wanted:
            found[tag] = struct.unpack_from(order + ("I" if kind == 4 else "H"), block, entry + 8)[0]
    return found


def _valid(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


def _big_endian(data: bytes) -> int:
    return int.from_bytes(data, "big")
