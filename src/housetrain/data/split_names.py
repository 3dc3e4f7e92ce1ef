"""Names of folders and table cells that mean a split: ``Training``, ``seg_test``, ``val2017``.

In: a name. Out: which split it means, or nothing. It does not know folders.
"""

from __future__ import annotations

import re
from typing import Literal

Named = Literal["train", "validation", "test", "unlabeled"]

_WORDS: dict[str, Named] = {
    **dict.fromkeys(("train", "training", "trainset", "trn"), "train"),
    **dict.fromkeys(
        ("validation", "validate", "validating", "val", "valid", "dev", "eval", "evaluation"), "validation"
    ),
    **dict.fromkeys(("test", "testing", "tests", "testset", "holdout"), "test"),
    **dict.fromkeys(("pred", "predict", "prediction", "unlabeled", "unlabelled", "unsup", "submission"), "unlabeled"),
}
_NEUTRAL = frozenset(
    (
        "set",
        "data",
        "dataset",
        "images",
        "image",
        "imgs",
        "img",
        "photos",
        "seg",
        "split",
        "folder",
        "jpg",
        "png",
        "the",
        "my",
    )
)


def split_of(name: str) -> Named | None:
    """Return the split that a name means, or ``None``.

    A name means a split when one of its words does and the others say nothing: ``training_set``, ``seg_train``,
    ``Test1`` and ``val2017`` do, ``train_station`` and ``test_pattern_b`` do not.
    """
    words = [word for word in re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()) if word]
    meant = {_WORDS[word] for word in words if word in _WORDS}
    rest = [word for word in words if word not in _WORDS and word not in _NEUTRAL]
    return meant.pop() if len(meant) == 1 and not rest else None
