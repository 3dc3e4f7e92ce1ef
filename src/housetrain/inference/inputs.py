"""Inputs of a prediction: photos, folders and globs become files; files, bytes and arrays become prepared images.

In: paths, encoded bytes, uint8 arrays, PIL images, any number of them. Out: images as the model takes them, each with
the first 8 bytes of its file's sha256; or why one cannot be read. Does not know: models.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeAlias, Union, cast

import numpy as np
from numpy.typing import NDArray

from housetrain.data.ignored_names import litter
from housetrain.errors import DecodeError, FolderError
from housetrain.images import decode
from housetrain.images.input_spec import InputSpec
from housetrain.system.process_pool import Failed, map_in_workers

if TYPE_CHECKING:
    from PIL.Image import Image

Input: TypeAlias = Union[Path, str, bytes, NDArray[Any], "Image"]
"""A path, an encoded image, an array (H, W) or (H, W, 1|3|4) in RGB order of any size, or a PIL image."""
Read: TypeAlias = "tuple[NDArray[np.uint8], int | None]"
"""A prepared image, and the first 8 bytes of its file's sha256 where there is a file."""

_WINDOW = 65_536  # inputs handed to the workers at a time, of perhaps a million paths
_WINDOW_BYTES = 256 << 20  # the same for encoded images given as bytes


@dataclass(frozen=True)
class Reader:
    """Reads one input, here or in a worker process: light to import and to pickle.

    Attributes:
        spec: The model's input.
    """

    spec: InputSpec

    def __call__(self, source: Input) -> Read:
        """Return the prepared image, uint8 of ``spec.shape``.

        Raises:
            DecodeError: It cannot be read.
        """
        if isinstance(source, str) and "://" in source and not os.path.lexists(source):
            from housetrain.inference.addresses import read_address

            source = read_address(source)
        if isinstance(source, (str, os.PathLike)):
            source = decode.read_bytes(Path(source))
        if isinstance(source, (bytearray, memoryview)):
            source = bytes(source)
        if isinstance(source, bytes):
            prefix = int.from_bytes(hashlib.sha256(source).digest()[:8], "big")
            return decode.load_image(source, self.spec), prefix
        if isinstance(source, np.ndarray) or hasattr(source, "getexif"):  # PIL, without importing it
            return decode.load_image(source, self.spec), None
        raise DecodeError(f"not an image ({type(source).__name__})")


def inputs_of(images: Input | Sequence[Input]) -> Iterable[Input]:
    """Return the inputs that one argument refers to: folders and patterns among them become their image files.

    Args:
        images: One input or a list of them; see `Listing` for what a path refers to.

    Raises:
        FolderError: A path matches nothing.
    """
    one_input = (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray)
    single = isinstance(images, one_input) or hasattr(images, "getexif")
    given = cast("Sequence[Input]", [images] if single else images)
    if all(isinstance(one, (str, os.PathLike)) for one in given):
        return Listing(cast("Sequence[Path | str]", given))
    parts = [Listing([one]) if isinstance(one, (str, os.PathLike)) else [one] for one in given]
    return [found for part in parts for found in part]


