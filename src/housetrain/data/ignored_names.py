"""Names of files and folders that operating systems leave beside images, and that no one means.

In: a name. Out: the pattern under which it is ignored. It imports nothing, since every prediction needs it.
"""

from __future__ import annotations

_LITTER = {name.lower(): name for name in ("Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store", "Icon\r")}


def litter(name: str, *, folder: bool) -> str | None:
    """Return the pattern that a name to be ignored falls under, or ``None`` for one to be used."""
    if folder:
        return "__MACOSX/" if name == "__MACOSX" else ".*/" if name.startswith(".") else None
    if pattern := _LITTER.get(name.lower()):
        return pattern.strip()
    if name.startswith("."):
        return "._*" if name.startswith("._") else ".*"
    return None
