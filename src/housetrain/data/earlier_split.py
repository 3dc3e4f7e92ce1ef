"""The split that the images of a folder had when they were prepared before.

In: a `Catalog` and the options of a split. Out: the newest `SplitManifest` of the same folder with the same options
that a prepared folder holds. With it `split` leaves every image where it was when others are added.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from housetrain.data.prepared_folder import MANIFEST, read_listing, read_manifest
from housetrain.data.split import SplitOptions, complete_options, recorded
from housetrain.data.split_manifest import SplitManifest
from housetrain.errors import HousetrainError

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog

_OF_THE_CONTENT = ("catalog", "white")  # recorded with the options, but they follow from the images


def earlier_split(catalog: Catalog, options: SplitOptions, folder: Path | None = None) -> SplitManifest | None:
    """Return how these images were split before, or ``None``.

    Args:
        catalog: The images.
        options: Those of the new split; an earlier one with other options does not count.
        folder: The prepared folder that is asked for; by default all that are in ``prepared``.
    """
    folders = [folder] if folder else sorted(Path("prepared").glob("*"))
    found = sorted((path for one in folders if (path := one / MANIFEST).is_file()), key=_modified, reverse=True)
    given = {name: options.get(name, value) for name, value in complete_options().items()}
    asked = recorded(catalog, SplitOptions(**given, groups=options.get("groups")))  # type: ignore[typeddict-item]
    for path in found:
        try:
            manifest = read_manifest(path.parent)
            if manifest["root"] != os.path.realpath(catalog.root):
                continue
            split = SplitManifest.from_bytes(read_listing(path.parent, manifest), name=str(path))
        except (HousetrainError, OSError):
            continue  # damaged, or of another version: it cannot be consulted
        if {name: value for name, value in split.options.items() if name not in _OF_THE_CONTENT} == {
            name: value for name, value in asked.items() if name not in _OF_THE_CONTENT
        }:
            return split
    return None


def _modified(path: Path) -> float:
    return path.stat().st_mtime
