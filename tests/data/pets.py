"""A small archive like that of the cats and dogs."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np


def jpeg(number: int) -> bytes:
    image = np.full((40, 40, 3), number % 256, np.uint8)
    cv2.putText(image, str(number), (2, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255))
    return cv2.imencode(".jpg", image)[1].tobytes()


def pets_zip(path: Path, count: int = 12) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("readme[1].txt", "a licence")
        for name in ("Cat", "Dog"):
            bundle.writestr(f"PetImages/{name}/", "")
            bundle.writestr(f"PetImages/{name}/Thumbs.db", b"x" * 100)
            for number in range(count):
                bundle.writestr(f"PetImages/{name}/{number}.jpg", jpeg(number) if number else b"")
    return path


def counts(folder: Path) -> dict[str, int]:
    return {item.name: len(list(item.iterdir())) for item in sorted(folder.iterdir()) if item.is_dir()}