def name_of(source: Input) -> str:
    """Return what to call an input in a report: the path as given, or its kind."""
    if isinstance(source, (str, os.PathLike)):
        return str(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "<bytes>"
    return "<array>" if isinstance(source, np.ndarray) else "<image>"


def read_many(
    images: Iterable[Input], spec: InputSpec, *, workers: int | None = None
) -> Generator[tuple[int, str, Read | Failed], None, None]:
    """Yield (index, name, image or failure) for every input, roughly in order, with flat memory.

    Paths and bytes are decoded in worker processes, where a decoder that crashes or hangs costs one image. Decoded
    images (arrays, PIL images) and a single image are processed here: starting a worker takes longer, and the decoder
    checks what a header claims before it allocates memory.

    Args:
        images: Any iterable, also an endless one.
        spec: The model's input.
        workers: Decoding processes; all cores by default; 0 decodes everything in this process.
    """
    reader = Reader(spec)
    begin = 0
    for window in _windows(images):
        if workers != 0 and len(window) > 1:
            found = map_in_workers(reader, window, workers=workers)
        else:
            found = ((index, _attempt(reader, source)) for index, source in enumerate(window))
        with closing(cast("Any", found)):
            for index, result in found:
                yield begin + index, name_of(window[index]), result
        begin += len(window)


class Listing:
    """The image files that photos, folders and globs refer to, in the order given, each once, listed lazily.

    A folder refers to every file below it, sorted by name, except what `scan` ignores too (``Thumbs.db``, hidden
    files and the like). An existing name is taken literally, so ``cat[1].jpg`` needs no quoting; ``**`` in a pattern
    descends into folders. A photo that is gone stays in the list, so that its reason is reported beside the others.
    Of a million files in many folders, only the names of one folder are in memory.

    Args:
        paths: Photos, folders, patterns.

    Raises:
        FolderError: All of them are gone, or a folder or pattern matches nothing. An unreadable folder is reported
            when it is reached.
    """

    def __init__(self, paths: Iterable[Path | str]) -> None:
        self.paths = [Path(given) for given in paths]
        gone = [path for path in self.paths if next(_below(path), None) is None]
        for path in gone:
            if path.is_dir() or len(gone) == len(self.paths) or glob.has_magic(str(path)):
                raise FolderError(
                    "The folder holds no images" if path.is_dir() else "No such image, folder or pattern",
                    expected="photos, folders of photos, or patterns like 'holiday/*.jpg'",
                    given=str(path),
                )

    def __iter__(self) -> Iterator[Path]:
        """Yield the files, each once."""
        if len(self.paths) == 1:  # then nothing can come twice
            yield from _below(self.paths[0])
            return
        seen: set[Path] = set()
        for path in self.paths:
            for found in itertools.chain(_below(path), [path] if _is_gone(path) else ()):
                if found not in seen:
                    seen.add(found)
                    yield found

    def folder_of(self, path: Path | str) -> PurePath:
        """Return the folder of a file, relative to the folder or the fixed part of the pattern that it was found by."""
        for given in self.paths:
            parts = list(itertools.takewhile(lambda part: not glob.has_magic(part), given.parts))
            base = given if given.is_dir() else Path(*parts[: len(given.parts) - 1])
            if Path(path).parent.is_relative_to(base):
                return Path(path).parent.relative_to(base)
        return PurePath()

    def at_least(self, count: int) -> bool:
        """Return whether there are at least ``count`` files, without listing them all."""
        return next(itertools.islice(self, count - 1, None), None) is not None


def _is_gone(path: Path) -> bool:
    return not (os.path.lexists(path) or glob.has_magic(str(path)))


def _below(given: Path) -> Iterator[Path]:
    """Yield the files of one path or pattern."""
    if os.path.lexists(given):
        yield from _files_of(given)
        return
    seen: set[Path] = set()
    for match in sorted(glob.glob(str(given), recursive=True)):  # noqa: PTH207 - patterns may be absolute
        for found in _files_of(Path(match)):
            if found not in seen:  # ** finds a folder and the files in it
                seen.add(found)
                yield found


def _files_of(path: Path) -> Iterator[Path]:
    """Yield ``path`` itself, or the files below it if it is a folder. Links to folders are followed, each once."""
    if not path.is_dir():
        yield path
        return
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(path, onerror=_refuse, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not litter(name, folder=True))
        for name in sorted(files):
            if not litter(name, folder=False):
                yield Path(folder, name)


def _refuse(error: OSError) -> None:
    raise FolderError(
        f"A folder cannot be read ({error.strerror})",
        do="grant read permission",
        folder=str(error.filename),
    ) from error


def _attempt(reader: Reader, source: Input) -> Read | Failed:
    try:
        return reader(source)
    except DecodeError as error:
        return Failed(error.reason)


def _windows(images: Iterable[Input]) -> Iterator[list[Input]]:
    """Group inputs into lists that fit in memory: long lists of paths, single items of decoded images."""
    for encoded, group in itertools.groupby(images, lambda source: isinstance(source, (str, os.PathLike, bytes))):
        window: list[Input] = []
        held = 0
        for source in group:
            window.append(source)
            held += len(source) if isinstance(source, bytes) else 0
            if not encoded or len(window) == _WINDOW or held >= _WINDOW_BYTES:
                yield window
                window, held = [], 0
        if window:
            yield window
