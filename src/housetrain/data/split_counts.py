"""How many images each split and each class has, as short texts for people.

In: a `SplitManifest`. Out: texts. It does not know how wide a terminal is.
"""

from __future__ import annotations

from collections import Counter

from housetrain.data.split_manifest import SplitManifest
from housetrain.system.text import format_count

_FEW = 3
"""So many classes are named one by one."""


def split_sizes(manifest: SplitManifest) -> str:
    """Return ``5,600 train, 1,200 validation, 1,200 test``."""
    return ", ".join(f"{sum(of.values()):,} {name}" for name, of in manifest.counts().items())


def class_sizes(manifest: SplitManifest) -> str:
    """Return ``Cat 4,001, Dog 3,999``; of more than three classes ``10, from 174 images (8) to 183 (3)``."""
    sizes: Counter[str] = Counter()
    for of in manifest.counts().values():
        sizes.update(of)
    if len(sizes) <= _FEW:
        return ", ".join(f"{label} {count:,}" for label, count in sizes.items())
    smallest, largest = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if sizes[smallest] == sizes[largest]:
        return f"{len(sizes):,} of {format_count(sizes[largest], 'image')} each"
    return (
        f"{len(sizes):,}, from {format_count(sizes[smallest], 'image')} ({smallest}) to {sizes[largest]:,} ({largest})"
    )


def sizes_of_each(manifest: SplitManifest) -> str:
    """Return ``5,600 train (Cat 2,801, Dog 2,799), ...``; an empty text for more than three classes."""
    if len(manifest.classes) > _FEW:
        return ""
    return ", ".join(
        f"{sum(of.values()):,} {name} ({', '.join(f'{label} {count:,}' for label, count in of.items())})"
        for name, of in manifest.counts().items()
    )
