"""Class folders of noise images, each unlike every other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def image(path: Path, seed: int, size: int = 48) -> None:
    """Write an image of noise that is unlike every other seed's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))


def folder_of(root: Path, **counts: int) -> Path:
    """Make class folders with so many images each."""
    seed = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            seed += 1
            image(root / name / f"{number}.png", seed)
    return root
