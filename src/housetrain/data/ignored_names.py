"""Names of files and folders that operating systems leave beside images, and that no one means.

In: a name. Out: the pattern under which it is ignored. It imports nothing, since every prediction needs it.
"""

from __future__ import annotations

_LITTER = {name.lower(): name for name in ("Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store", "Icon\r")}

_LITTER_FOLDERS = {
    name.lower(): f"{name}/"
    for name in (
        *("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "lost+found"),
        *("__pycache__", "@__thumb", "#snapshot"),
    )
}


def litter(name: str, *, folder: bool) -> str | None:
    """Return the pattern that a name to be ignored falls under, or ``None`` for one to be used."""
    if folder:
        return ".*/" if name.startswith(".") else _LITTER_FOLDERS.get(name.lower())
    if pattern := _LITTER.get(name.lower()):
        return pattern.strip()
    if name.startswith("."):
        return "._*" if name.startswith("._") else ".*"
    return None
