"""Is this bundle whole, and does it still answer as it did?

In: a bundle folder. Out: its plain values, or one clear error. Does not know Keras.

What this keeps out: files that were damaged (sizes and sha256 in the manifest), names that lead out of the folder,
numbers that do not unpack to numbers; what could run code when loaded is ``keras_file.py``'s. What it cannot do: tell
whose model it is. Whoever can write the folder can write a manifest that agrees with it.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from housetrain.data.split_manifest import SPLITS
from housetrain.errors import CorruptError, IncompleteError, ModelError
from housetrain.exports.formats import TOLERANCES, Form, choose
from housetrain.inference.engine import Engine, Images, Probabilities
from housetrain.system import store

if TYPE_CHECKING:
    from housetrain.data.split_manifest import SplitManifest

FORMAT = 2
"""Version of the bundle's layout. A reader refuses a newer one."""
ABOUT, GOLDEN, SEEN, MODEL = "bundle.json", "golden.npz", "seen.npz", "model.keras"

_MAX_MANIFEST_BYTES = 16 << 20
_MAX_NUMBERS_BYTES = 512 << 20
_ANEW = "export the bundle anew"


@dataclass(frozen=True)
class Golden:
    """Images and the answers the model gave when it was saved.

    Attributes:
        images: uint8, (N, height, width, channels), as the model eats them.
        probabilities: float32, (N, classes).
    """

    images: Images
    probabilities: Probabilities


@dataclass(frozen=True)
class Seen:
    """Which images the model was made with, by content.

    Attributes:
        prefixes: Per split, the first 8 bytes of each image file's sha256 as a sorted uint64 array.
    """

    prefixes: dict[str, NDArray[np.uint64]]

    @classmethod
    def of(cls, split: SplitManifest) -> Seen:
        """Return what a model made with ``split`` has seen."""
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
    """A bundle whose every listed file agreed with the manifest.

    Attributes:
        about: The value of ``bundle.json``.
        golden: Images with the answers expected.
        seen: Which images the model was made with.
        form: The form of the model that was chosen.
        model: Path of its file.
    """

    about: dict[str, Any]
    golden: Golden
    seen: Seen
    form: Form
    model: Path


def read_bundle(folder: Path, *, engine: str | None = None) -> Contents:
    """Check the files of a bundle against its manifest and return what is in it. Nothing is unpickled.

    Of a model that is there in several forms, the first that this machine can run is chosen.

    Args:
        folder: The bundle.
        engine: Insist on this form.

    Raises:
        ModelError: It is not a bundle, or was made by a newer housetrain, or has no such form.
        CorruptError: A file is missing, changed or torn, or a name in the manifest leads out of the folder.
        MissingExtra: No library for any of its forms is installed.
    """
    files = _manifest(folder)
    for name in (ABOUT, GOLDEN, SEEN):
        if name not in files:
            raise CorruptError(f"The bundle's manifest does not list {name}", do=_ANEW, path=str(folder))
    about = _about(_checked_bytes(folder, ABOUT, files.pop(ABOUT)), folder)
    forms = _forms(about, folder)
    for form in forms:
        if absent := sorted(set(form.files) - set(files)):
            raise CorruptError(
                "The bundle's manifest does not list its model", do=_ANEW, path=str(folder), model=absent
            )
    golden = _golden(_checked_bytes(folder, GOLDEN, files.pop(GOLDEN)), folder)
    seen = _seen(_checked_bytes(folder, SEEN, files.pop(SEEN)), folder)
    chosen = choose(forms, engine)
    for name, (size, sha256) in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size or store.file_sha256(path) != sha256:
            raise _not_what_was_written(name, folder)
    return Contents(about, golden, seen, chosen, folder / chosen.model)


