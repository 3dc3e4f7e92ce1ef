"""Predicted images -> a folder of class folders, by links or copies.

In: predictions of files. Out: ``FOLDER/<class>/<name>``, and ``FOLDER/unsure/<name>`` for unsure ones. The sources stay
where and what they are, and nothing in the folder is ever overwritten: another file of the same name gets a number. It
does not know how images are classified.

A hard link takes no room and is the file itself: what edits it edits the source. A copy is a file of its own.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from housetrain.errors import StoreError
from housetrain.inference.prediction import Prediction
from housetrain.system.files import disk_errors

How = Literal["link", "copy", "auto"]
UNSURE = "unsure"
"""The folder of unsure predictions; a class of this name gets another."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')  # what Windows forbids; a slash is forbidden everywhere
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_MOST_BYTES = 200  # of a folder's name; file systems allow 255
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


class Sorter:
    """Puts images into the folder of their class.

    Args:
        folder: Made if missing; files in it stay.
        classes: All classes that may be predicted.
        how: ``"link"``, ``"copy"``, or ``"auto"``: a hard link where that is possible, else a copy.

    Attributes:
        linked: Number of links that were made.
        copied: Number of copies that were made.
        there: Number of images that were already there, from an earlier call.
    """

    def __init__(self, folder: Path | str, classes: Sequence[str], *, how: How = "auto") -> None:
        self.folder, self.how = Path(folder), how
        self._name_of = dict(zip(classes, folder_names(classes, taken=(UNSURE,)), strict=True))
        self.linked = self.copied = self.there = 0

    def add(self, one: Prediction) -> Path | None:
        """Link or copy an image into its folder.

        Returns:
            The new path; ``None`` for an image that could not be read, which is sorted nowhere.

        Raises:
            StoreError: It cannot be linked, where that was asked for.
            DiskFull: It cannot be written.
        """
        if one.error is not None:
            return None
        return self.put(one.image, None if one.unsure else one.label)

    def put(self, image: Path | str, label: str | None) -> Path:
        """Link or copy an image into the folder of a class, without one into `UNSURE`; return the new path.

        Raises:
            StoreError: It cannot be linked, where that was asked for.
            DiskFull: It cannot be written.
        """
        source, name = Path(os.path.realpath(image)), Path(image)
        folder = self.folder / (UNSURE if label is None else self._name_of[label])
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                target = folder / (name.name if number == 1 else f"{name.stem}-{number}{name.suffix}")
                if self._place(source, target):
                    return target
                number += 1

    def summary(self) -> str:
        """Return one line for people."""
        parts = [
            f"{count:,} {what}"
            for count, what in ((self.linked, "linked"), (self.copied, "copied"), (self.there, "there already"))
            if count
        ]
        return f"Sorted into {self.folder}: {', '.join(parts) or 'nothing'}"

    def _place(self, source: Path, target: Path) -> bool:
        """Make the target, or find that it is there already; return whether it is the image now."""
        if os.path.lexists(target):
            if not target.is_file() or not (source.samefile(target) or filecmp.cmp(source, target, False)):
                return False
            self.there += 1
            return True
        try:
            if self.how == "copy" or not self._link(source, target):
                _copy(source, target)
                self.copied += 1
            else:
                self.linked += 1
        except FileExistsError:  # made by another process meanwhile
            return False
        return True

    def _link(self, source: Path, target: Path) -> bool:
        """Make a hard link; return whether that was possible."""
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self.how == "link":
                raise StoreError(
                    f"An image cannot be linked ({error.strerror})",
                    expected="a folder on the same file system as the images",
                    do="use --copy",
                    image=str(source),
                    folder=str(target.parent),
                ) from error
            return False
        return True


def folder_names(classes: Iterable[str], *, taken: Iterable[str] = ()) -> list[str]:
    """Return a folder name for each class: valid on every system, and no two alike on one that ignores case.

    Args:
        classes: Class names, all different.
        taken: Names that are not free.
    """
    used = {_folded(name) for name in taken}
    names = []
    for label in classes:
        safe = _FORBIDDEN.sub("_", label).strip().strip(".").strip() or "_"
        safe = f"{safe}_" if _DEVICES.fullmatch(safe) else safe
        safe = os.fsencode(safe)[:_MOST_BYTES].decode("utf-8", "ignore") or "_"
        name, number = safe, 1
        while _folded(name) in used:
            number += 1
            name = f"{safe}-{number}"
        used.add(_folded(name))
        names.append(name)
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its times. A name that exists is not overwritten, and a kill leaves no half of a file there."""
    part = target.with_name(f".{os.getpid()}.part")
    try:
        shutil.copyfile(source, part)
        with contextlib.suppress(OSError):  # a file system without times
            shutil.copystat(source, part)
        try:
            os.link(part, target)  # unlike a rename, it never replaces
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
            part.rename(target)
    finally:
        part.unlink(missing_ok=True)
