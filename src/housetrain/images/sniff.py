"""The image format of a file, by its content, and whether its outer structure is complete.

In: the bytes of a file. Out: the format's name and header facts, and errors for truncated or corrupt files. It does not
decode pixels.

The decoders behind Pillow stop after what they need. Checksums in a PNG, the end of a GIF or the size of a WebP canvas
are therefore checked here, before anything is allocated.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from housetrain.errors import DecodeError
from housetrain.images.unsupported import UNSUPPORTED, name_of

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIC")
"""The formats that are read; HEIC where the package pillow-heif is installed."""

JPEG_START = b"\xff\xd8\xff"

_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # brands (ISO/IEC 23008-12, annex B)

EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "HEIC": (".heic", ".heif", ".hif"),
}
"""File name extensions of each format, in lower case; the most common one first."""


class Header(NamedTuple):
    """What a file says about its image before anything is decoded.

    Args:
        format: One of :data:`FORMATS`; ``""`` if unknown.
        width: Pixels, after the EXIF orientation is applied.
        height: Pixels, after the EXIF orientation is applied.
        mode: Pillow's name of the stored color mode: ``L``, ``RGB``, ``CMYK``, ``P``, ``RGBA``, ``I;16``, ...
        frames: 1, or more for animations and multi-page documents; the first one is used.
        orientation: EXIF tag 274, 1 to 8.
        taken: When it was taken, ISO 8601; set by a scan, see `housetrain.images.exif`.
        camera: By which camera; set by a scan.
        quantization: Sum of a JPEG's first quantization table: the stronger the compression, the larger; set by a scan.
    """

    format: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    frames: int = 0
    orientation: int = 0
    taken: str = ""
    camera: str = ""
    quantization: int = 0


class Outline(NamedTuple):
    """Size in pixels as stored, and EXIF orientation; 0 if unknown."""

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
        DecodeError: ``empty file``, or ``not an image (...)`` with the likely format.
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
        if data[8:10] == b"CR":  # Canon CR2: its first page is a preview that does not say so
            raise DecodeError(f"{UNSUPPORTED} (camera RAW)")
        return "TIFF"
    if data[4:8] == b"ftyp":
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(_big_endian(data[:4]), 512), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & _HEIC:
            return "HEIC"
        raise DecodeError(f"{UNSUPPORTED} ({'camera RAW' if b'crx ' in brands else 'video'})")
    if data[:2] == b"BM" and len(data) >= 18 and data[15:18] == b"\0\0\0":  # header size: 12 to 124 bytes
        return "BMP"
    raise DecodeError(_what_else(data))


def too_many_pixels(width: int, height: int, what: str, most: int) -> DecodeError:
    """Return the error for an image of more than ``most`` pixels; ``what`` is its format."""
    smaller = "save it smaller" if "JPEG" in what else "save it smaller or as JPEG"
    return DecodeError(f"too many pixels ({width}x{height}): {what} is read up to {most / 1e6:g} million; {smaller}")


def _what_else(data: bytes) -> str:
    if not data:
        return "empty file"
    if data.startswith(b"version https://git-lfs"):
        return f"{UNSUPPORTED} (Git LFS pointer)"
    if not data.strip(b"\0"):
        return "not an image (only zero bytes)"
    if name := name_of(data):
        return f"{UNSUPPORTED} ({name})"
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start:
        return "not an image (HTML)"
    if b"<svg" in start:
        return f"{UNSUPPORTED} (SVG)"
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
    """Read and check the outer structure of a file.

    Args:
        data: The whole file.
        format_: What :func:`sniff` said.

    Returns:
        Width, height and orientation, or ``None`` where only a decoder knows them.

    Raises:
        DecodeError: ``truncated`` or ``damaged (...)``.
    """
    walk = {"PNG": _png, "GIF": _gif, "WEBP": _webp, "AVIF": _boxes, "HEIC": _boxes}.get(format_)
    return walk(data) if walk else None


def _png(data: bytes) -> Outline:
    """Check the chunks, also the checksums of pixel data, which Pillow ignores."""
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


def without_metadata(data: bytes) -> bytes:
    """Return a PNG without its metadata (texts, times, profiles): Pillow refuses large or bad chunks of it."""
    dropped = [(start, end) for kind, start, end in _chunks(data) if kind[0] & 0x20 and kind not in _PIXEL_CHUNKS]
    if not dropped:
        return data
    starts, ends = [0, *(end for _, end in dropped)], [*(start for start, _ in dropped), len(data)]
    return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))


def chunk_of(data: bytes, wanted: bytes) -> bytes:
    """Return the content of the first chunk of a kind (``iCCP``) of a PNG whose chunks are whole, or ``b""``."""
    return next((data[start + 8 : end - 4] for kind, start, end in _chunks(data) if kind == wanted), b"")


def has_all_rows(data: bytes) -> bool:
    """Whether the compressed data of a PNG is as long as its header announces: Pillow fills missing rows with zeros.

    Args:
        data: A PNG whose chunks are whole.
    """
    chunks = list(_chunks(data))
    width, height, depth, color_type, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, chunks[0][1] + 8)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color_type, 0)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    needed = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            needed += rows * (1 + -(-columns * bits // 8))  # each row begins with a filter byte
    unzip = zlib.decompressobj()
    for kind, start, end in chunks:
        rest = data[start + 8 : end - 4] if kind == b"IDAT" else b""
        while rest and needed > 0:
            needed -= len(unzip.decompress(rest, _BLOCK))
            rest = unzip.unconsumed_tail
    return needed <= len(unzip.flush()) if needed > 0 else True


_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIXEL_CHUNKS = {b"tRNS", b"acTL", b"fcTL", b"fdAT"}
_BLOCK = 1 << 16


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
    """Whether the image is wrong without this chunk; ancillary chunks begin with a lower-case letter (PNG, 5.4)."""
    return not kind[0] & 0x20 or kind == b"tRNS"


def _whole(data: bytes, start: int, end: int) -> bool:
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) == _big_endian(data[end - 4 : end])


def _gif(data: bytes) -> Outline:
    """Check the blocks: a GIF that ends inside one is truncated; a missing trailer is common and harmless."""
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
            break  # bytes after an image that are not a block are trailing garbage
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
    """Read the canvas size: libwebp allocates the canvas on opening."""
    kind = data[12:16]
    if len(data) < (25 if kind == b"VP8L" else 30) or struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1:
        raise DecodeError("truncated")  # (+ 1: the last padding byte is often missing)
    at = 12
    while at + 8 <= len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        if at + 8 + size > len(data) and data[at : at + 4] in (b"VP8 ", b"VP8L", b"ALPH", b"ANMF"):
            raise DecodeError("truncated")
        at += 8 + size + size % 2
    if kind == b"VP8X":
        return Outline(1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return Outline(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Outline(width & 0x3FFF, height & 0x3FFF)
    raise DecodeError("damaged (unknown WebP chunk)")


def _boxes(data: bytes) -> None:
    """Check the outermost boxes: one that ends beyond the file is truncated. Only the decoder knows the size."""
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
        block: The bytes of the block, possibly truncated or corrupt.

    Returns:
        1 to 8; 1 if the block has no valid orientation: corrupt metadata does not make an image corrupt.
    """
    return valid_orientation(*tiff_tags(block, {274}).get(274, ())[:1])


