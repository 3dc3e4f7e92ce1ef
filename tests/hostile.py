"""Builders of images good and bad: what a folder from the real world, or from an enemy, may hold.

In: sizes, formats. Out: bytes, and with `hostile_folder` a whole folder with what must become of each file in it.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image  # noqa: TID253

Array = npt.NDArray[Any]
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")


def photo(height: int = 120, width: int = 160, seed: int = 0) -> Array:
    """An image with the make-up of a photo: soft shapes, an edge, some grain. uint8 RGB."""
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    center = (int(width * draw.uniform(0.3, 0.7)), int(height * draw.uniform(0.3, 0.7)))
    shape = np.zeros((height, width, 3), dtype=np.uint8)
    color_mode = tuple(int(value) for value in draw.integers(40, 215, 3))
    cv2.ellipse(shape, center, (max(1, width // 4), max(1, height // 5)), 30, 0, 360, color_mode, -1)
    image = np.where(shape > 0, (image + 3 * shape.astype(np.int16)) // 4, image)
    grain = cv2.resize(draw.integers(-30, 31, (height // 2 + 1, width // 2 + 1), dtype=np.int16), (width, height))
    return (image + grain[:, :, np.newaxis]).clip(0, 255).astype(np.uint8)


def encode(image: Array, format_: str = "JPEG", **options: Any) -> bytes:
    """Encode an array with Pillow; ``orientation=6`` writes the EXIF tag."""
    orientation = options.pop("orientation", None)
    if orientation is not None:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    if format_ == "JPEG":
        options.setdefault("quality", 90)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format_, **options)
    return file.getvalue()


def jpeg(height: int = 120, width: int = 160, seed: int = 0, **options: Any) -> bytes:
    return encode(photo(height, width, seed), "JPEG", **options)


def cmyk_jpeg(image: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert("CMYK").save(file, "JPEG", quality=95)
    return file.getvalue()


def truncated(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def with_fake_end(data: bytes, share: float) -> bytes:
    """A JPEG cut off inside its pixels that ends as if it were whole."""
    return truncated(data, share) + b"\xff\xd9"


def scan_start(data: bytes) -> int:
    """Where a JPEG's compressed pixels begin."""
    at = data.index(b"\xff\xda")
    return at + 2 + struct.unpack_from(">H", data, at + 2)[0]


