"""Arrays as `Prepared` without a folder of images: for tests of what comes after preparing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from housetrain.data.prepare import Prepared
from housetrain.data.split_manifest import Row, SplitManifest, SplitName
from housetrain.images.input_spec import InputSpec


def prepared_of(
    images: np.ndarray, labels: Sequence[int], classes: Sequence[str], folder: Path, *, balance: str = "weights"
) -> Prepared:
    """Write uint8 images ``(N, H, W, C)`` as the array file of a `Prepared`; split 70/15/15 by content."""
    rows, by_hash = [], {}
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        digest = hashlib.sha256(image.tobytes() + str(number).encode()).hexdigest()
        place = int(digest[:8], 16) / 2**32
        split: SplitName = "train" if place < 0.7 else "validation" if place < 0.85 else "test"
        rows.append(Row(f"{classes[label]}/{number}.png", digest, classes[label], split, digest))
        by_hash[digest] = image
    manifest = SplitManifest.of_rows(Path("/nowhere"), classes, rows=rows, options={"balance": balance})
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "images.npy"
    np.save(file, np.stack([by_hash[row.sha256] for row in manifest.rows]))
    spec = InputSpec(
        height=images.shape[1], width=images.shape[2], color_mode="grayscale" if images.shape[3] == 1 else "rgb"
    )
    return Prepared(folder, spec, manifest.classes, manifest, manifest.fingerprint, file)


def digits(
    folder: Path,
    *,
    classes: int = 10,
    shuffled: bool = False,
    balance: str = "weights",
    most: int = 1797,
    enlarged: int = 1,
) -> Prepared:
    """Return scikit-learn's real handwritten digits, 8x8 gray or ``enlarged`` times that, as `Prepared`."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    keep = np.flatnonzero(bunch.target < classes)[:most]
    images = (bunch.images[keep] * 255 / 16).round().astype(np.uint8)[..., None]
    images = images.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
    labels = bunch.target[keep]
    if shuffled:
        labels = np.random.default_rng(0).permutation(labels)
    return prepared_of(images, labels.tolist(), [str(number) for number in range(classes)], folder, balance=balance)
