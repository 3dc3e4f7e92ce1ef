"""One file of a folder of images, as a scan finds it.

In: the facts of a file. Out: an `ImageRecord`, and records as columns of plain values for JSON. It opens no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from housetrain.images.sniff import Header


class FileStamp(NamedTuple):
    """What changes when a file changes: size in bytes, modification time in ns since the epoch, inode number."""

    bytes: int = 0
    mtime_ns: int = 0
    inode: int = 0


class Hashes(NamedTuple):
    """Hexadecimal, ``""`` if unknown: 64 bits of coarse structure, 256 bits of finer structure, 4x4 gray values.

    And ``shape``, base64: the lowest 8x8 frequencies, see `housetrain.data.turned_shapes`.
    """

    coarse: str = ""
    fine: str = ""
    tiny: str = ""
    shape: str = ""


class Brightness(NamedTuple):
    """Statistics of the 64x64 grayscale thumbnail.

    ``mean`` (0 to 255) and ``std`` (0 to 127.5) of its pixels, and the variance of its Laplacian as ``sharpness``:
    below about 100 only soft shapes are left. ``border`` and ``border_std`` are those of its outermost pixels.
    """

    mean: float = 0.0
    std: float = 0.0
    sharpness: float = 0.0
    border: float = 0.0
    border_std: float = 0.0


_NO_HEADER, _NO_HASHES, _NO_BRIGHTNESS = Header(), Hashes(), Brightness()


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One file of a catalog.

    Args:
        path: Relative to the root, with ``/``; undecodable bytes are surrogate escapes, as :func:`os.fsdecode` gives.
        label: The class: the name of the class folder.
        split: ``"train"``, ``"validation"`` or ``"test"`` in ready-made folders, else ``None``.
        stamp: Size and times of the file.
        sha256: Of the file's bytes, 64 hexadecimal digits; ``""`` when they cannot be read.
        header: Format, size and color mode; empty when the header cannot be read.
        hashes: Perceptual hashes, for near-duplicates.
        brightness: Brightness and sharpness.
        reason: Why the image cannot be used; ``""`` when it can.
        oddity: A harmless defect of the file, or ``""``.
        peak: The largest value of a 16-bit image, or an upper limit that needs as many bits; 0 for other images.
        profile: Name of the color profile that is converted to sRGB, or ``""``.
    """

    path: str
    label: str
    split: str | None
    stamp: FileStamp
    sha256: str = ""
    header: Header = _NO_HEADER
    hashes: Hashes = _NO_HASHES
    brightness: Brightness = _NO_BRIGHTNESS
    reason: str = ""
    oddity: str = ""
    peak: int = 0
    profile: str = ""

    @property
    def usable(self) -> bool:
        """Whether the image can be decoded."""
        return not self.reason


_OWN = ("path", "label", "split", "sha256", "reason", "oddity", "peak", "profile")
_GROUPS: dict[str, Any] = {"stamp": FileStamp, "header": Header, "hashes": Hashes, "brightness": Brightness}


class NearCopies(NamedTuple):
    """What `housetrain.data.duplicates.near_copies` found.

    Attributes:
        groups: Groups of two or more images that look the same, sorted by path, in the order of their first paths.
        turned: Whether mirrored, rotated and cropped copies were looked for. In a set of one background they cannot be
            told from other images.
    """

    groups: tuple[tuple[ImageRecord, ...], ...]
    turned: bool = True


def to_columns(images: Iterable[ImageRecord]) -> dict[str, list[Any]]:
    """Return one list a field: a third of the size and time of one object per image."""
    images = tuple(images)
    columns = {name: [getattr(image, name) for image in images] for name in _OWN}
    for group, kind in _GROUPS.items():
        for name in kind._fields:
            columns[f"{group}.{name}"] = [getattr(getattr(image, group), name) for image in images]
    return columns


def from_columns(columns: dict[str, list[Any]]) -> Iterator[ImageRecord]:
    """Return the records that `to_columns` was given.

    Raises:
        KeyError: A column is missing.
        ValueError: The columns are not of one length.
    """
    own = zip(*(columns[name] for name in _OWN), strict=True)
    groups = (
        map(kind._make, zip(*(columns[f"{group}.{name}"] for name in kind._fields), strict=True))
        for group, kind in _GROUPS.items()
    )
    for values, *parts in zip(own, *groups, strict=True):
        yield ImageRecord(**dict(zip(_OWN, values, strict=True)), **dict(zip(_GROUPS, parts, strict=True)))
