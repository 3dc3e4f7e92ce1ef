"""The exception tree.

Every message is one line: what happened, what was expected, what to do, then what was received. The command line
prints it and exits with ``exit_code``; nothing else in the package decides an exit code.

```
HousetrainError                 base of all errors; exit code 2
├── DataError                   problems with the images
│   ├── FolderError             a folder that cannot be used
│   ├── DecodeError             an image that cannot be read (has .reason)
│   └── SourceChanged           images that changed after the scan
├── RecipeError                 invalid settings
├── StoreError                  problems with stored files
│   ├── RunLocked               another process writes to the folder
│   ├── IncompleteError         a folder that is unfinished or of another kind
│   ├── CorruptError            a file that does not match its manifest
│   └── DiskFull                no space, or no permission, for an output
├── TrainingError               training failed (NaN); exit code 1
├── ModelError                  a model or bundle that is rejected or does not load
├── DownloadError               a failed download
└── MissingExtra                an optional library that is not installed
```
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any


class HousetrainError(Exception):
    """Base of all errors of this package. Catch it to handle every problem that the user can solve.

    Args:
        what: What happened: starts with a capital, no full stop at the end.
        expected: What was expected instead.
        do: What to do about it.
        **received: The offending values, shown as ``Received: name=value``.
    """

    exit_code = 2

    def __init__(self, what: str, *, expected: str = "", do: str = "", **received: object) -> None:
        self.what, self.expected, self.do, self.received = what, expected, do, received
        parts = [what.rstrip(".") + "."]
        if expected:
            parts.append(f"Expected: {expected.rstrip('.')}.")
        if do:
            parts.append(f"Do: {do.rstrip('.')}{'' if do.endswith('?') else '.'}")
        if received:
            parts.append("Received: " + ", ".join(f"{name}={_plain(value)}" for name, value in received.items()))
        super().__init__(one_line(" ".join(parts)))


class DataError(HousetrainError):
    """A problem with the images. Catch it around scan, check, split and prepare."""


class FolderError(DataError):
    """A folder cannot be used: missing, unreadable or without classes. Nothing was written."""


class DecodeError(DataError):
    """An image cannot be read. Catch it to skip the image; ``reason`` is a short, stable phrase on one line."""

    def __init__(self, reason: str, **received: Any) -> None:
        self.reason = one_line(reason)  # may quote the file
        super().__init__(self.reason, **received)

    def __reduce__(self) -> tuple[type[DecodeError], tuple[str]]:
        return type(self), (self.reason,)


class SourceChanged(DataError):
    """Images changed after the scan. Scan again; the message names them."""


class RecipeError(HousetrainError):
    """Invalid settings. The message lists all problems of the recipe at once."""


class StoreError(HousetrainError):
    """A problem with stored files. Catch it around run folders and prepared arrays."""


class RunLocked(StoreError):
    """Another process writes to this folder. Wait for it or stop it; the message names it."""


class IncompleteError(StoreError):
    """The folder is unfinished or of another kind."""


class CorruptError(StoreError):
    """A file does not match its manifest: it was changed or truncated after it was written."""


class DiskFull(StoreError):
    """An output cannot be written: no space, or no permission. Existing files are intact."""


class TrainingError(HousetrainError):
    """Training failed, for example with a NaN loss. The last good weights are kept."""

    exit_code = 1


class ModelError(HousetrainError):
    """A model or bundle is rejected or does not load."""


class DownloadError(HousetrainError):
    """A download failed. The message names the file and where to put it manually."""


class MissingExtra(HousetrainError):
    """An optional library is not installed. The message names the extra.

    Args:
        extra: Name of the extra, such as ``"tensorflow"``.
        need: The feature that needs it, such as ``"Training"``.
    """

    def __init__(self, extra: str, *, need: str) -> None:
        self.extra = extra
        super().__init__(
            f"{need[:1].upper()}{need[1:]} requires an optional library that is not installed",
            do=how_to_install(extra),
            extra=extra,
        )


def how_to_install(extra: str) -> str:
    """Return the command that installs what an extra needs; where this Python is too new for it, the one to use."""
    return too_new(_requirements(extra), sys.version_info.minor) or install_command(extra)


def install_command(extra: str) -> str:
    """Return the command that installs what an extra needs, such as ``pip install "optuna>=5"``.

    It names the libraries, not the extra of this package, which is not on the public index yet: a stranger who
    registers its name there could run code on the machine of anyone who follows such a line.
    """
    needed = [line.partition(";")[0].strip() for line in _requirements(extra)]
    if not needed:
        return f"install the extra {extra}"
    return "pip install " + " ".join(f'"{requirement}"' for requirement in needed)


def too_new(requirements: Sequence[str], minor: int) -> str:
    """Return the Python to use where 3.``minor`` is too new for one of the requirements; else an empty string."""
    for line in requirements:
        limit = re.search(r"python_(?:full_)?version < '3\.(\d+)'", line.replace('"', "'"))
        if limit and minor >= int(limit[1]):
            name = re.split(r"[^\w-]", line)[0]
            return f"use Python 3.{int(limit[1]) - 1} or older, as {name} requires; this is Python 3.{minor}"
    return ""


def _requirements(extra: str) -> list[str]:
    """Return the requirements of an extra, as the metadata of this package has them."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = requires("housetrain") or []
    except PackageNotFoundError:  # a source tree on the path, not installed
        return []
    return [line for line in lines if f"extra == '{extra}'" in line.replace('"', "'")]


def one_line(text: str) -> str:
    """Return ``text`` on one line: control characters, such as a newline in a file name, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _plain(value: object) -> str:
    return repr(str(value)) if isinstance(value, (str, PurePath)) else str(value)
