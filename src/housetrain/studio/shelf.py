"""The contents of the working folder: prepared images, runs and sweeps.

In: the working folder. Out: short lists, newest first, of what the files say now, whichever program wrote them. It
reads names and small files only.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from housetrain.data.prepared_folder import read_manifest
from housetrain.errors import HousetrainError
from housetrain.images.input_spec import InputSpec
from housetrain.training.run import Run

_MOST = 200


@dataclass(frozen=True)
class Arrays:
    """A prepared folder, as its manifest describes it.

    Attributes:
        folder: The prepared folder.
        spec: Size and color mode of the images.
        classes: Class names.
        counts: Number of images: split -> class -> count.
        root: The folder of images it was prepared from.
        fingerprint: Hash of its content.
        written: Modification time, in seconds since the epoch.
    """

    folder: Path
    spec: InputSpec
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    root: Path
    fingerprint: str
    written: float

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def total(self, split: str) -> int:
        """Return the number of images in a split."""
        return sum(self.counts.get(split, {}).values())

    @classmethod
    def open(cls, folder: Path) -> Arrays:
        """Read the manifest.

        Raises:
            StoreError: It is missing or has another format.
        """
        value = read_manifest(folder)
        return cls(
            folder,
            InputSpec.from_json(value["spec"]),
            tuple(value["classes"]),
            value["counts"],
            Path(value["root"]),
            str(value["fingerprint"]),
            (folder / "prepared.json").stat().st_mtime,
        )


def prepared_in(work: Path) -> list[Arrays]:
    """Return the prepared folders, newest first."""
    found = []
    for manifest in (work / "prepared").glob("*/prepared.json"):
        with contextlib.suppress(
            HousetrainError, OSError, KeyError, TypeError, ValueError
        ):  # unfinished, or another format
            found.append(Arrays.open(manifest.parent))
    return sorted(found, key=lambda one: -one.written)[:_MOST]


def runs_in(work: Path, *, trials: bool = False) -> list[Run]:
    """Return the runs, newest first, followed by the trials of sweeps if asked for."""
    found = _newest_first(list((work / "runs").glob("*/recipe.json")))
    if trials:
        found += _newest_first(list((work / "sweeps").glob("*/trials/*/recipe.json")))
    return [Run(path.parent) for path in found[:_MOST]]


def sweeps_in(work: Path) -> list[Path]:
    """Return the sweep folders, newest first."""
    return [path.parent for path in _newest_first(list((work / "sweeps").glob("*/sweep.json")))[:_MOST]]


def label_of(run: Run, work: Path) -> str:
    """Return a run's name on the page: its path below the working folder, shortened."""
    try:
        parts = run.folder.resolve().relative_to(work.resolve()).parts
    except ValueError:
        return run.name
    return " / ".join(part for part in parts if part not in ("runs", "sweeps", "trials"))


def stamp(*paths: Path) -> str:
    """Return a cache key that changes when one of the files does."""
    found = []
    for path in paths:
        try:
            status = path.stat()
            found.append(f"{status.st_mtime_ns:x}.{status.st_size:x}")
        except OSError:
            found.append("-")
    return "/".join(found)


def _newest_first(files: list[Path]) -> list[Path]:
    def written(path: Path) -> float:
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
        return 0.0

    return sorted(files, key=written, reverse=True)