def _forms(about: dict[str, Any], folder: Path) -> list[Form]:
    """Return the forms a bundle offers; before format 2 there was one, and it lay open in ``bundle.json``."""
    single = {"engine": "keras", "model": MODEL, "tolerance": TOLERANCES["fp32"], **about}
    try:
        forms = [Form.from_json(value) for value in about.get("forms", [single])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptError(f"{ABOUT} does not say what the bundle's model is", do=_ANEW, path=str(folder)) from error
    if not forms:
        raise CorruptError(f"{ABOUT} of the bundle names no model", do=_ANEW, path=str(folder))
    return forms


def check_golden(engine: Engine, golden: Golden, *, tolerance: float) -> None:
    """Run the golden images: the model must still give the answers it gave when it was saved.

    Args:
        engine: The loaded model.
        golden: Images and answers.
        tolerance: Largest difference of a probability that another processor may make.

    Raises:
        ModelError: An answer differs by more.
    """
    given = engine.probabilities(golden.images)
    if given.shape != golden.probabilities.shape:
        difference = math.inf
    else:
        difference = float(np.max(np.abs(given - golden.probabilities), initial=0.0))
    if not difference <= tolerance:  # so that NaN is refused too
        raise ModelError(
            "The model no longer gives the answers it gave when it was saved",
            expected=f"probabilities within {tolerance:g}",
            do=f"{_ANEW}, or look at the versions of Keras and its backend",
            difference=f"{difference:.2g}",
        )


def _manifest(folder: Path) -> dict[str, tuple[int, str]]:
    path = folder / store.MANIFEST
    if not path.is_file():
        raise ModelError(
            "This is not a bundle: it has no manifest",
            expected="a folder that `housetrain export` or `housetrain run` wrote, whole",
            path=str(folder),
        )
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ValueError("too large")
        value = store.read_json(path)
        version = int(value["format"])
        files = {str(name): (int(facts["bytes"]), str(facts["sha256"])) for name, facts in value["files"].items()}
    except (CorruptError, IncompleteError, RecursionError) as error:
        raise CorruptError("The bundle's manifest is not readable", do=_ANEW, path=str(folder)) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptError("The bundle's manifest is not complete", do=_ANEW, path=str(folder)) from error
    if version > FORMAT:
        raise _too_new("manifest", version, folder)
    for name in files:
        if not is_inside(name):
            raise CorruptError("A name in the bundle's manifest leads out of the folder", path=str(folder), name=name)
        if (folder / name).is_symlink():
            raise CorruptError("A file of the bundle is a link", do=_ANEW, path=str(folder), name=name)
    return files


def is_inside(name: str) -> bool:
    """Return whether ``name`` is a plain relative path that stays inside the folder it is joined to."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return (
        bool(posix.parts)
        and not (posix.is_absolute() or windows.drive or windows.root)
        and "\\" not in name
        and ".." not in posix.parts
        and name == posix.as_posix()
        and name.isprintable()
    )


def _checked_bytes(folder: Path, name: str, facts: tuple[int, str]) -> bytes:
    """Read a file once, and return exactly the bytes that agreed with the manifest."""
    import hashlib

    size, sha256 = facts
    path = folder / name
    try:
        if size > _MAX_NUMBERS_BYTES or not path.is_file() or path.stat().st_size != size:
            raise _not_what_was_written(name, folder)
        data = path.read_bytes()
    except OSError as error:
        raise CorruptError(f"{name} of the bundle cannot be read: {error.strerror}", path=str(folder)) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _not_what_was_written(name, folder)
    return data


def _about(data: bytes, folder: Path) -> dict[str, Any]:
    try:
        about = json.loads(data)
        version = int(about["format"])
        classes = about["classes"]
        if version > FORMAT:
            raise _too_new("bundle", version, folder)
        names = isinstance(classes, list) and len(classes) >= 2 and all(isinstance(name, str) for name in classes)
        if not (names and isinstance(about["spec"], dict)):
            raise ValueError("classes or spec")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptError(f"{ABOUT} of the bundle is not readable", do=_ANEW, path=str(folder)) from error
    return dict(about)


def _arrays(data: bytes, name: str, folder: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {key: archive[key] for key in keys}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError, TypeError, SyntaxError,
            MemoryError, NotImplementedError, RuntimeError, AttributeError, OverflowError) as error:  # fmt: skip
        raise CorruptError(f"{name} of the bundle is not readable", do=_ANEW, path=str(folder)) from error


def _golden(data: bytes, folder: Path) -> Golden:
    arrays = _arrays(data, GOLDEN, folder, ("images", "probabilities"))
    images, probabilities = arrays["images"], arrays["probabilities"]
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or probabilities.dtype != np.float32
        or probabilities.ndim != 2
        or not 0 < len(images) == len(probabilities)
    ):
        raise CorruptError(f"{GOLDEN} of the bundle does not hold images and answers", do=_ANEW, path=str(folder))
    return Golden(images, probabilities)


def _seen(data: bytes, folder: Path) -> Seen:
    arrays = _arrays(data, SEEN, folder, SPLITS)
    for values in arrays.values():
        if values.dtype != np.uint64 or values.ndim != 1 or not bool(np.all(values[:-1] <= values[1:])):
            raise CorruptError(f"{SEEN} of the bundle is not what housetrain writes", do=_ANEW, path=str(folder))
    return Seen(arrays)


def _not_what_was_written(name: str, folder: Path) -> CorruptError:
    return CorruptError(f"{name} of the bundle is missing or is not what was written", do=_ANEW, path=str(folder))


def _too_new(what: str, version: int, folder: Path) -> ModelError:
    return ModelError(
        f"The {what} was made by a newer housetrain",
        expected=f"format {FORMAT} or older",
        do="update housetrain: pip install -U housetrain",
        path=str(folder),
        format=version,
    )
