"""Images for the tests of sweeps: real 8x8 digits, few of them, prepared once a session."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

from housetrain.data.prepare import Prepared, prepare
from housetrain.data.split import complete_options
from housetrain.data.split_manifest import Row, SplitManifest


def prepared_digits(
    folder: Path, *, digits: tuple[int, ...] = (3, 8), count: int = 300, size: int = 12, shuffled: bool = False
) -> Prepared:
    """Write digits as class folders and prepare them: 60 % train, 30 % validation, 10 % test.

    Args:
        folder: Where to write.
        digits: Which; two of them make a two-class problem.
        count: How many images.
        size: Side in pixels.
        shuffled: Deal the labels out at random, so that there is nothing to learn.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    chosen = np.flatnonzero(np.isin(data.target, digits))[:count]
    labels = data.target[chosen]
    if shuffled:
        labels = np.random.default_rng(0).permutation(labels)
    rows = []
    for number, (index, label) in enumerate(zip(chosen, labels, strict=True)):
        path = folder / "images" / str(label) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = cv2.resize((data.images[index] * 15.9).astype(np.uint8), (16, 16))
        assert cv2.imwrite(str(path), image)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        where = "train" if number % 10 < 6 else "validation" if number % 10 < 9 else "test"
        rows.append(Row(f"{label}/{index}.png", sha256, str(label), where, sha256))
    classes = tuple(sorted(str(digit) for digit in digits))
    manifest = SplitManifest.of_rows(folder / "images", classes, rows=rows, options=complete_options())
    return prepare(manifest, folder / "prepared", image_size=size)
