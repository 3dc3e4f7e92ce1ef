"""One file -> what a catalog says about it: runs in the workers, once per image.

In: a root and a relative path. Out: `Facts`, or a `DecodeError` for a file whose bytes cannot even be had. It does not
know labels, other images, or what is too dark.

Every image is decoded fully and strictly here (JPEGs at the smallest scale that still reads all of the data), which
is what makes `check` trustworthy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from housetrain.errors import DecodeError
from housetrain.images.decode import Header, examine, probe, read_bytes
from housetrain.images.pixel_ops import Pixels

THUMBNAIL = 64
"""Side, in pixels, of the gray thumbnail that brightness and sharpness are measured on."""


class Facts(NamedTuple):
    """What one file is; the fields are those of :class:`housetrain.data.catalog.Image`."""

    format: str
    width: int
    height: int
    mode: str
    frames: int
    orientation: int
    sha256: str
    phash: str
    mean: float
    std: float
    sharpness: float
    reason: str
    detail: str
    oddity: str


@dataclass(frozen=True)
class Look:
    """Look at a file of a folder. A frozen value, so that it travels to workers.

    Args:
        root: The folder, absolute.
    """

    root: Path

    def __call__(self, path: str) -> Facts:
        """Return the facts of one file, relative to the root; ``reason`` is not empty for an image to leave out."""
        data = read_bytes(self.root / path)
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            seen = examine(data, color_mode="grayscale", at_least=(THUMBNAIL, THUMBNAIL))
        except DecodeError as error:
            return _facts(_header_if_any(data), sha256, reason=error.reason)
        thumbnail = cv2.resize(seen.pixels, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        gray = np.asarray(thumbnail, dtype=np.uint8)
        return _facts(seen.header, sha256, oddity=seen.oddity)._replace(
            phash=perceptual_hash(gray),
            detail=difference_hash(gray),
            mean=round(float(gray.mean()), 2),
            std=round(float(gray.std()), 2),
            sharpness=round(float(cv2.Laplacian(gray, cv2.CV_32F).var()), 1),
        )


def perceptual_hash(gray: Pixels) -> str:
    """Hash the coarse structure of an image: near images differ in few of 64 bits.

    The lowest 8x8 frequencies of the discrete cosine transform of 32x32 pixels, each against their median
    (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1).

    Args:
        gray: uint8 ``(height, width)``.

    Returns:
        16 hexadecimal digits.
    """
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].ravel()
    return np.packbits(low > np.median(low[1:])).tobytes().hex()


def difference_hash(gray: Pixels) -> str:
    """Hash the finer structure: whether brightness rises from each of 16x17 pixels to the next on its right.

    Args:
        gray: uint8 ``(height, width)``.

    Returns:
        64 hexadecimal digits: 256 bits, which confirm what 64 only suspect.
    """
    small = cv2.resize(gray, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def _header_if_any(data: bytes) -> Header:
    try:
        return probe(data)
    except DecodeError:  # the reason is told already; this only adds the size where the header is whole
        return Header("", 0, 0, "", 0, 0)


def _facts(header: Header, sha256: str, *, oddity: str = "", reason: str = "") -> Facts:
    return Facts(
        header.format, header.width, header.height, header.mode, header.frames, header.orientation, sha256,
        phash="", mean=0.0, std=0.0, sharpness=0.0, reason=reason, detail="", oddity=oddity,
    )  # fmt: skip
