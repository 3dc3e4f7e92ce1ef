"""Builders of valid but rare files: TIFFs of every layout, lossless JPEGs, PNGs with rows missing.

In: arrays and options. Out: bytes. Written without an image library, so that each layout is exactly what it says.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from hostile import animated, bad_crc_png, chunk, cmyk_jpeg, encode, jpeg, photo, png, png16, truncated, with_fake_end
from images.profiles import jpeg_with_profile, profile
from PIL import Image  # noqa: TID253

Array = npt.NDArray[Any]
_KINDS = {"u": 1, "i": 2, "f": 3}


def tiff_of(
    values: Array,
    *,
    big_endian: bool = False,
    compressed: bool = False,
    planar: bool = False,
    tile: int = 0,
    white_is_zero: bool = False,
    orientation: int = 1,
    subfile: int = 0,
    bits: int = 0,
    more: dict[int, tuple[str, list[int]]] | None = None,
) -> bytes:
    """A TIFF of ``(height, width)`` or ``(height, width, samples)`` numbers, in one strip a plane or in tiles.

    ``more`` are other tags, or other values: struct's letter and numbers.
    """
    values = values[:, :, np.newaxis] if values.ndim == 2 else values
    order = ">" if big_endian else "<"
    height, width, samples = values.shape
    planes = [values[:, :, [n]] for n in range(samples)] if planar else [values]
    blocks = []
    for plane in planes:
        if not tile:
            blocks.append(plane)
            continue
        padded = np.zeros((-(-height // tile) * tile, -(-width // tile) * tile, plane.shape[2]), values.dtype)
        padded[:height, :width] = plane
        blocks += [
            padded[top : top + tile, left : left + tile]
            for top in range(0, height, tile)
            for left in range(0, width, tile)
        ]
    bodies = [block.astype(block.dtype.newbyteorder(order)).tobytes() for block in blocks]
    if bits == 1:
        bodies = [np.packbits(block.astype(bool), axis=1).tobytes() for block in blocks]
    bodies = [zlib.compress(body) if compressed else body for body in bodies]
    photometric = 2 if samples >= 3 else 0 if white_is_zero else 1
    tags: dict[int, tuple[str, list[int]]] = {
        254: ("I", [subfile]),
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits or values.dtype.itemsize * 8] * samples),
        259: ("H", [8 if compressed else 1]),
        262: ("H", [photometric]),
        274: ("H", [orientation]),
        277: ("H", [samples]),
        284: ("H", [2 if planar else 1]),
        339: ("H", [_KINDS[values.dtype.kind]] * samples),
    }
    if samples in (2, 4):
        tags[338] = ("H", [2])
    tags |= more or {}
    if tile:
        tags |= {322: ("I", [tile]), 323: ("I", [tile]), 324: ("I", []), 325: ("I", [len(body) for body in bodies])}
    else:
        tags |= {273: ("I", []), 278: ("I", [height]), 279: ("I", [len(body) for body in bodies])}
    offsets, at = [], 8
    for body in bodies:
        offsets.append(at)
        at += len(body) + len(body) % 2
    tags[324 if tile else 273] = ("I", offsets)
    content = b"".join(body + b"\0" * (len(body) % 2) for body in bodies)
    entries, more = b"", b""
    after = at + 2 + 12 * len(tags) + 4
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(packed) > 4:
            packed, more = struct.pack(order + "I", after + len(more)), more + packed
        entries += struct.pack(order + "HHI", tag, 3 if kind == "H" else 4, len(numbers)) + packed.ljust(4, b"\0")
    start = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(order + "I", at)
    return start + content + struct.pack(order + "H", len(tags)) + entries + bytes(4) + more


def big_tiff_of(image: Array) -> bytes:
    """A big-endian BigTIFF of uint8 gray pixels, uncompressed."""
    height, width = image.shape
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 16),
        (277, 1),
        (278, height),
        (279, image.size),
    ]
    entries = b"".join(struct.pack(">HHQI4x", tag, 4, 1, value) for tag, value in tags)
    start = struct.pack(">2sHHHQ", b"MM", 43, 8, 0, 16 + image.size)
    return start + image.tobytes() + struct.pack(">Q", len(tags)) + entries + bytes(8)


def with_larger_page_below(data: bytes, width: int) -> bytes:
    """A little-endian TIFF whose tag 330 names a page of this width."""
    at = data.index(struct.pack("<HHI", 330, 4, 1)) + 8
    page = struct.pack("<HHHII", 1, 256, 4, 1, width) + bytes(4)
    return data[:at] + struct.pack("<I", len(data)) + data[at + 4 :] + page


def arithmetic_jpeg(*, progressive: bool = False) -> bytes:
    """A JPEG of 48x32 pixels whose values are coded arithmetically (libjpeg-turbo 2.1 wrote it)."""
    return base64.b64decode(_PROGRESSIVE_ARITHMETIC if progressive else _ARITHMETIC)


def lossless_jpeg(image: Array) -> bytes:
    """A lossless JPEG (ITU-T T.81, annex H) of uint8 gray or RGB: each sample predicted from its left neighbor."""
    image = image[:, :, np.newaxis] if image.ndim == 2 else image
    height, width, samples = image.shape
    bits: list[str] = []
    previous = np.full(samples, 128)
    for row in range(height):
        for column in range(width):
            if column == 0:
                previous = image[row - 1, 0].astype(int) if row else np.full(samples, 128)
            for sample in range(samples):
                step = int(image[row, column, sample]) - int(previous[sample])
                size = abs(step).bit_length()
                bits.append(format(size, "04b"))  # sixteen codes of four bits, but all ones is no code: see the table
                if size:
                    bits.append(format(step if step > 0 else step + (1 << size) - 1, f"0{size}b"))
            previous = image[row, column].astype(int)
    joined = "".join(bits)
    joined += "1" * (-len(joined) % 8)
    scan = int(joined, 2).to_bytes(len(joined) // 8, "big").replace(b"\xff", b"\xff\0")
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(samples))
    frame = struct.pack(">BHHB", 8, height, width, samples) + parts
    table = bytes([0, 0, 0, 0, 9, *[0] * 12]) + bytes(range(9))  # nine codes, all four bits long, for 0 to 8 bits
    selectors = b"".join(bytes([number + 1, 0]) for number in range(samples))
    start = bytes([samples]) + selectors + bytes([1, 0, 0])
    adobe = b"Adobe" + bytes([0, 100, 0, 0, 0, 0, 0])  # transform 0: RGB as it is
    segments = b"".join(
        b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
        for marker, body in ((0xEE, adobe), (0xC3, frame), (0xC4, table), (0xDA, start))
    )
    return b"\xff\xd8" + segments + scan + b"\xff\xd9"


def short_png(image: Array, rows: int, *, interlaced: bool = False) -> bytes:
    """A PNG of uint8 gray pixels whose data ends ``rows`` early, with valid checksums."""
    height, width = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, int(interlaced))
    if interlaced:
        data = interlaced_rows(image)
        data = data[: len(data) - rows * (width + 1)] if rows else data
    else:
        data = b"".join(b"\0" + row.tobytes() for row in image[: height - rows])
    return png(chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)))


def interlaced_rows(image: Array) -> bytes:
    """The seven passes of Adam7 (PNG, 8.2), each row without a filter."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    return b"".join(
        b"\0" + row.tobytes()
        for left, top, across, down in passes
        for row in image[top::down, left::across]
        if row.size
    )


