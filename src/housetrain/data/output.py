"""Outputs never inside the folder of images.

In: paths. Out: a refusal. Does not know: what is written.
"""

from __future__ import annotations

from pathlib import Path

from housetrain.errors import FolderError


def refuse_inside(root: Path, folder: Path) -> None:
    """Refuse an output folder that is the source folder or lies inside it.

    Raises:
        FolderError: It does. Nothing was written.
    """
    if folder.resolve().is_relative_to(root.resolve()):
        raise FolderError(
            "The output would be written into the folder of images, which is never changed",
            do="choose an output folder outside of it",
            output=folder,
            images=root,
        )
