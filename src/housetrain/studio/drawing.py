"""Image files -> small pictures for the page, drawn in child processes with limits of time and memory.

In: paths. Out: data URIs, or a reason in words. It knows no page, so that a child starts without Streamlit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from housetrain.errors import DecodeError
from housetrain.images import decode
from housetrain.images.encode import data_uri, encode
from housetrain.images.input_spec import InputSpec
from housetrain.images.thumbnail import thumbnail
from housetrain.system.process_pool import Failed, map_in_workers

Drawn: TypeAlias = tuple[tuple[str, ...], str]
"""The pictures as data URIs, empty strings where there is none, and the reason for that."""


@dataclass(frozen=True)
class Draw:
    """Draws the thumbnail of an image file and, with a spec, what the model gets.

    Attributes:
        side: Longer side of the thumbnail in pixels.
        spec: The model input.
    """

    side: int
    spec: InputSpec | None = None

    def __call__(self, path: str) -> Drawn:
        """Draw one file."""
        try:
            data = decode.read_bytes(Path(path))
            views = [data_uri(encode(thumbnail(data, self.side), "jpeg"), "jpeg")]
            if self.spec is not None:
                views.append(data_uri(encode(decode.load_image(data, self.spec))))
        except DecodeError as error:
            return self.nothing(error.reason)
        return tuple(views), ""

    def nothing(self, reason: str) -> Drawn:
        """Return the result for a file that cannot be drawn."""
        return ("",) * (1 if self.spec is None else 2), reason


def draw(paths: Sequence[str], side: int, spec: InputSpec | None = None) -> list[Drawn]:
    """Draw image files in child processes.

    Args:
        paths: The files.
        side: Longer side of a thumbnail in pixels.
        spec: The model input, to be drawn beside the thumbnail.

    Returns:
        One result a path, in their order. A file that crashes its process, or takes it too much time or memory, has the
        reason.
    """
    drawer = Draw(side, spec)
    found = dict(map_in_workers(drawer, paths))
    results = (found[number] for number in range(len(paths)))
    return [drawer.nothing(one.reason) if isinstance(one, Failed) else one for one in results]