def palette_gif() -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo(40, 60, 3)).convert("P").save(file, "GIF", transparency=3)
    return file.getvalue()


def gif_with_a_damaged_later_frame() -> bytes:
    """Its blocks are whole, but no decoder knows how to show the second one."""
    first = encode(photo(32, 32, 8), "GIF")
    control = b"\x21\xf9\x01\x00\x00"  # too short to hold what a graphic control holds
    second = b"\x2c" + struct.pack("<HHHHB", 0, 0, 32, 32, 0) + b"\x08\x02\x4c\x01\x00"
    return first[:-1] + control + second + b"\x3b"


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment at its start."""
    return data[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def with_wrong_scan_parameters(data: bytes) -> bytes:
    """As some cameras write them: zeros where a sequential JPEG must have 0, 63, 0."""
    at = data.index(b"\xff\xda")
    end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
    return data[: end - 3] + b"\0\0\0" + data[end:]


def gray_ramp(kind: str = "u1", height: int = 40, width: int = 56) -> Array:
    """Rows that rise from dark to bright, over the whole range of the type; floats from 0 to 1."""
    ramp = np.broadcast_to(np.linspace(0, 1, width), (height, width))
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return ramp.astype(dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return (low + ramp * (float(high) - low)).clip(low, high - high // 1000).astype(dtype)


def color_ramp(kind: str = "u1") -> Array:
    """Three different ramps: right, left, constant."""
    gray = gray_ramp(kind)
    return np.stack((gray, gray[:, ::-1], np.full_like(gray, gray[0, 20])), axis=2)


_ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYV"
    "pQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//yQARCAAg"
    "ADADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AK9rLow++mavL94DJil5tVB3cj4oUqMYanlKaAjyGPluvRpCJiHwPXzI/f"
    "0u7mRLTZhGh3GTyU+FT7IMegMoh8+zssl4YGVY3u7WJq6SnSUMJ1jPXLB2NNBPOcgQ+v8AzYfbfugBGKji64+/1tRGLwTrgnO+IBrw/9k="
)
_PROGRESSIVE_ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYV"
    "pQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//ygARCAAg"
    "ADADASIAAhEBAxEB/8wABgAQARD/2gAMAwEAAhADEAAAAf8AVRAEKflimFsKLDGLIYwe1zhJkK9Kucvj49uq+8Mg/8wABBAF/9oACAEBAAEFAq"
    "PHfsNpVZ9Zk0D/zAAEEQX/2gAIAQMBAT8BF7beVAeEjPT/zAAEEQX/2gAIAQIBAT8BJkBd9fa/FVBFCDUf1YD/zAAEEAX/2gAIAQEABj8CsP/M"
    "AAQQBf/aAAgBAQABPyHhKE7RCypAqv/aAAwDAQACAAMAAAAQx0kD95D/zAAEEQX/2gAIAQMBAT8QttD/zAAEEQX/2gAIAQIBAT8QYk1EgStJRt"
    "YHBZ4T+2Mk5dcg/8wABBAF/9oACAEBAAE/EKY4rl2t68NiC4M2IP/Z"
)

ODD = {
    "lossless RGB.jpg": lambda: lossless_jpeg(photo(40, 60, 1)),
    "lossless gray.jpg": lambda: lossless_jpeg(photo(40, 60, 1)[:, :, 0]),
    "lossless truncated.jpg": lambda: truncated(lossless_jpeg(photo(40, 60, 1)), 0.7),
    "CMYK.jpg": lambda: cmyk_jpeg(photo(seed=2)),
    "CMYK truncated.jpg": lambda: truncated(cmyk_jpeg(photo(seed=2)), 0.6),
    "RGB stored.jpg": lambda: encode(photo(seed=3), "JPEG", keep_rgb=True),
    "progressive truncated.jpg": lambda: truncated(jpeg(300, 400, progressive=True), 0.8),
    "fake end.jpg": lambda: with_fake_end(jpeg(300, 400), 0.7),
    "bad profile.jpg": lambda: with_segment(jpeg(), 0xE2, b"ICC_PROFILE\0\5\2" + bytes(40)),
    "scan parameters.jpg": lambda: with_wrong_scan_parameters(jpeg()),
    "arithmetic.jpg": arithmetic_jpeg,
    "arithmetic progressive.jpg": lambda: arithmetic_jpeg(progressive=True),
    "arithmetic truncated.jpg": lambda: arithmetic_jpeg()[:-40] + b"\xff\xd9",
    "wide gamut.jpg": lambda: jpeg_with_profile(jpeg(seed=9), profile("Display P3")),
    "XYB.jpg": lambda: jpeg_with_profile(jpeg(seed=9), profile("sRGB", called="XYB_Per")),
    "two components.jpg": lambda: _components(jpeg(), 2),
    "palette.gif": palette_gif,
    "animated.gif": animated,
    "later frame.gif": gif_with_a_damaged_later_frame,
    "animated truncated.gif": lambda: truncated(animated(), 0.8),
    "animated.webp": lambda: animated("WEBP"),
    "two pages.tif": lambda: animated("TIFF"),
    "16 bit.png": lambda: png16(gray_ramp("u2")),
    "16 bit RGB.png": lambda: png16(color_ramp("u2"), color_type=2),
    "16 bit with alpha.png": lambda: png16(np.dstack((gray_ramp("u2"), gray_ramp("u2"))), color_type=4),
    "rows missing.png": lambda: short_png(photo(40, 60, 4)[:, :, 0], 5),
    "rows missing interlaced.png": lambda: short_png(photo(40, 60, 4)[:, :, 0], 5, interlaced=True),
    "checksum.png": lambda: bad_crc_png(photo(seed=5)),
    "truncated.png": lambda: truncated(encode(photo(seed=6), "PNG"), 0.9),
    "large note.png": lambda: _noted(2_000_000),
    "JPEG 2000.tif": lambda: tiff_of(color_ramp(), more={259: ("H", [34712])}),
    "big.tif": lambda: big_tiff_of(gray_ramp()),
    "photo.dng": lambda: tiff_of(color_ramp(), more={50706: ("I", [1])}),
    "gray and alpha.tif": lambda: encode(np.dstack((gray_ramp(), gray_ramp())), "TIFF"),
    "1 bit.tif": lambda: tiff_of((gray_ramp() > 100).astype("u1"), bits=1),
    **{
        f"{kind} {name}{' planar' * planar}{' tiled' * bool(tile)}{' big' * big}{' zip' * compressed}.tif": (
            lambda kind=kind, make=make, planar=planar, tile=tile, big=big, compressed=compressed: tiff_of(
                make(kind), planar=planar, tile=tile, big_endian=big, compressed=compressed
            )
        )
        for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")
        for name, make in (("gray", gray_ramp), ("RGB", color_ramp))
        for planar in ((False, True) if name == "RGB" else (False,))
        for tile in (0, 16)
        for big in (False, True)
        for compressed in (False, True)
    },
    "white is zero.tif": lambda: tiff_of(gray_ramp("u2")[:, ::-1], white_is_zero=True),
    "white is zero zip.tif": lambda: tiff_of(gray_ramp("u2")[:, ::-1], white_is_zero=True, compressed=True),
    "white is zero float.tif": lambda: tiff_of(gray_ramp("f4")[:, ::-1], white_is_zero=True),
    "float RGB turned.tif": lambda: tiff_of(color_ramp("f4"), orientation=6),
    "planar RGB truncated.tif": lambda: truncated(tiff_of(color_ramp(), planar=True), 0.5),
    "preview.nef": lambda: tiff_of(color_ramp(), subfile=1),
}
"""Name -> builder of a file that some decoders read and others do not."""


def _components(data: bytes, count: int) -> bytes:
    at = data.index(b"\xff\xc0")
    return data[: at + 9] + bytes([count]) + data[at + 10 :]


def _noted(size: int) -> bytes:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * size))
    data = encode(photo(seed=7), "PNG")
    return data[:33] + text + data[33:]