def flipped(data: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def bad_crc_png(image: Array) -> bytes:
    """The checksum of the pixel data is wrong; Pillow decodes it without a word."""
    data = encode(image, "PNG")
    at = data.index(b"IDAT")
    return flipped(data, at + 4 + struct.unpack_from(">I", data, at - 4)[0], 0)


def png16(values: Array, *, color_type: int = 0) -> bytes:
    """A PNG of 16 bits a channel; ``values`` uint16, gray (0), RGB (2) or with alpha (4, 6)."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)))


def tiff(values: Array) -> bytes:
    """A TIFF of any numbers: uint16, int32, float32; gray or RGB."""
    array = values if values.ndim == 2 else values[:, :, ::-1]
    good, data = cv2.imencode(".tiff", array)
    assert good
    return bytes(data)


def animated(format_: str = "GIF", frames: int = 3) -> bytes:
    images = [Image.fromarray(photo(64, 80, seed)) for seed in range(frames)]
    file = io.BytesIO()
    images[0].save(file, format_, save_all=True, append_images=images[1:])
    return file.getvalue()


def huge(format_: str, width: int = 60000, height: int = 60000) -> bytes:
    """A small file whose header announces an enormous image."""
    if format_ == "PNG":
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return png(chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1000))))
    if format_ == "JPEG":
        data = bytearray(jpeg(16, 16))
        at = data.index(b"\xff\xc0")
        struct.pack_into(">HH", data, at + 5, height, width)
        return bytes(data)
    if format_ == "GIF":
        data = bytearray(encode(photo(16, 16), "GIF"))
        struct.pack_into("<HH", data, 6, width, height)
        return bytes(data)
    if format_ == "BMP":
        data = bytearray(encode(photo(16, 16), "BMP"))
        struct.pack_into("<ii", data, 18, width, height)
        return bytes(data)
    if format_ == "TIFF":
        data = bytearray(encode(photo(16, 16), "TIFF"))
        at = struct.unpack_from("<I", data, 4)[0]
        for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
            tag = struct.unpack_from("<H", data, entry)[0]
            if tag in (256, 257):
                struct.pack_into("<HII", data, entry + 2, 4, 1, width if tag == 256 else height)
        return bytes(data)
    assert format_ == "WEBP"
    body = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    canvas = b"VP8X" + struct.pack("<I", 10) + body
    inner = encode(photo(16, 16), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(inner)) + b"WEBP" + canvas + inner


HTML = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>Not found</body></html>\n"
TEXT = "A note about Grüße from the photographer.\n".encode() * 4

GOOD = {
    "PNG named.jpg": lambda: encode(photo(seed=1), "PNG"),
    "GIF named.jpg": lambda: encode(photo(seed=2), "GIF"),
    "WebP without extension": lambda: encode(photo(seed=3), "WEBP"),
    "image.avif": lambda: encode(photo(seed=4), "AVIF"),
    "image.tif": lambda: encode(photo(seed=5), "TIFF"),
    "image.bmp": lambda: encode(photo(seed=6), "BMP"),
    "CMYK.jpg": lambda: cmyk_jpeg(photo(seed=7)),
    "palette.png": lambda: _palette(photo(seed=8)),
    "16 bit.png": lambda: png16(photo(seed=9)[:, :, 0].astype(np.uint16) * 257),
    "16 bit.tif": lambda: tiff(photo(seed=10)[:, :, 0].astype(np.uint16) * 257),
    "float.tif": lambda: tiff(photo(seed=11)[:, :, 0].astype(np.float32) / 255),
    "alpha.png": lambda: encode(np.dstack((photo(seed=12), photo(seed=12)[:, :, 0])), "PNG"),
    "progressive.jpg": lambda: jpeg(seed=13, progressive=True),
    "trailing bytes.jpg": lambda: jpeg(seed=14) + b"appended by a camera" * 50,
    "no end mark.jpg": lambda: jpeg(seed=15)[:-2],
    "animated.gif": animated,
    "Grüße 猫.jpg": lambda: jpeg(seed=16),
    "new\nline.jpg": lambda: jpeg(seed=17),
    "deep/er/and deeper/image.JPG": lambda: jpeg(seed=18),
    **{f"EXIF {n}.jpg": (lambda n=n: jpeg(seed=20 + n, orientation=n)) for n in range(1, 9)},
}
"""Name -> builder of a file that must be used."""

LIMIT = " is read up to 100 million; save it smaller or as JPEG"
LIMIT_JPEG = " is read up to 1000 million; save it smaller"
BAD = {
    "zero bytes.jpg": (lambda: b"", "empty file"),
    "page.jpg": (lambda: HTML, "not an image (HTML)"),
    "note.png": (lambda: TEXT, "not an image (text)"),
    "crc.png": (lambda: bad_crc_png(photo(seed=30)), "damaged (wrong checksum of IDAT)"),
    "fake end.jpg": (lambda: with_fake_end(jpeg(seed=31), 0.6), "damaged (premature end of data segment)"),
    "bomb.png": (lambda: huge("PNG"), "too many pixels (60000x60000): PNG" + LIMIT),
    "bomb.gif": (lambda: huge("GIF"), "too many pixels (60000x60000): GIF" + LIMIT),
    "bomb.jpg": (lambda: huge("JPEG"), "too many pixels (60000x60000): JPEG" + LIMIT_JPEG),
    "bomb.tif": (lambda: huge("TIFF"), "too many pixels (60000x60000): TIFF" + LIMIT),
    "bomb.bmp": (lambda: huge("BMP"), "too many pixels (60000x60000): BMP" + LIMIT),
    "bomb.webp": (lambda: huge("WEBP", 16384, 16384), "too many pixels (16384x16384): WEBP" + LIMIT),
    "document.jpg": (lambda: b"%PDF-1.7\n" + bytes(600), "not a supported image (PDF)"),
    "zeros.jpg": (lambda: bytes(5000), "not an image (only zero bytes)"),
    **{
        f"cut at {percent} %.jpg": (
            (lambda percent=percent: truncated(jpeg(seed=40 + percent), percent / 100)),
            "truncated",
        )
        for percent in (10, 30, 50, 70, 90, 99)
    },
    **{
        f"cut.{format_.lower()}": (
            (lambda format_=format_: truncated(encode(photo(seed=35), format_), 0.6)),
            "truncated",
        )
        for format_ in ("PNG", "GIF", "BMP", "TIFF", "WEBP")
    },
}
"""Name -> (builder of a file that must be left out, the reason)."""


def _palette(image: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).quantize(64).save(file, "PNG")
    return file.getvalue()


def hostile_folder(root: Path, *, special: bool = True) -> dict[str, str]:
    """Fill ``root`` with two classes of good, odd and bad files.

    Args:
        root: An empty or missing folder.
        special: Whether to add what is no file: a FIFO, symlinks that dangle or go in circles.

    Returns:
        Path relative to the root -> reason why it must be left out, ``""`` for what must be used. Files to be ignored
        (`Thumbs.db`, `._x.jpg`, ...) are there too, but not in the answer.
    """
    expected: dict[str, str] = {}

    def put(name: str, data: bytes, reason: str) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        expected[name] = reason

    for name, build in GOOD.items():
        put(f"good/{name}", build(), "")
    for name, (build, reason) in BAD.items():
        put(f"bad/{name}", build(), reason)
    for number in range(6):
        put(f"bad/plain {number}.jpg", jpeg(seed=200 + number), "")
    undecodable = b"not \xff utf-8.jpg"
    try:
        with open(os.path.join(os.fsencode(root / "good"), undecodable), "wb") as file:  # noqa: PTH118, PTH123 - bytes
            file.write(jpeg(seed=300))
        expected["good/" + os.fsdecode(undecodable)] = ""
    except OSError:
        pass  # some file systems only take UTF-8
    for name in ("Thumbs.db", ".DS_Store", "._x.jpg", ".hidden/inside.jpg", "__MACOSX/inside.jpg"):
        path = root / "bad" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"litter")
    if special:
        os.mkfifo(root / "bad" / "pipe.jpg")
        expected["bad/pipe.jpg"] = "not a file (FIFO)"
        (root / "bad" / "dangling.jpg").symlink_to("nowhere.jpg")
        expected["bad/dangling.jpg"] = "dangling symlink"
        (root / "bad" / "circle.jpg").symlink_to("circle.jpg")
        expected["bad/circle.jpg"] = "symlink loop"
        (root / "bad" / "circle").symlink_to("..", target_is_directory=True)
        expected["bad/circle"] = "symlink loop"
        (root / "good" / "linked.jpg").symlink_to("image.bmp")
        expected["good/linked.jpg"] = ""
    return expected
