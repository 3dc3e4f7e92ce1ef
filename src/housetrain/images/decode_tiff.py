"""Which TIFFs are decoded, and by what: a TIFF can store numbers that no decoder here reads correctly.

In: the bytes of a TIFF. Out: a `TiffLayout`: how its first page stores the pixels, why it is not supported, and its
pixels where Pillow returns other numbers than the file holds. It does not know other formats or the model input.

Pillow and OpenCV accept some layouts and return wrong pixels without an error: OpenCV returns uninitialized memory for
separate color planes, Pillow returns swapped bytes for compressed big-endian floats, and negatives for 16-bit images
in which 0 is white. Only layouts that the tests compare with the numbers in the file are accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from housetrain.errors import DecodeError
from housetrain.images.sniff import tiff_tags, valid_orientation
from housetrain.images.unsupported import UNSUPPORTED

if TYPE_CHECKING:
    from PIL.Image import Image

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_ORIENTATION, _SAMPLES, _PLANAR, _SAMPLE_FORMAT = 274, 277, 284, 339
_SUB_PAGES, _DNG = 330, 50706
_SENSOR = {32803, 34892}  # a color filter array, or linear sensor data (DNG 1.7, chapter 4)
_TAGS = {
    _SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _PLANAR, _SAMPLE_FORMAT,
    _SUB_PAGES, _DNG,
}  # fmt: skip
_KINDS = {1: "unsigned", 2: "signed", 3: "float"}  # TIFF 6.0, section 19
_WHITE_IS_ZERO, _RGB = 0, 2
_READ = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000}  # compressions that libtiff reads in Pillow
_READ_BY_OPENCV = {1, 5, 8, 32773, 32946}
_COMPRESSIONS = {
    6: "old JPEG", 7: "JPEG", 9: "JBIG", 10: "JBIG", 32766: "NeXT", 32767: "Sony RAW", 32769: "packed RAW",
    32770: "Samsung RAW", 32809: "ThunderScan", 33003: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG",
    34676: "SGI LogLuv", 34677: "SGI LogLuv", 34712: "JPEG 2000", 34713: "Nikon RAW", 34715: "JBIG2", 34887: "LERC",
    34892: "lossy JPEG", 34925: "LZMA", 34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard", 50001: "WebP",
    50002: "JPEG XL", 65000: "Kodak RAW", 65535: "Pentax RAW",
}  # fmt: skip


@dataclass(frozen=True)
class TiffLayout:
    """How the first page of a TIFF stores its pixels.

    Args:
        width: Pixels as stored.
        height: Pixels as stored.
        orientation: EXIF tag 274, 1 to 8.
        bits: Bits of the first sample of a pixel.
        samples: Samples a pixel: 1 grayscale or palette, 3 RGB, more with alpha or others.
        kind: ``"unsigned"``, ``"signed"``, ``"float"``, or ``"other"``.
        photometric: Tag 262: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, ...
        planar: Whether each color is stored as an image of its own.
        big_endian: Whether the file begins with the high byte of each number.
        compression: Tag 259.
        big: Whether it is a BigTIFF.
        preview: Whether the file is a camera RAW file, or the page is a small version of another one, as in these.
    """

    width: int
    height: int
    orientation: int
    bits: int
    samples: int
    kind: str
    photometric: int
    planar: bool
    big_endian: bool
    compression: int
    big: bool
    preview: bool

    @property
    def swapped(self) -> bool:
        """Whether the samples are big-endian and compressed."""
        return self.big_endian and self.compression != 1

    @property
    def by_opencv(self) -> bool:
        """Whether OpenCV decodes it: RGB of 32-bit or 64-bit floats, for which Pillow has no mode."""
        return self.photometric == _RGB and self.samples == 3 and self.kind == "float"

    def check_supported(self) -> None:
        """Raise `DecodeError` for a layout that would give wrong pixels."""
        if self.preview:
            raise DecodeError(f"{UNSUPPORTED} (camera RAW, or its first page is a preview)")
        if self.compression not in (_READ_BY_OPENCV if self.by_opencv else _READ):
            name = _COMPRESSIONS.get(self.compression, f"number {self.compression}")
            raise DecodeError(f"unsupported TIFF (compression: {name})")
        sixteen = self.kind == "unsigned" and self.bits == 16
        separate = self.planar and self.samples > 1
        unsupported = (
            (separate and (self.bits != 8 or self.photometric != _RGB))
            or self.kind == "other"
            or (self.kind == "signed" and (self.bits not in (16, 32) or self.samples > 1))
            or (self.kind == "float" and self.bits not in ((32, 64) if self.by_opencv else (32,)))
            or (self.by_opencv and self.orientation != 1)
            or (self.swapped and self.bits > 8 and not sixteen)
            or (self.photometric == _WHITE_IS_ZERO and self.bits > 8 and not sixteen)
            or (self.big and self.big_endian)
        )
        if unsupported:
            raise DecodeError(self.unsupported)

    @property
    def unsupported(self) -> str:
        """The reason to give when no decoder reads this layout."""
        words = [f"{self.bits}-bit {self.kind}"]
        if self.samples > 1:
            words.append(f"{self.samples} samples in {'separate planes' if self.planar else 'each pixel'}")
        if self.swapped:
            words.append("big-endian, compressed")
        if self.big and self.big_endian:
            words.append("big-endian BigTIFF")
        if self.orientation != 1:
            words.append(f"orientation {self.orientation}")
        return f"unsupported TIFF ({', '.join(words)})"

    def values(self, image: Image) -> npt.NDArray[Any]:
        """Return the numbers of a decoded grayscale page of more than 8 bits, black at the low end.

        Args:
            image: The page as Pillow opened it, of mode ``I``, ``I;16``, ``I;16B`` or ``F``.
        """
        values: npt.NDArray[Any] = np.asarray(image)
        if self.kind == "unsigned" and self.bits == 32:
            values = values.view(np.uint32)  # Pillow has signed integers only
        elif self.kind == "unsigned" and self.bits == 12:
            values = values << 4 | values >> 8
        return np.uint16(65535) - values if self.photometric == _WHITE_IS_ZERO else values


def read_layout(data: bytes) -> TiffLayout | None:
    """Read the layout of the first page, or return ``None`` where its size cannot be found.

    Args:
        data: The whole file.

    Raises:
        DecodeError: ``truncated``: the description of the page lies beyond the end.
    """
    at = data[8:16] if data[2:4] in (b"+\0", b"\0+") else data[4:8]
    if int.from_bytes(at, "big" if data[:2] == b"MM" else "little") >= len(data):
        raise DecodeError("truncated")
    tags = tiff_tags(data, _TAGS)
    first = {tag: values[0] for tag, values in tags.items() if values}
    width, height = first.get(_WIDTH, 0), first.get(_HEIGHT, 0)
    if not width or not height:
        return None
    return TiffLayout(
        width,
        height,
        orientation=valid_orientation(first.get(_ORIENTATION, 1)),
        bits=max(tags.get(_BITS) or (1,)),
        samples=first.get(_SAMPLES, 1),
        kind=_KINDS.get(first.get(_SAMPLE_FORMAT, 1), "other"),
        photometric=first.get(_PHOTOMETRIC, 0),
        planar=first.get(_PLANAR, 1) == 2,
        big_endian=data[:2] == b"MM",
        compression=first.get(_COMPRESSION, 1),
        big=data[2:4] in (b"+\0", b"\0+"),
        preview=_is_preview(data, tags),
    )


def _is_preview(data: bytes, tags: dict[int, tuple[int, ...]]) -> bool:
    """Whether the first page is not the image: it says so, or is a sensor's data, or a larger one lies below it."""
    raw = _DNG in tags or tags.get(_PHOTOMETRIC, (0,))[0] in _SENSOR
    below = (tiff_tags(data, {_WIDTH}, at=at).get(_WIDTH, (0,))[0] for at in tags.get(_SUB_PAGES, ()))
    return raw or bool(tags.get(_SUBFILE, (0,))[0] & 1) or any(width > tags[_WIDTH][0] for width in below)
