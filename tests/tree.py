"""A folder's exact state, to show that nothing was changed in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return path -> (sha256, mtime, inode, mode) of everything below ``folder``, itself included."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        facts = os.lstat(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        found[str(path)] = (digest, facts.st_mtime_ns, facts.st_ino, facts.st_mode)
    return found
