"""Thumbnails for pages, as ``data:`` URIs.

In: paths with their sha256, and the folder of the images. Out: thumbnails of the original and of the model input. It
does not know why an image is shown. For an image that is missing, changed or unreadable, the thumbnail holds the reason
instead of an image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from housetrain.data.split_manifest import SPLITS
from housetrain.errors import CorruptError, DecodeError, HousetrainError
from housetrain.system.files import inside, is_relative

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from housetrain.data.prepare import Prepared
    from housetrain.data.split_manifest import SplitName
    from housetrain.images.encode import FileFormat
    from housetrain.images.input_spec import InputSpec

SIDE = 176
"""Longest side of a thumbnail in pixels: sharp at 112 points on a phone."""
ROOM = 2_000_000
"""Bytes for all thumbnails of a page: about 250 photographs."""
_PNG_BELOW = 64  # at such a size PNG is not larger than JPEG, and exact


@dataclass(frozen=True)
class Thumbnail:
    """An image to show.

    Attributes:
        path: Relative to the folder of the images.
        image: ``data:`` URI of the original, or ``None``.
        seen: ``data:`` URI of the model input, or ``None``.
        width: Of ``image``, in pixels.
        height: Of ``image``, in pixels.
        reason: Why there is no image.
    """

    path: str
    image: str | None
    seen: str | None = None
    width: int = 0
    height: int = 0
    reason: str = ""


class Album:
    """Makes thumbnails, each once.

    Args:
        root: The folder of the images; it may be missing.
        spec: The input spec of the model.
        prepared: The prepared arrays, if they exist: they replace originals that are missing.
        room: Total bytes of the thumbnails, so that the page stays small.
    """

    def __init__(self, root: Path, spec: InputSpec, *, prepared: Prepared | None = None, room: int = ROOM) -> None:
        self.root, self.spec, self.prepared, self.room = root, spec, prepared, room
        self._made: dict[tuple[str, str], Thumbnail] = {}
        self._rows: dict[str, tuple[SplitName, int]] | None = None

    def thumbnail(self, path: str, sha256: str = "") -> Thumbnail:
        """Return the thumbnail of an image.

        Args:
            path: Relative to the root.
            sha256: Of its content when it was scanned; a file with another one is not shown. "" shows any content.
        """
        key = (path, sha256)
        if key not in self._made:
            if self.room <= 0:
                return Thumbnail(path, None, reason="not shown, to keep this page small")
            self._made[key] = made = self._make(path, sha256)
            self.room -= len(made.image or "") + len(made.seen or "")
        return self._made[key]

    def _make(self, path: str, sha256: str) -> Thumbnail:
        from housetrain.images import decode
        from housetrain.images.thumbnail import thumbnail

        seen = self._from_arrays(sha256)
        try:
            data = decode.read_bytes(self._place_of(path, sha256))
            if sha256 and hashlib.sha256(data).hexdigest() != sha256:
                raise DecodeError("changed since")
            small = thumbnail(data, SIDE)
            if seen is None:
                seen = decode.load_image(data, self.spec)
        except DecodeError as error:
            if seen is None:
                return Thumbnail(path, None, reason=error.reason)
            small = seen
        return Thumbnail(path, _encode(small), _encode(seen), width=small.shape[1], height=small.shape[0])

    def _place_of(self, path: str, sha256: str) -> Path:
        """Return where an image is. An image whose content is known may lie behind a link, as users arrange them."""
        try:
            return self.root / path if sha256 and is_relative(path) else inside(self.root, path)
        except CorruptError as error:
            raise DecodeError("outside of the folder of the images") from error

    def _from_arrays(self, sha256: str) -> NDArray[np.uint8] | None:
        if self.prepared is None or not sha256:
            return None
        try:
            if self._rows is None:
                self._rows = {
                    digest: (name, row)
                    for name in SPLITS
                    for row, digest in enumerate(self.prepared.arrays(name).sha256)
                }
            if sha256 not in self._rows:
                return None
            name, row = self._rows[sha256]
            image: NDArray[np.uint8] = self.prepared.arrays(name).images[row]
        except (HousetrainError, OSError, ValueError):
            self.prepared = None  # the arrays were deleted meanwhile
            return None
        return image


def _encode(array: NDArray[np.uint8]) -> str:
    from housetrain.images.encode import data_uri, encode

    file_format: FileFormat = "png" if max(array.shape[:2]) < _PNG_BELOW else "jpeg"
    return data_uri(encode(array, file_format, compression=9), file_format)
