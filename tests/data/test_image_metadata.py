"""What is measured of one image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hostile import HTML, encode, photo

from housetrain.data.folder_tree import Entry
from housetrain.data.image_metadata import Examine, low_frequencies, perceptual_hash
from housetrain.images.sniff import Header


def test_half_of_the_bits_of_a_hash_are_set() -> None:
    for seed in range(20):
        bits = int(perceptual_hash(low_frequencies(photo(64, 64, seed)[:, :, 0])), 16).bit_count()
        assert bits in (31, 32)


def test_a_file_is_measured_as_it_is(tmp_path: Path) -> None:
    bright, dark = np.full((50, 80, 3), 200, np.uint8), np.zeros((50, 80, 3), np.uint8)
    dark[:, 40:] = 60
    (tmp_path / "bright.png").write_bytes(encode(bright, "PNG"))
    (tmp_path / "dark.png").write_bytes(encode(dark, "PNG", orientation=6))
    (tmp_path / "page.jpg").write_bytes(HTML)
    examine = Examine(tmp_path)
    one, other, page = (examine(Entry(name, "a", None)) for name in ("bright.png", "dark.png", "page.jpg"))
    assert one.brightness == (200.0, 0.0, 0.0, 200.0, 0.0) and one.header[:3] == ("PNG", 80, 50) and one.usable
    assert (other.brightness.mean, other.brightness.std) == (30.0, 30.0)
    assert other.brightness.sharpness > 0 and other.header[:3] == ("PNG", 50, 80) and other.header.orientation == 6
    assert (page.reason, page.header, page.usable) == ("not an image (HTML)", Header(), False)
    assert len({one.sha256, other.sha256, page.sha256}) == 3
