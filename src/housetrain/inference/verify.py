"""Reading a bundle: check that it is complete and unchanged, and that its model still gives the same outputs.

In: a bundle folder. Out: its contents as plain values, or one clear error. Does not know: Keras, or how a model runs.

Refused: damaged files (sizes and sha256 in the manifest), names that leave the folder, arrays that would be unpickled.
The check of the model file itself belongs to its format. No check here proves who made the bundle: anyone who can write
the folder can write a matching manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from housetrain.data.split_manifest import SPLITS
from housetrain.errors import CorruptError, HousetrainError, IncompleteError, MissingExtra, ModelError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.decision import Decision
from housetrain.inference.engine import Engine, Images, Precision, Probabilities
from housetrain.inference.formats import FORMATS
from housetrain.inference.model_format import ModelFormat
from housetrain.inference.novelty import FILE as NOVELTY
from housetrain.inference.novelty import Novelty
from housetrain.models.outputs import class_probabilities
from housetrain.system import json_text, json_types, store
from housetrain.system.arrays import load_npz
from housetrain.system.files import inside

if TYPE_CHECKING:
    from housetrain.data.split_manifest import SplitManifest

LAYOUT_VERSION = 3
"""Version of the bundle's layout. A reader refuses any other."""
ABOUT, GOLDEN, SEEN = "bundle.json", "golden.npz", "seen.npz"

_MAX_MANIFEST_BYTES = 16 << 20
_MAX_NUMBERS_BYTES = 512 << 20
_MAX_ARRAY_BYTES = 256 << 20  # 64 color images of 1,024 pixels a side; 33 million images that were seen
_AGAIN = "export the run again"


class _About(TypedDict, total=False):
    """What readers use of ``bundle.json`` besides the models and the input spec."""

    spec: dict[str, Any]
    decision: Decision
    decoder: dict[str, str] | None


