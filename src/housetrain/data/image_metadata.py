"""One file -> its `ImageRecord`: what a scan does in the workers, once per image.

In: a root and an `Entry`. Out: an `ImageRecord`, or a `DecodeError` for a file whose bytes cannot be read. It does not
know other images, or which values are too dark or too blurry.

Every image is decoded fully and strictly here (JPEGs at the smallest scale that still reads all of the data), which
is what makes `check` trustworthy.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from housetrain.data.folder_tree import Entry
from housetrain.data.image_record import Brightness, Hashes, ImageRecord
from housetrain.data.turned_shapes import SIZE, packed
from housetrain.errors import DecodeError
from housetrain.images.decode import decode, examine, probe, read_bytes
from housetrain.images.exif import photo_of
from housetrain.images.pixel_ops import Pixels
from housetrain.images.sniff import Header
from housetrain.system.process_pool import Failed, map_in_workers

THUMBNAIL = 64
"""Side, in pixels, of the grayscale thumbnail that brightness and sharpness are measured on."""

TINY = 4
"""Side, in pixels, of the thumbnail that is kept with the record."""

_IN_WORKERS = 64  # files from which starting workers pays


@dataclass(frozen=True)
class Examine:
    """Examine a file of a folder. A frozen value, so that it can be sent to workers.

    Args:
        root: The folder, absolute.
    """

    root: Path

    def __call__(self, entry: Entry) -> ImageRecord:
        """Return the record of one file; it has a ``reason`` where the image cannot be used."""
        data = read_bytes(self.root / entry.path)
        sha256 = hashlib.sha256(data).hexdigest()
        path, label, split, stamp, _ = entry
        try:
            seen = examine(data, color_mode="grayscale", at_least=(THUMBNAIL, THUMBNAIL), white=None)
        except DecodeError as error:
            return ImageRecord(path, label, split, stamp, sha256, _header_if_any(data), reason=error.reason)
        thumbnail = cv2.resize(seen.pixels, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        gray = np.asarray(thumbnail, dtype=np.uint8)
        (mean, std), (_, edges) = _mean_std(gray), _mean_std(cv2.Laplacian(gray, cv2.CV_32F))
        border, border_std = _mean_std(np.concatenate((gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1])))
        brightness = Brightness(
            mean=round(mean, 2), std=round(std, 2), sharpness=round(edges**2, 1),
            border=round(border, 2), border_std=round(border_std, 2),
        )  # fmt: skip
        tiny = cv2.resize(gray, (TINY, TINY), interpolation=cv2.INTER_AREA).tobytes().hex()
        low = low_frequencies(gray)
        hashes = Hashes(perceptual_hash(low), difference_hash(gray), tiny, packed(low))
        photo = photo_of(data)
        header = seen.header._replace(taken=photo.taken, camera=photo.camera, quantization=_quantization(data))
        own = path, label, split, stamp, sha256, header, hashes, brightness, ""
        return ImageRecord(*own, oddity=seen.oddity, peak=seen.peak, profile=seen.profile)


@dataclass(frozen=True)
class SmallGray:
    """Decode a file of a folder at a small size. A frozen value, so that it can be sent to workers.

    Args:
        root: The folder, absolute.
        side: Pixels of a side.
    """

    root: Path
    side: int

    def __call__(self, path: str) -> Pixels:
        """Return uint8 ``(side, side)``."""
        data = read_bytes(self.root / path)
        seen = decode(data, color_mode="grayscale", at_least=(self.side, self.side), white=None)
        gray = cv2.resize(seen, (self.side, self.side), interpolation=cv2.INTER_AREA)
        return np.asarray(gray, dtype=np.uint8)


def small_gray(root: Path, paths: Sequence[str], *, side: int = THUMBNAIL) -> Pixels:
    """Return small grayscale images, uint8 ``(N, side, side)``. A file that cannot be read any more gives noise."""
    found = np.random.default_rng(0).integers(0, 256, (len(paths), side, side), np.uint8)
    open_one = SmallGray(root, side)
    if len(paths) < _IN_WORKERS:
        for place, path in enumerate(paths):
            with contextlib.suppress(DecodeError):
                found[place] = open_one(path)
        return found
    with contextlib.closing(map_in_workers(open_one, paths)) as outcomes:
        for place, outcome in outcomes:
            if not isinstance(outcome, Failed):
                found[place] = outcome
    return found


def _mean_std(values: NDArray[Any]) -> tuple[float, float]:
    """Return what ``values.mean()`` and ``values.std()`` return, several times as fast for small arrays."""
    mean, std = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(std[0, 0])


def low_frequencies(gray: Pixels) -> NDArray[np.float32]:
    """Return the lowest 8x8 frequencies of the discrete cosine transform of 32x32 pixels.

    Args:
        gray: uint8 ``(height, width)``.
    """
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.dct(small)[:SIZE, :SIZE], dtype=np.float32)


def perceptual_hash(frequencies: NDArray[np.float32]) -> str:
    """Hash the coarse structure of an image: similar images differ in few of 64 bits.

    Each of the lowest frequencies against their median (Zauner 2010, "Implementation and benchmarking of perceptual
    image hash functions", section 3.2.1).

    Args:
        frequencies: What `low_frequencies` returned.

    Returns:
        16 hexadecimal digits.
    """
    low = frequencies.ravel()
    median = np.partition(low[1:], 31)[31]  # of 63 values; `np.median` takes ten times as long
    return np.packbits(low > median).tobytes().hex()


def difference_hash(gray: Pixels) -> str:
    """Hash the finer structure: whether brightness rises from each of 16x17 pixels to the next on its right.

    Args:
        gray: uint8 ``(height, width)``.

    Returns:
        64 hexadecimal digits: 256 bits, which confirm or reject candidates found by the perceptual hash.
    """
    small = cv2.resize(gray, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def _quantization(data: bytes) -> int:
    """Return the sum of the first quantization table of a JPEG; 0 for other files and for tables of 16 bits."""
    at = data.find(b"\xff\xdb", 0, 1 << 17) if data[:2] == b"\xff\xd8" else -1
    return sum(data[at + 5 : at + 69]) if at > 0 and len(data) > at + 69 and data[at + 4] < 16 else 0


def _header_if_any(data: bytes) -> Header:
    try:
        return probe(data)
    except DecodeError:  # the reason is known already; this only adds the size where the header is whole
        return Header()
