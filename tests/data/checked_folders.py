"""Folders of images with few and known problems."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from hostile import jpeg

from housetrain.data.catalog import scan
from housetrain.data.checks import FEW, check
from housetrain.data.findings import Finding

SIDE = 96


@functools.cache
def image(seed: int) -> bytes:
    return jpeg(SIDE, SIDE + 24, seed=seed)


def make(root: Path, counts: dict[str, int] | None = None) -> Path:
    """A folder that is well: enough images in each class, no two alike."""
    seed = 0
    for label, count in (counts or {"Cat": FEW, "Dog": FEW}).items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            seed += 1
            (root / label / f"{number:03}.jpg").write_bytes(image(seed))
    return root


def kinds(root: Path, **options: Any) -> dict[str, Finding]:
    """Kind -> finding, where there is one of each kind at most."""
    found = check(scan(root), **options)
    named = {one.kind: one for one in found}
    assert len(named) == len(found), found
    for one in found:
        assert "\n" not in one.message and one.message and one.do
        assert set(one.leaves_out) <= set(one.paths)
        assert len(one.details) in (0, len(one.paths))
    return named
