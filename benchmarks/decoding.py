"""Reading and decoding alone, as a function that worker processes can import: see prepare.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from housetrain.errors import DecodeError
from housetrain.images.decode import decode, read_bytes
from housetrain.images.input_spec import InputSpec


@dataclass(frozen=True)
class Decoding:
    """The minimum work: read the file and decode it as far as the spec requires."""

    root: Path
    spec: InputSpec

    def __call__(self, name: str) -> None:
        """Decode one image and discard it."""
        try:
            decode(
                read_bytes(self.root / name),
                color_mode=self.spec.color_mode,
                at_least=(self.spec.height, self.spec.width),
            )
        except DecodeError:
            return
