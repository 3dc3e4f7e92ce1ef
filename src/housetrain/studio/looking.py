"""The Data page's view of a folder: catalog, findings and samples, cached between redraws.

In: a folder of images. Out: the results of `housetrain check`, read from the file it wrote, and thumbnails. The page
itself never scans: a malicious image can only crash the scanning process.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from housetrain.data import contact_sheet
from housetrain.data.catalog import Catalog
from housetrain.data.findings import Finding
from housetrain.data.split import SplitOptions, split
from housetrain.data.split_manifest import SplitManifest
from housetrain.errors import DecodeError
from housetrain.images import decode
from housetrain.images.encode import data_uri, encode
from housetrain.images.input_spec import WHITE, InputSpec
from housetrain.images.thumbnail import thumbnail as thumbnail_of
from housetrain.studio import jobs
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
    return {
        name: [before_after(found.catalog.root / image.path, spec, allowed) for image in images]
        for name, images in list(chosen.items())[:classes]
    }


def before_after(path: Path, spec: InputSpec, allowed: Places) -> Tile:
    """Return an image as the original and as the model input."""
    if not allowed.holds(path):
        return Tile(("", ""), path.name, "outside the data root")
    before, after, note = _views(str(path), stamp(path), spec)
    return Tile((before, after), path.name, note, pixels=max(spec.height, spec.width) < _PIXELS_BELOW)


def thumbnail(path: Path, allowed: Places, note: str = "") -> Tile:
    """Return the thumbnail of an image file, or the reason why there is none."""
    if not allowed.holds(path):
        return Tile(("",), path.name, "outside the data root")
    view, problem = _thumbnail(str(path), stamp(path))
    return Tile((view,), f"{path.parent.name}/{path.name}", problem or note)


@st.cache_data(max_entries=400, show_spinner=False)
def _thumbnail(path: str, when: str) -> tuple[str, str]:
    try:
        return _jpeg(Path(path)), ""
    except DecodeError as error:
        return "", error.reason


@st.cache_data(max_entries=400, show_spinner=False)
def _views(path: str, when: str, spec: InputSpec) -> tuple[str, str, str]:
    try:
        data = decode.read_bytes(Path(path))
        before = _jpeg(data)
        return before, data_uri(encode(decode.load_image(data, spec))), ""
    except DecodeError as error:
        return "", "", readable(error.reason)


def _jpeg(source: Path | bytes) -> str:
    return data_uri(encode(thumbnail_of(source, _SIDE), "jpeg"), "jpeg")
