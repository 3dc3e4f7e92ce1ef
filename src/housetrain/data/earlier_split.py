"""The split that the images of a folder had when they were prepared before.

In: a `Catalog` and the options of a split. Out: the newest `SplitManifest` of the same folder with the same options
that a prepared folder holds. With it `split` leaves every image where it was when others are added.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
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
    given = {name: options.get(name, value) for name, value in complete_options().items()}
    asked = recorded(catalog, SplitOptions(**given, groups=options.get("groups")))  # type: ignore[typeddict-item]
    for one in prepared_folders(catalog.root, folder):
        try:
            split = SplitManifest.from_bytes(read_listing(one, read_manifest(one)), name=str(one))
        except (HousetrainError, OSError):
            continue  # damaged, or of another version: it cannot be consulted
        if {name: value for name, value in split.options.items() if name not in _OF_THE_CONTENT} == {
            name: value for name, value in asked.items() if name not in _OF_THE_CONTENT
        }:
            return split
    return None


def prepared_folders(root: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield the prepared folders of the images in ``root``, the newest first: ``folder``, or all in ``prepared``."""
    folders = [folder] if folder else sorted(Path("prepared").glob("*"))
    found = [one for one in folders if (one / MANIFEST).is_file()]
    for one in sorted(found, key=lambda one: (one / MANIFEST).stat().st_mtime, reverse=True):
        with contextlib.suppress(HousetrainError):
            if read_manifest(one)["root"] == os.path.realpath(root):
                yield one
