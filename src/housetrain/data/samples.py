"""Standard data sets as folders of images, to try everything on.

In: a name and an empty folder. Out: ``DEST/<class>/*.png`` (or ``DEST/train/<class>`` and ``DEST/test/<class>`` if the
data set comes with a split), or one file of arrays. It does not know what the images will be used for.

``digits`` needs nothing but scikit-learn. The others are read from ``source`` where given, from the Debian package
``dataset-fashion-mnist`` where installed, else downloaded and checked against their published sha256.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from housetrain.data.download import RemoteFile, fetch, plan_unzip, unzip
from housetrain.data.sample_arrays import holds_sample, write_sample_arrays
from housetrain.errors import DownloadError, FolderError, RecipeError, StoreError
from housetrain.system.events import Callback, Callbacks
from housetrain.system.files import disk_errors, write_atomic
from housetrain.system.near_folders import near_names
from housetrain.system.store import read_json

SampleName = Literal["digits", "fashion-mnist", "mnist", "cats-vs-dogs"]
NAMES: tuple[SampleName, ...] = get_args(SampleName)

MARK = ".housetrain-sample.json"
DEBIAN_FOLDERS = (Path("/usr/share/datasets/fashion-mnist"), Path("/usr/share/dataset-fashion-mnist"))
FASHION_CLASSES = (
    "T-shirt-top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle-boot",
)  # fmt: skip
DIGIT_CLASSES = tuple("0123456789")
DIGIT_SIDE = 32
_DIGITS_TRAIN = 1500  # of 1,797, for arrays, which have a test as those of MNIST have
_IDX_PARTS = {"train": "train", "test": "t10k"}
_MOST_IDX_BYTES = 64 << 20  # the largest real one has 47 MB

_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_FASHION = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
REMOTE: dict[str, tuple[RemoteFile, ...]] = {
    "mnist": (
        RemoteFile(
            f"{_MNIST}train-images-idx3-ubyte.gz",
            9912422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        RemoteFile(
            f"{_MNIST}train-labels-idx1-ubyte.gz",
            28881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        RemoteFile(
            f"{_MNIST}t10k-images-idx3-ubyte.gz",
            1648877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        RemoteFile(
            f"{_MNIST}t10k-labels-idx1-ubyte.gz",
            4542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": (
        RemoteFile(
            f"{_FASHION}train-images-idx3-ubyte.gz",
            26421880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        RemoteFile(
            f"{_FASHION}train-labels-idx1-ubyte.gz",
            29515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        RemoteFile(
            f"{_FASHION}t10k-images-idx3-ubyte.gz",
            4422102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        RemoteFile(
            f"{_FASHION}t10k-labels-idx1-ubyte.gz",
            5148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "cats-vs-dogs": (
        RemoteFile(
            "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
            "kagglecatsanddogs_5340.zip",
            824887076,
            "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
        ),
    ),
}
_PET = re.compile(r"(?:.*/)?(Cat|Dog)/(\d+\.jpg)")


def sample(
    name: str,
    dest: Path | str,
    *,
    source: Path | str | None = None,
    arrays: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Write a standard data set as class folders of images, or as arrays. A second call finds it complete.

    Args:
        name: ``"digits"`` (1,797 handwritten digits, nothing to download), ``"fashion-mnist"`` and ``"mnist"`` (70,000
            each), or ``"cats-vs-dogs"`` (25,000 photos, 787 MB).
        dest: A new or empty folder, or one that an interrupted call left; with ``arrays`` a ``.npz`` file.
        source: Existing files of the data set instead of a download: a folder of IDX files (also ``.gz``), or the zip.
        arrays: Write ``x_train``, ``y_train``, ``x_test`` and ``y_test`` into one file, as ``keras.datasets`` gives
            them; the photos of cats and dogs differ in size and cannot be had so. Of the digits, the last 297 are the
            test.
        callbacks: Receive the progress of the stage ``download``: bytes while a file is downloaded, then images.

    Returns:
        ``dest``.

    Raises:
        RecipeError: No such data set.
        FolderError: ``dest`` holds something else, or ``source`` lacks a file.
        DownloadError: A file could not be fetched, or is not what it should be.
        DiskFull: No room or no permission.
    """
    if name not in NAMES:
        near = near_names(name, NAMES)
        raise RecipeError(
            "Unknown data set",
            expected=f"one of {', '.join(NAMES)}",
            do=f"did you mean {near[0]}?" if near else "",
            name=name,
        )
    dest, source = Path(dest), None if source is None else Path(source)
    if arrays:
        return _as_arrays(name, dest, source=source, events=Callbacks(callbacks))
    if _is_complete(dest, name):
        return dest
    _refuse_foreign(dest, name)
    events = Callbacks(callbacks)
    with events.stage("download", name=name):
        if name == "digits":
            _write(name, dest, {"": _digits()}, classes=DIGIT_CLASSES, events=events)
        elif name == "cats-vs-dogs":
            _cats_vs_dogs(dest, source=source, events=events)
        else:
            parts, scratch = _idx(name, source=source, events=events)
            classes = FASHION_CLASSES if name == "fashion-mnist" else DIGIT_CLASSES
            _write(name, dest, parts, classes=classes, events=events)
            if scratch:
                shutil.rmtree(scratch, ignore_errors=True)
    return dest


