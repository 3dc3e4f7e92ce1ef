"""The Data page's view of a folder: catalog, findings and samples, cached between redraws.

In: a folder of images. Out: the results of `housetrain check`, read from the file it wrote, and thumbnails. The page
itself never scans and never decodes: a malicious image can only crash a child process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from housetrain.data import contact_sheet
from housetrain.data.catalog import Catalog
from housetrain.data.findings import Finding
from housetrain.data.split import SplitOptions, split
from housetrain.data.split_manifest import SplitManifest
from housetrain.images.input_spec import WHITE, InputSpec
from housetrain.studio import jobs
from housetrain.studio.drawing import Drawn, draw
from housetrain.studio.jobs import Job
from housetrain.studio.places import Places
from housetrain.studio.settings import Settings
from housetrain.studio.shelf import stamp
from housetrain.studio.widgets import Tile, readable
from housetrain.system import store

_SIDE = 168
_PIXELS_BELOW = 120


@dataclass(frozen=True)
class Look:
    """The results of checking a folder."""

    catalog: Catalog
    findings: tuple[Finding, ...]
    key: str


def places() -> Places:
    """Return the folders that may be opened."""
    settings = Settings.of()
    return Places(settings.data_root, (settings.uploads, settings.samples))


def begin(folder: Path) -> Job:
    """Start checking a folder, unless that is already running."""
    settings = Settings.of()
    words: list[str | Path] = ["check", folder, "--json", "--catalog", _file(folder)]
    return jobs.start(settings.jobs, words, target=folder, work=settings.work)


def job_of(folder: Path) -> Job | None:
    """Return the latest check of a folder."""
    return jobs.newest(Settings.of().jobs, target=folder, verb="check")


def look(folder: Path, job: Job) -> Look:
    """Return the results of a finished check."""
    return _look(str(_file(folder)), stamp(_file(folder)), job.folder.name)


def _file(folder: Path) -> Path:
    name = hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:20]
    return Settings.of().scratch / "looks" / f"{name}.json"


@st.cache_resource(max_entries=3, show_spinner=False)
def _look(file: str, when: str, job: str) -> Look:
    catalog = Catalog.from_json(store.read_json(Path(file)))
    from housetrain.data.checks import check

    return Look(catalog, check(catalog), f"{file}/{when}")


@st.cache_resource(max_entries=6, show_spinner=False)
def _split(key: str, options: tuple[tuple[str, object], ...], _look: Look) -> SplitManifest:
    return split(_look.catalog, findings=_look.findings, **dict(options))  # type: ignore[arg-type]


def manifest(found: Look, options: SplitOptions) -> SplitManifest:
    """Return the split that these options give.

    Raises:
        FolderError: The images cannot be split this way.
    """
    return _split(found.key, tuple(sorted(options.items())), found)


def samples(found: Look, spec: InputSpec, *, per_class: int, seed: int, classes: int) -> dict[str, list[Tile]]:
    """Return samples of each class, each as the original and as the model input."""
    chosen = contact_sheet.samples_of(found.catalog, per_class=per_class, seed=seed)
    allowed = places()
    if spec.white == WHITE:
        spec = replace(spec, white=found.catalog.white)
    paths = {
        name: [found.catalog.root / image.path for image in images] for name, images in [*chosen.items()][:classes]
    }
    drawn = iter(_tiles([path for group in paths.values() for path in group], allowed, spec))
    return {name: [next(drawn) for _ in group] for name, group in paths.items()}


def thumbnails(paths: Sequence[Path], allowed: Places, notes: Sequence[str] = ()) -> list[Tile]:
    """Return the thumbnails of image files, or the reasons why there are none."""
    tiles = zip(_tiles(paths, allowed), paths, notes or [""] * len(paths), strict=True)
    return [tile._replace(name=f"{path.parent.name}/{path.name}", note=tile.note or note) for tile, path, note in tiles]


def _tiles(paths: Sequence[Path], allowed: Places, spec: InputSpec | None = None) -> list[Tile]:
    inside = [path for path in paths if allowed.holds(path)]
    drawn = dict(zip(inside, _drawn(tuple(map(str, inside)), tuple(map(stamp, inside)), spec), strict=True))
    tiles = []
    for path in paths:
        views, reason = drawn.get(path, (("", "") if spec else ("",), "outside the data root"))
        pixels = spec is not None and max(spec.height, spec.width) < _PIXELS_BELOW
        tiles.append(Tile(views, path.name, readable(reason), pixels=pixels and path in drawn))
    return tiles


@st.cache_data(max_entries=60, show_spinner=False)
def _drawn(paths: tuple[str, ...], when: tuple[str, ...], spec: InputSpec | None) -> list[Drawn]:
    return draw(paths, _SIDE, spec)
