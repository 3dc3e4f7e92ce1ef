"""Views: augmented copies of an image that are the same whenever they are asked for.

In: an image, a `View` (which one, of which amounts and seed), the image's hash. Out: uint8, same shape. The draws
are those of `augment.Augment`, but in numpy and from a seed that follows from the image, so that features of views
can be kept. Does not know: Keras, features, recipes (it takes their amounts as numbers).
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class View(NamedTuple):
    """One augmented view of every image.

    Args:
        number: Which one, from 1.
        seed: The recipe's seed.
        flip: ``"none"``, ``"horizontal"`` or ``"both"``.
        shift: See `augment.Augment`, as the others.
        rotate: Share of a full turn.
        zoom: Smallest window is ``1 - zoom`` of the side.
        stretch: Change of width against height, as a logarithm.
        contrast: Change of contrast and brightness.
    """

    number: int
    seed: int
    flip: str
    shift: float
    rotate: float
    zoom: float
    stretch: float
    contrast: float

    @property
    def only_flips(self) -> bool:
        """Whether views are mirror images and nothing else: then they are all of them in turn, not drawn at random."""
        return self.flip != "none" and not any((self.shift, self.rotate, self.zoom, self.stretch, self.contrast))


def changed(image: NDArray[np.uint8], view: View | None, sha256: str) -> NDArray[np.uint8]:
    """Return the image as ``view`` shows it; the image itself for ``None``.

    Args:
        image: uint8 (height, width, 1 or 3).
        view: Which view.
        sha256: Of the image's file; the draws follow from it.
    """
    if view is None:
        return np.asarray(image)
    if view.only_flips:
        columns, rows = -1 if view.number & 1 else 1, -1 if view.flip == "both" and view.number & 2 else 1
        return np.ascontiguousarray(image[::rows, ::columns])
    import cv2

    digest = hashlib.sha256(f"{sha256} {view.seed} {view.number}".encode()).digest()
    draw = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    height, width = image.shape[:2]
    side = math.sqrt(draw.uniform((1 - view.zoom) ** 2, 1.0))
    ratio = math.exp(draw.uniform(-view.stretch, view.stretch))
    wide, tall = side * ratio, side / ratio
    angle = 2 * math.pi * draw.uniform(-view.rotate, view.rotate)
    across = -1.0 if view.flip != "none" and draw.random() < 0.5 else 1.0
    down = -1.0 if view.flip == "both" and draw.random() < 0.5 else 1.0
    a0, a1 = wide * math.cos(angle) * across, -wide * math.sin(angle) * down
    b0, b1 = tall * math.sin(angle) * across, tall * math.cos(angle) * down
    free = [max(0.0, 1 - wide), max(0.0, 1 - tall)]
    x = (width - 1) * (0.5 + draw.uniform(-0.5, 0.5) * free[0] + draw.uniform(-view.shift, view.shift))
    y = (height - 1) * (0.5 + draw.uniform(-0.5, 0.5) * free[1] + draw.uniform(-view.shift, view.shift))
    a2 = x - (a0 * (width - 1) + a1 * (height - 1)) / 2
    b2 = y - (b0 * (width - 1) + b1 * (height - 1)) / 2
    found = cv2.warpAffine(
        np.ascontiguousarray(image),
        np.array([[a0, a1, a2], [b0, b1, b2]]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    ).reshape(image.shape)
    if view.contrast:
        factor = 1 + draw.uniform(-view.contrast, view.contrast)
        brighter = 127.5 * draw.uniform(-view.contrast, view.contrast)
        mean = float(found.mean())
        found = np.clip((found - mean) * factor + (mean + brighter), 0, 255).round().astype(np.uint8)
    return np.asarray(found, dtype=np.uint8)