def _as_arrays(name: str, file: Path, *, source: Path | None, events: Callbacks) -> Path:
    if name == "cats-vs-dogs":
        raise RecipeError(
            "The photos differ in size, so they are no arrays yet",
            expected="digits, fashion-mnist or mnist",
            do="housetrain sample cats-vs-dogs, then housetrain prepare cats-vs-dogs",
            name=name,
        )
    if holds_sample(file, name):
        return file
    with events.stage("download", name=name):
        if name == "digits":
            images, labels = _digits()
            parts: dict[str, tuple[np.ndarray, np.ndarray]] = {
                "train": (images[:_DIGITS_TRAIN], labels[:_DIGITS_TRAIN]),
                "test": (images[_DIGITS_TRAIN:], labels[_DIGITS_TRAIN:]),
            }
            scratch = None
        else:
            parts, scratch = _idx(name, source=source, events=events)
        write_sample_arrays(file, name, parts)
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    return file


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits: ``(1797, 32, 32)`` uint8 and ``(1797,)`` labels.

    They are 8x8 with values 0 to 16. Enlarged four times they are readable on a contact sheet, and a model sees the
    same. Cubic, because nearest gives blocks, and Lanczos rings around strokes this thin.
    """
    import cv2
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    small = np.clip(images.reshape(-1, 8, 8) * (255 / 16), 0, 255).astype(np.float32)
    large = [cv2.resize(one, (DIGIT_SIDE, DIGIT_SIDE), interpolation=cv2.INTER_CUBIC) for one in small]
    return np.clip(np.rint(large), 0, 255).astype(np.uint8), labels.astype(np.int64)


def _idx(
    name: str, *, source: Path | None, events: Callbacks
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Path | None]:
    """Return the parts of an IDX data set, and the folder of downloads that is no longer needed."""
    folder, scratch = source, None
    if folder is None and name == "fashion-mnist":
        folder = next((place for place in DEBIAN_FOLDERS if place.is_dir()), None)
    if folder is None:
        folder = scratch = _downloads() / name
        for remote in REMOTE[name]:
            fetch(remote, folder, callbacks=[events])
    found = {}
    for split, start in _IDX_PARTS.items():
        images, labels = _find(folder, f"{start}-images*ubyte*"), _find(folder, f"{start}-labels*ubyte*")
        if images and labels:
            found[split] = read_idx(images), read_idx(labels)
            if found[split][0].ndim != 3 or found[split][0].shape[:1] != found[split][1].shape:
                raise FolderError("Images and labels differ in number", images=images, labels=labels)
            if int(found[split][1].max(initial=0)) > 9:
                raise FolderError("Labels above 9", expected="the labels of ten classes", labels=labels)
    if not found:
        raise FolderError(
            f"The folder does not hold the files of {name}",
            expected="train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz, or the same with t10k",
            source=folder,
        )
    # Split folders only if there is more than one split.
    return (found if len(found) > 1 else {"": next(iter(found.values()))}), scratch


def _find(folder: Path, pattern: str) -> Path | None:
    return next(iter(sorted(folder.glob(pattern))), None) if folder.is_dir() else None


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, gzipped or not: the format of http://yann.lecun.com/exdb/mnist/.

    Raises:
        DownloadError: It is something else, or damaged.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as content:
            data = content.read(_MOST_IDX_BYTES + 1)
        if len(data) < 4 or data[:3] != b"\x00\x00\x08" or len(data) > _MOST_IDX_BYTES:
            raise ValueError("it does not begin as one")
        shape = np.frombuffer(data, ">u4", count=data[3], offset=4).astype(np.int64)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DownloadError(
            "Not an IDX file of bytes, or corrupt", do="fetch it again", path=path, cause=str(error)
        ) from error


def _write(
    name: str,
    dest: Path,
    parts: dict[str, tuple[np.ndarray, np.ndarray]],
    *,
    classes: Sequence[str],
    events: Callbacks,
) -> None:
    """Write the images of all parts; ``dest/<part>/<class>/<number>.png``."""
    total = sum(len(labels) for _, labels in parts.values())
    with _marked(dest, name, total):
        done = 0
        for part, (images, labels) in parts.items():
            folders = [dest / part / label for label in classes]
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            for number, data in enumerate(_png(images)):
                (folders[labels[number]] / f"{number:05d}.png").write_bytes(data)
                done += 1
                events.count("download", done, total)


def _png(images: Iterable[np.ndarray]) -> Iterator[bytes]:
    from housetrain.images.encode import encode

    for image in images:
        # Level 1: such small files fill one disk block either way, and it is several times quicker.
        yield encode(image, compression=1)


def _cats_vs_dogs(dest: Path, *, source: Path | None, events: Callbacks) -> None:
    (remote,) = REMOTE["cats-vs-dogs"]
    archive = source / remote.name if source is not None and source.is_dir() else source
    if archive is not None and not archive.is_file():
        raise FolderError("The archive does not exist", expected=remote.name, source=archive)
    if archive is None:
        archive = fetch(remote, _downloads(), callbacks=[events])

    def target_of(member: str) -> Path | None:
        match = _PET.fullmatch(member)  # leaves out the licences and Thumbs.db
        return dest / match[1] / match[2] if match else None

    planned = plan_unzip(archive, target_of)
    if not planned:
        raise DownloadError("The archive holds no cats and dogs", expected="PetImages/Cat/0.jpg ...", archive=archive)
    with _marked(dest, "cats-vs-dogs", len(planned)):
        for done, _ in enumerate(unzip(archive, planned), 1):
            events.count("download", done, len(planned))
    if source is None:
        archive.unlink(missing_ok=True)  # 787 MB that are no longer needed


@contextlib.contextmanager
def _marked(dest: Path, name: str, total: int) -> Iterator[None]:
    """Mark ``dest`` with the name of the data set and, at the end, as complete."""
    mark = {"name": name, "images": total, "complete": False}
    with disk_errors(dest, bytes_needed=4096 * total):
        dest.mkdir(parents=True, exist_ok=True)
        write_atomic(dest / MARK, json.dumps(mark).encode())
        yield
        write_atomic(dest / MARK, json.dumps({**mark, "complete": True}).encode())


def _read_mark(dest: Path) -> dict[str, Any]:
    try:
        mark = read_json(dest / MARK)
    except StoreError:
        return {}
    return mark if isinstance(mark, dict) else {}


def _is_complete(dest: Path, name: str) -> bool:
    mark = _read_mark(dest)
    if mark.get("name") != name or not mark.get("complete"):
        return False
    # Counted, so that an image that was deleted since comes back.
    return sum(len(files) for folder, _, files in os.walk(dest) if Path(folder) != dest) == mark.get("images")


def _refuse_foreign(dest: Path, name: str) -> None:
    try:
        present = sorted(item.name for item in dest.iterdir())
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise FolderError("The destination is not a folder", dest=dest) from None
    other = _read_mark(dest).get("name", "")
    if present and other != name:
        raise FolderError(
            "The destination holds other files",
            expected=f"a new or empty folder, or one with {name}",
            do="choose another folder",
            dest=dest,
            found=other or present[0],
        )


def _downloads() -> Path:
    from housetrain.data.catalog import cache_folder

    return cache_folder() / "downloads"
