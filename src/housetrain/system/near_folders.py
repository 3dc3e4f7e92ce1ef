"""The folder that was probably meant where the given one is missing or of another kind.

In: a path, the file that folders of the wanted kind hold. Out: what to do, as a phrase. It opens no file.
"""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from housetrain.system.text import format_list, natural_key

_PLACES = ("runs", "prepared", "sweeps")  # where the verbs write by default
_NEAR, _NEAR_SHORT = 0.7, 0.6  # difflib's ratio; at 0.6, "nothere" is near "three", but p32 should be near p33
_SHORT = 4
_SHOWN = 5


def near_names(name: str, names: Sequence[str]) -> list[str]:
    """Return the names that differ from one by a few letters or by case, the nearest first."""
    lowered = {other.lower(): other for other in names}
    cutoff = _NEAR_SHORT if len(name) <= _SHORT else _NEAR
    return [lowered[other] for other in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=cutoff)]


def instead_of(path: Path, *marks: str, otherwise: str = "") -> str:
    """Return which folder to give instead of one that is missing or of another kind.

    Args:
        path: What was given.
        marks: A folder of the wanted kind holds one of these files.
        otherwise: What to do where no such folder is near.
    """
    inside = list(_marked(path, marks))
    if inside:
        return f"give the one that is meant: {_listed(inside)}"
    places = dict.fromkeys((path.parent, *map(Path, _PLACES)))
    beside = [folder for place in places for folder in _marked(place, marks)]
    named = [folder for folder in beside if path.name and folder.name.lower().startswith(path.name.lower())]
    named = [folder for folder in named if folder.name == path.name] or named
    near = near_names(path.name, [folder.name for folder in beside])
    if found := named or [folder for name in near for folder in beside if folder.name == name]:
        return f"give the one that is meant: {_listed(found)}"
    return otherwise


def _marked(folder: Path, marks: Sequence[str]) -> Iterator[Path]:
    """Yield the folders in a folder that hold one of the files."""
    try:
        names = sorted((entry.name for entry in os.scandir(folder) if entry.is_dir()), key=natural_key)
    except OSError:  # no folder, or not readable: nothing to propose
        return
    for name in names:
        if any((folder / name / mark).is_file() for mark in marks):
            yield folder / name


def _listed(folders: Sequence[Path]) -> str:
    return format_list([shlex.quote(str(folder)) for folder in folders], limit=_SHOWN, last="or")
