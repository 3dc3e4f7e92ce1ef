"""Images and tables at an address, such as ``s3://bucket/images/``: what fsspec reaches beyond this machine's files.

In: an address. Out: the addresses of the images below it; the bytes of one; a file to write. Does not know: images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

from housetrain.data.ignored_names import litter
from housetrain.errors import DecodeError, FolderError, HousetrainError, one_line
from housetrain.inference.inputs import Listing
from housetrain.system.regular_files import MAX_BYTES
from housetrain.system.storage import open_storage


class AddressListing(Listing):
    """The images that addresses refer to, each once; paths of this machine may be among them.

    Args:
        given: Addresses of images or folders, and paths. A folder refers to every file below it, sorted by name.

    Raises:
        FolderError: An address refers to nothing.
    """

    def __init__(self, given: Sequence[str]) -> None:
        self.paths = []
        self._parts: list[Iterable[Path | str]] = []
        self._bases: list[str] = []
        for one in given:
            if not is_address(one):
                self._parts.append(Listing([one]))
                continue
            base, found = _below(one)
            self._parts.append(found)
            self._bases.append(base)

    def __iter__(self) -> Iterator[Any]:
        """Yield paths and addresses, each once."""
        seen: set[str] = set()
        for part in self._parts:
            for one in part:
                if str(one) not in seen:
                    seen.add(str(one))
                    yield one

    def folder_of(self, path: Path | str) -> PurePath:
        """Return the folder of an image, relative to the address that it was found by."""
        name = str(path)
        for base in self._bases:
            if name.startswith(base):
                return PurePosixPath(name[len(base) :]).parent
        for part in self._parts:
            if isinstance(part, Listing):
                return part.folder_of(path)
        return PurePath()


def is_address(text: Any) -> bool:
    """Return whether a text is an address, not a path of this machine."""
    return isinstance(text, str) and "://" in text and not Path(text).exists()


def read_address(address: str) -> bytes:
    """Return the content of a file.

    Raises:
        DecodeError: It cannot be read, or is too large.
    """
    files, path = _opened(address)
    try:
        with files.open(path, "rb") as file:
            data: bytes = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise DecodeError("file not found") from None
    except Exception as error:  # each kind of storage raises its own
        raise DecodeError(f"cannot be read ({type(error).__name__}: {one_line(str(error))[:100]})") from error
    if len(data) > MAX_BYTES:
        raise DecodeError("file too large")
    return data


@contextmanager
def writing(address: str) -> Iterator[IO[bytes]]:
    """Yield a file to write; it appears at the address when the block returns.

    Raises:
        HousetrainError: It cannot be written.
    """
    files, path = _opened(address)
    try:
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with files.open(path, "wb") as file:
            yield file
    except OSError as error:
        raise HousetrainError("The output cannot be written", address=address, cause=str(error)) from error


def _below(address: str) -> tuple[str, list[str]]:
    """Return the address of a folder, ending in a slash, and those of the images in it, or of the one image."""
    files, path = _opened(address)
    try:
        if files.isfile(path):
            return address.rpartition("/")[0] + "/", [address]
        names = sorted(str(found)[len(path) :].lstrip("/") for found in files.find(path))
    except Exception as error:  # as above
        raise FolderError(
            "The images cannot be listed", do="check the address and the access to it", given=address, cause=str(error)
        ) from error
    base = address.rstrip("/") + "/"
    wanted = [name for name in names if not _is_litter(name)]
    if not wanted:
        raise FolderError("There are no images at the address", given=address)
    return base, [base + name for name in wanted]


def _is_litter(name: str) -> bool:
    *folders, last = name.split("/")
    return bool(litter(last, folder=False)) or any(litter(folder, folder=True) for folder in folders)


def _opened(address: str) -> tuple[Any, str]:
    return open_storage(address, need=f"Reading {address.partition('://')[0]}:// addresses")
