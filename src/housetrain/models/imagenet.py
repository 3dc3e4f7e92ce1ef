"""The thousand classes of ImageNet (ILSVRC 2012), in the order of pretrained models' outputs.

In: nothing. Out: their WordNet ids and names. Does not know: models, images. Needs no download.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import NamedTuple


class ImagenetClass(NamedTuple):
    """One class.

    Args:
        wnid: Its WordNet id, for instance ``"n02123045"``; unique.
        name: Its name, for instance ``"tabby"``. Two pairs of classes share a name: crane and maillot.
    """

    wnid: str
    name: str


@cache
def imagenet_classes() -> tuple[ImagenetClass, ...]:
    """Return the 1,000 classes; the position is the model's output. The names are those that Keras uses."""
    text = resources.files("housetrain.models").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(ImagenetClass(*line.split(" ", 1)) for line in text.splitlines())