@dataclass(frozen=True)
class ModelEntry:
    """One way a bundle holds its model.

    Attributes:
        format: The name of its format.
        file: The file to open, relative to the bundle.
        precision: What it was written in.
        tolerance: Largest allowed difference of a probability of the golden images, above 0.
        files: Every file of it, relative to the bundle.
    """

    format: str
    file: str
    precision: Precision
    tolerance: float
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain JSON."""
        return {**asdict(self), "files": list(self.files)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelEntry:
        """Read what `to_json` returned.

        Raises:
            KeyError: A key is missing.
            ValueError: A value is invalid.
        """
        file, tolerance, files = value["file"], float(value["tolerance"]), tuple(value["files"])
        named = all(isinstance(name, str) for name in (value["format"], value["precision"], file, *files))
        if not named or not 0 < tolerance < 1 or file not in {*files, *(name.partition("/")[0] for name in files)}:
            raise ValueError("model")
        return cls(value["format"], file, value["precision"], tolerance, files)


@dataclass(frozen=True)
class Golden:
    """Images and the probabilities that the model returned for them when it was exported.

    Attributes:
        images: uint8, (N, height, width, channels), as the model takes them.
        probabilities: float32, (N, classes).
    """

    images: Images
    probabilities: Probabilities


@dataclass(frozen=True)
class Seen:
    """Which images the model was trained, validated and tested with, by content.

    Attributes:
        prefixes: Per split, the first 8 bytes of each image file's sha256 as a sorted uint64 array.
    """

    prefixes: dict[str, NDArray[np.uint64]]

    @classmethod
    def of(cls, split: SplitManifest) -> Seen:
        """Return the images of a split."""
        return cls(
            {name: np.array(sorted(int(row.sha256[:16], 16) for row in split.of(name)), np.uint64) for name in SPLITS}
        )

    def split_of(self, prefix: int) -> str | None:
        """Return the split that holds a file whose sha256 begins with these 8 bytes, or ``None``."""
        value = np.uint64(prefix)
        for split, values in self.prefixes.items():
            index = int(np.searchsorted(values, value))
            if index < len(values) and values[index] == value:
                return split
        return None


@dataclass(frozen=True)
class Contents:
    """A bundle whose listed files all match the manifest.

    Attributes:
        about: The value of ``bundle.json``.
        spec: The model's input.
        decision: How its probabilities become predictions; one without effect in a bundle that says nothing of it.
        golden: Images with the expected probabilities.
        seen: Which images the model was made with.
        novelty: Measures whether an image is unlike those; ``None`` in a bundle without it.
        entry: The model that was chosen.
        format: Its format.
    """

    about: dict[str, Any]
    spec: InputSpec
    decision: Decision
    golden: Golden
    seen: Seen
    novelty: Novelty | None
    entry: ModelEntry
    format: ModelFormat


def read_bundle(folder: Path, *, engine: str | None = None) -> Contents:
    """Check the files of a bundle against its manifest and return its contents. Nothing is unpickled.

    Of several models, the first that this machine can run is chosen.

    Args:
        folder: The bundle.
        engine: Choose the model of this format.

    Raises:
        ModelError: It is not a bundle, has another layout version, or has no such model.
        CorruptError: A file is missing or changed, or a name in the manifest leaves the folder.
        MissingExtra: No library for any of its models is installed.
    """
    files = _manifest(folder)
    for name in (ABOUT, GOLDEN, SEEN):
        if name not in files:
            raise CorruptError(f"The bundle's manifest does not list {name}", do=_AGAIN, path=str(folder))
    about = _about(_checked_bytes(folder, ABOUT, files.pop(ABOUT)), folder)
    try:
        entries = [ModelEntry.from_json(value) for value in about["models"]]
        spec = InputSpec.from_json(about["spec"])
        decision = Decision.from_json(about.get("decision", {}))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, HousetrainError) as error:
        raise CorruptError(
            f"{ABOUT} does not describe the bundle's model and its input", do=_AGAIN, path=str(folder)
        ) from error
    for entry in entries:
        if absent := sorted(set(entry.files) - set(files)):
            raise CorruptError(
                "The bundle's manifest does not list its model", do=_AGAIN, path=str(folder), model=absent
            )
    golden = _golden(_checked_bytes(folder, GOLDEN, files.pop(GOLDEN)), folder)
    if golden.images.shape[1:] != spec.shape:
        raise CorruptError("The bundle's golden images do not have its input size", do=_AGAIN, path=str(folder))
    seen = _seen(_checked_bytes(folder, SEEN, files.pop(SEEN)), folder)
    novelty = Novelty.read(_checked_bytes(folder, NOVELTY, files.pop(NOVELTY))) if NOVELTY in files else None
    chosen = choose(entries, engine)
    for name, (size, sha256) in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size or store.file_sha256(path) != sha256:
            raise _changed(name, folder)
    return Contents(about, spec, decision, golden, seen, novelty, *chosen)


def choose(entries: Sequence[ModelEntry], engine: str | None = None) -> tuple[ModelEntry, ModelFormat]:
    """Return the first model that this machine can run, and its format.

    Args:
        entries: The models of a bundle, the preferred one first.
        engine: Choose the model of this format.

    Raises:
        ModelError: No format is known, or not the one asked for.
        MissingExtra: The library for it is not installed.
    """
    known = [
        (entry, FORMATS[entry.format])
        for entry in entries
        if entry.format in FORMATS and engine in (None, entry.format)
    ]
    present = ", ".join(entry.format for entry in entries)
    if not known and engine is not None:
        raise ModelError(
            f"The bundle holds no {engine} model", expected=present, do="export the run in that format", engine=engine
        )
    if not known:
        raise ModelError(
            "This version of housetrain cannot run the bundle's kind of model",
            expected=f"one of {', '.join(FORMATS)}",
            do="update housetrain",
            formats=present,
        )
    for entry, file_format in known:
        if file_format.installed or file_format.check is None:  # the latter is refused by name when it is opened
            return entry, file_format
    missing = known[0][1]
    raise MissingExtra(missing.extra, need=f"predicting with this bundle ({missing.library} is missing)")


def check_golden(engine: Engine, golden: Golden, *, tolerance: float) -> None:
    """Run the golden images and compare the probabilities with those at export time.

    Args:
        engine: The loaded model.
        golden: Images and probabilities.
        tolerance: Largest difference of a probability that another processor may cause.

    Raises:
        ModelError: A probability differs by more.
    """
    given = class_probabilities(engine.run(golden.images), golden.probabilities.shape[1])
    same = given.shape == golden.probabilities.shape
    difference = float(np.max(np.abs(given - golden.probabilities), initial=0.0)) if same else float("inf")
    if not difference <= tolerance:  # so that NaN is refused too
        raise ModelError(
            "The model no longer returns the probabilities it returned when it was exported",
            expected=f"probabilities within {tolerance:g}",
            do=f"{_AGAIN}, or check the versions of the libraries that run it",
            difference=f"{difference:.2g}",
        )


def _manifest(folder: Path) -> dict[str, tuple[int, str]]:
    path = folder / store.MANIFEST
    if not path.is_file():
        raise ModelError(
            "This is not a bundle: it has no manifest",
            expected="a complete folder from `housetrain export` or `housetrain run`",
            path=str(folder),
        )
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ValueError("too large")
        value = store.read_json(path)
        if int(value["format"]) > 1:
            raise _other_version(int(value["format"]), folder)
        files = {str(name): (int(facts["bytes"]), str(facts["sha256"])) for name, facts in value["files"].items()}
    except (CorruptError, IncompleteError, RecursionError) as error:
        raise CorruptError("The bundle's manifest is not readable", do=_AGAIN, path=str(folder)) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptError("The bundle's manifest is not complete", do=_AGAIN, path=str(folder)) from error
    for name in files:
        if not name.isprintable() or "\\" in name or ":" in name or name != PurePosixPath(name).as_posix():
            raise CorruptError("A name in the bundle's manifest is not one that housetrain writes", name=name)
        if inside(folder, name).is_symlink():
            raise CorruptError("A file of the bundle is a link", do=_AGAIN, path=str(folder), name=name)
    return files


def _checked_bytes(folder: Path, name: str, facts: tuple[int, str]) -> bytes:
    """Read a file once and return the very bytes that match the manifest."""
    import hashlib

    size, sha256 = facts
    path = folder / name
    try:
        if size > _MAX_NUMBERS_BYTES or not path.is_file() or path.stat().st_size != size:
            raise _changed(name, folder)
        data = path.read_bytes()
    except OSError as error:
        raise CorruptError(f"{name} of the bundle cannot be read: {error.strerror}", path=str(folder)) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _changed(name, folder)
    return data


def _about(data: bytes, folder: Path) -> dict[str, Any]:
    try:
        about = json_text.parse_json(data, ABOUT)
        version = int(about["layout_version"])
        classes = about["classes"]
        if version != LAYOUT_VERSION:
            raise _other_version(version, folder)
        names = isinstance(classes, list) and len(classes) >= 2 and all(isinstance(name, str) for name in classes)
        if not (names and json_types.fits(about, _About)):
            raise ValueError("classes, spec or a description")
    except (CorruptError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptError(f"{ABOUT} of the bundle is not readable", do=_AGAIN, path=str(folder)) from error
    return dict(about)


def _golden(data: bytes, folder: Path) -> Golden:
    arrays = load_npz(data, ("images", "probabilities"), most_bytes=_MAX_ARRAY_BYTES, name=f"{GOLDEN} of the bundle")
    images, probabilities = arrays["images"], arrays["probabilities"]
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or probabilities.dtype != np.float32
        or probabilities.ndim != 2
        or not 0 < len(images) == len(probabilities)
    ):
        raise CorruptError(
            f"{GOLDEN} of the bundle does not hold images and probabilities", do=_AGAIN, path=str(folder)
        )
    return Golden(images, probabilities)


def _seen(data: bytes, folder: Path) -> Seen:
    arrays = load_npz(data, SPLITS, most_bytes=_MAX_ARRAY_BYTES, name=f"{SEEN} of the bundle")
    for values in arrays.values():
        if values.dtype != np.uint64 or values.ndim != 1 or not bool(np.all(values[:-1] <= values[1:])):
            raise CorruptError(f"{SEEN} of the bundle is not what housetrain writes", do=_AGAIN, path=str(folder))
    return Seen(arrays)


def _changed(name: str, folder: Path) -> CorruptError:
    return CorruptError(f"{name} of the bundle is missing or was changed", do=_AGAIN, path=str(folder))


def _other_version(version: int, folder: Path) -> ModelError:
    newer = version > LAYOUT_VERSION
    return ModelError(
        f"The bundle was made by {'a newer' if newer else 'an older'} housetrain",
        expected=f"layout version {LAYOUT_VERSION}",
        do="update housetrain" if newer else _AGAIN,
        path=str(folder),
        layout_version=version,
    )
