"""Folders of files that no test opens as images."""

from __future__ import annotations

from pathlib import Path


def fill(root: Path, *folders: str, count: int = 6, form: str = "{n:03d}.png") -> Path:
    """Make folders of ``count`` files each, named by ``form``."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / folder / form.format(n=number)).write_bytes(b"x")
    return root
