"""Images for the report: small, inside the page, and only those that were really meant.

In: paths with the sha256 they had, and the folder they lie in. Out: thumbnails as ``data:`` addresses, of the original
and of what the model sees. It does not know why an image is shown. An image that is gone, changed or unreadable gives
a thumbnail without an image, and the reason; the report goes on.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.data.split_manifest import SPLITS
from housetrain.errors import DecodeError, HousetrainError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from housetrain.data.prepare import Prepared
    from housetrain.data.split_manifest import SplitName
    from housetrain.images.input_spec import InputSpec

SIDE = 176
"""Longest side of a thumbnail in pixels: sharp at 112 points on a phone."""
ROOM = 2_000_000
"""Bytes for all thumbnails of a page: some 250 photographs."""
_PNG_BELOW = 64  # so small, PNG is not larger than JPEG, and exact


@dataclass(frozen=True)
class Thumbnail:
    """An image to show.

    Attributes:
        path: Relative to the folder of the images.
        image: ``data:`` address of the original, or ``None``.
        seen: ``data:`` address of what the model sees, or ``None``.
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
        root: The folder of the images, if it is still there.
        spec: What the model eats.
        prepared: The prepared arrays, if they are still there: they stand in for originals that are gone.
        room: Make thumbnails of at most so many bytes in all, so that the page stays small.
    """

    def __init__(self, root: Path, spec: InputSpec, *, prepared: Prepared | None = None, room: int = ROOM) -> None:
        self.root, self.spec, self.prepared, self.room = root, spec, prepared, room
        self._made: dict[tuple[str, str], Thumbnail] = {}
        self._place: dict[str, tuple[SplitName, int]] | None = None

    def thumbnail(self, path: str, sha256: str = "") -> Thumbnail:
        """Return an image, made small.

        Args:
            path: Relative to the root.
            sha256: Of its content when it was scanned; a file that has another now is not shown. "" shows any.
        """
        key = (path, sha256)
        if key not in self._made:
            if self.room <= 0:
                return Thumbnail(path, None, reason="not shown, to keep this page small")
            self._made[key] = made = self._make(path, sha256)
            self.room -= len(made.image or "") + len(made.seen or "")
        return self._made[key]

    def _make(self, path: str, sha256: str) -> Thumbnail:
        from housetrain.data import contact_sheet
        from housetrain.images import decode

        seen = self._from_arrays(sha256)
        try:
            data = decode.read_bytes(self.root / path)
            if sha256 and hashlib.sha256(data).hexdigest() != sha256:
                raise DecodeError("changed since")
            small = contact_sheet.thumbnail(data, SIDE)
            if seen is None:
                seen = decode.load_image(data, self.spec)
        except DecodeError as error:
            if seen is None:
                return Thumbnail(path, None, reason=error.reason)
            small = seen
        return Thumbnail(path, _encode(small), _encode(seen), width=small.shape[1], height=small.shape[0])

    def _from_arrays(self, sha256: str) -> NDArray[np.uint8] | None:
        if self.prepared is None or not sha256:
            return None
        try:
            if self._place is None:
                self._place = {
                    digest: (name, row) for name in SPLITS for row, digest in enumerate(self.prepared.sha256(name))
                }
            if sha256 not in self._place:
                return None
            name, row = self._place[sha256]
            image: NDArray[np.uint8] = self.prepared.images(name)[row]
        except (HousetrainError, OSError, ValueError):
            self.prepared = None  # the arrays went away while we looked
            return None
        return image


def _encode(array: NDArray[np.uint8]) -> str:
    import cv2
    import numpy as np

    kind = "png" if max(array.shape[:2]) < _PNG_BELOW else "jpeg"
    pixels: Any = np.ascontiguousarray(array)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 82] if kind == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    done, data = cv2.imencode(f".{kind}", pixels, options)
    if not done:
        raise DecodeError("cannot be shown")
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
