"""One image from standard input: ``cat photo.jpg | housetrain predict RUN -``.

In: a stream of bytes. Out: the encoded image, for a prediction. The limits are those of a file: its size here, and
everything else in the decoder. It does not know what the image is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from housetrain.errors import DecodeError, RecipeError
from housetrain.inference.inputs import Listing
from housetrain.system.regular_files import MAX_BYTES

NAME = "-"
"""Stands for standard input among the images; a file of this name is ``./-``."""


class StandardInput(Listing):
    """A listing of one image, which has no path.

    Args:
        stream: Standard input; it is read to its end.

    Raises:
        RecipeError: It is a terminal, into which no image is typed, or it is closed.
        DecodeError: It holds more than an image file may.
    """

    def __init__(self, stream: TextIO | None) -> None:
        if stream is None or stream.closed or stream.isatty():
            raise RecipeError(
                "Standard input is a terminal"
                if stream is not None and not stream.closed
                else "Standard input is closed",
                expected="the bytes of one image",
                do="cat photo.jpg | housetrain predict RUN -",
            )
        self.paths: list[Path] = []
        self._data = read_image(stream.buffer)

    def __iter__(self) -> Iterator[Any]:
        """Yield the encoded image."""
        yield self._data


def read_image(stream: BinaryIO) -> bytes:
    """Return all bytes of a stream.

    Raises:
        DecodeError: They are more than an image file may have, or cannot be read.
    """
    parts: list[bytes] = []
    left = MAX_BYTES
    try:
        while left >= 0 and (part := stream.read(min(1 << 20, left + 1))):
            parts.append(part)
            left -= len(part)
    except OSError as error:
        raise DecodeError(f"standard input cannot be read ({error.strerror})") from error
    if left < 0:
        raise DecodeError(f"standard input too large (over {MAX_BYTES >> 20} MiB)")
    return b"".join(parts)


def refuse_options(images: Sequence[str], options: dict[str, Any]) -> None:
    """Refuse what needs a path, where the image has none.

    Args:
        images: What was typed as images.
        options: Name of an option -> its value, ``None`` where it was not given.

    Raises:
        RecipeError: An option needs a path, or other images stand beside standard input.
    """
    if NAME not in images:
        return
    if len(images) > 1:
        raise RecipeError("Standard input is one image and stands alone", do="give the other images in another command")
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise RecipeError(
            "An image from standard input has no name",
            do="omit the options, or name a file",
            options=", ".join(given),
        )
