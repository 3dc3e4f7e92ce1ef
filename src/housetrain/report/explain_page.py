"""The explanations of a run as a page and as a section of its report.

In: a folder of explanations (see `housetrain.report.explain`). Out: ``explained.html``, and what the templates show. It
does not know how an explanation is computed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import CorruptError, IncompleteError
from housetrain.images.encode import data_uri
from housetrain.report import page
from housetrain.system import store
from housetrain.system.files import inside

if TYPE_CHECKING:
    from housetrain.training.run import Run

FOLDER = "explained"
INDEX = "explained.json"
PAGE = "explained.html"
KEPT = 24
"""Images whose explanations a folder keeps."""
_ON_REPORT = 12
_PNG = b"\x89PNG\r\n\x1a\n"


def add_entries(target: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Add explanations to the index, before the older ones; delete the oldest beyond `KEPT`."""
    new = {entry["folder"] for entry in entries}
    kept = [*entries, *(old for old in _entries(target) if old.get("folder") not in new)]
    store.write_json_atomic(target / INDEX, {"layout_version": 1, "images": kept[:KEPT]})
    for old in kept[KEPT:]:
        if re.fullmatch(r"[A-Za-z0-9_-]+-[0-9a-f]{8}", str(old["folder"])):
            shutil.rmtree(inside(target, old["folder"]), ignore_errors=True)


def _entries(target: Path) -> list[dict[str, Any]]:
    """Return the entries of the index, none if it is damaged or leads out of the folder."""
    try:
        found = [dict(one) for one in store.read_json(target / INDEX)["images"]]
        for one in found:
            folder = inside(target, one["folder"])
            for layer in one["layers"]:
                inside(folder, layer["file"])
    except (IncompleteError, CorruptError, KeyError, TypeError, ValueError, AttributeError):
        return []
    return found


def section_of(run: Run) -> dict[str, Any] | None:
    """Return what the report shows of the images explained with the run's current model, or ``None``."""
    try:
        model_sha256 = run.model_sha256
    except IncompleteError:
        return None
    try:
        target = inside(run.folder, FOLDER)
    except CorruptError:  # a link: what it leads to is not the run's
        return None
    return section(target, model_sha256=model_sha256, most=_ON_REPORT, strips=1)


def section(
    target: Path, *, model_sha256: str | None = None, most: int = KEPT, strips: int = KEPT
) -> dict[str, Any] | None:
    """Return what the templates show of a folder of explanations, ``None`` if there are none.

    Args:
        target: The folder.
        model_sha256: Only explanations of this model.
        most: At most so many images.
        strips: Show the feature maps of so many of them.
    """
    shown: list[dict[str, Any]] = []
    for entry in _entries(target):
        folder = target / entry["folder"]
        if model_sha256 not in (None, entry.get("model_sha256")) or not (folder / "occlusion.png").is_file():
            continue
        images = {name: _address(folder, f"{name}.png") for name in ("image", "grad-cam", "occlusion")}
        layers = []
        if len(shown) < strips:
            layers = [{**layer, "image": _address(folder, layer["file"])} for layer in entry["layers"]]
        shown.append({**entry, "images": images, "layers": [layer for layer in layers if layer["image"]]})
        if len(shown) == most:
            break
    return {"shown": shown, "filters": _address(target, "filters.png")} if shown else None


def _address(folder: Path, name: str) -> str | None:
    """Return a PNG of the folder as a ``data:`` URI, ``None`` if there is none. Other files are not shown."""
    try:
        data = inside(folder, name).read_bytes()
    except (OSError, CorruptError):
        return None
    return data_uri(data) if data.startswith(_PNG) else None


def write_page(run: Run, target: Path) -> Path:
    """Write the self-contained page of a folder of explanations."""
    return page.write_page(
        target / PAGE, "explained.html.j2", {"title": f"{run.name}: explanations", "explain": section(target)}
    )