def tiff_tags(block: bytes, wanted: set[int], *, at: int = 0) -> dict[int, tuple[int, ...]]:
    """Read whole-number tags of a directory of a TIFF or BigTIFF structure (TIFF 6.0, section 2).

    Args:
        block: The bytes of the structure, possibly truncated or corrupt.
        wanted: Numbers of tags of type BYTE, SHORT, LONG or IFD (in BigTIFF also LONG8 and IFD8).
        at: Offset of the directory; 0 for the first one.

    Returns:
        The first eight values of each tag that could be read.
    """
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    big = block[2:4] in (b"+\0", b"\0+")
    if order is None or len(block) < 16 or not (big or block[2:4] in (b"*\0", b"\0*")):
        return {}
    offset, number, entry_size = ("Q", "Q", 20) if big else ("I", "H", 12)
    at = at or struct.unpack_from(order + offset, block, 8 if big else 4)[0]
    head = struct.calcsize(order + number)
    if at + head > len(block):
        return {}
    count = struct.unpack_from(order + number, block, at)[0]
    found: dict[int, tuple[int, ...]] = {}
    for entry in range(at + head, min(at + head + entry_size * count, len(block) - entry_size + 1), entry_size):
        tag, kind, values = struct.unpack_from(f"{order}HH{offset}", block, entry)
        if tag not in wanted or kind not in _WHOLE_NUMBERS:
            continue
        place = entry + 4 + struct.calcsize(order + offset)
        if values * struct.calcsize(order + _WHOLE_NUMBERS[kind]) > struct.calcsize(order + offset):
            place = struct.unpack_from(order + offset, block, place)[0]
        layout = f"{order}{min(values, 8)}{_WHOLE_NUMBERS[kind]}"
        if place + struct.calcsize(layout) <= len(block):
            found[tag] = struct.unpack_from(layout, block, place)
    return found


_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


def valid_orientation(orientation: int = 1) -> int:
    """Return an EXIF orientation, or 1 for a value that is none."""
    return orientation if 1 <= orientation <= 8 else 1


def _big_endian(data: bytes) -> int:
    return int.from_bytes(data, "big")
