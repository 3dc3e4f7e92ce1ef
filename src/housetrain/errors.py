"""What can go wrong, as one small tree.

Every message is one line: what happened, what was expected, what to do, then what was received. The command line
prints it and leaves with ``exit_code``; nothing else in the package decides an exit code.

```
HousetrainError                 any of the below; exit code 2
├── DataError                   the images
│   ├── FolderError             a folder that cannot be used as asked
│   ├── DecodeError             one image that cannot be read (has .reason)
│   └── SourceChanged           images that changed after they were scanned
├── RecipeError                 settings that cannot be trained
├── StoreError                  what is kept on disk
│   ├── RunLocked               another process is writing there
│   ├── IncompleteError         a folder that is not finished, or not ours
│   ├── CorruptError            a file that does not agree with its manifest
│   └── DiskFull                no room, or no permission, for an output
├── TrainingError               training stopped by itself (NaN); exit code 1
├── ModelError                  a model or bundle that is refused or does not load
├── DownloadError               a file that could not be fetched
└── MissingExtra                an optional library that is not installed
```
"""

from __future__ import annotations

from typing import Any


class HousetrainError(Exception):
    """Base of all errors of this package. Catch it to catch everything that is the user's to mend.

    Args:
        what: What happened, without a final full stop.
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
            parts.append(f"Do: {do.rstrip('.')}.")
        if received:
            parts.append("Received: " + ", ".join(f"{name}={_plain(value)}" for name, value in received.items()))
        super().__init__(one_line(" ".join(parts)))


class DataError(HousetrainError):
    """Something about the images. Catch it around scan, check, split and prepare."""


class FolderError(DataError):
    """A folder cannot be used as asked: missing, unreadable, without classes. Nothing was written."""


class DecodeError(DataError):
    """One image cannot be read. Catch it to leave the image out; ``reason`` is a short stable phrase, one line."""

    def __init__(self, reason: str, **received: Any) -> None:
        self.reason = one_line(reason)  # it may quote the file
        super().__init__(self.reason, **received)

    def __reduce__(self) -> tuple[type[DecodeError], tuple[str]]:
        return type(self), (self.reason,)


class SourceChanged(DataError):
    """Images changed after they were scanned. Scan again; the names are in the message."""


class RecipeError(HousetrainError):
    """The settings cannot be trained. All problems of the recipe are in the message at once."""


class StoreError(HousetrainError):
    """Something about the files that housetrain keeps. Catch it around run folders and prepared arrays."""


class RunLocked(StoreError):
    """Another process writes into this folder. Wait for it, or stop it: it is named."""


class IncompleteError(StoreError):
    """The folder is not a finished one of the kind that was asked for."""


class CorruptError(StoreError):
    """A file does not agree with its manifest: it was changed or torn after it was written."""


class DiskFull(StoreError):
    """An output cannot be written: no room, or no permission. What was there before is intact."""


class TrainingError(HousetrainError):
    """Training stopped by itself, for instance on a loss that is not a number. The last good weights are kept."""

    exit_code = 1


class ModelError(HousetrainError):
    """A model or bundle is refused or does not load."""


class DownloadError(HousetrainError):
    """A file could not be fetched. The message says which file and where to put it by hand."""


class MissingExtra(HousetrainError):
    """An optional library is not installed. The message names the extra.

    Args:
        extra: The extra's name, for instance ``"tensorflow"``.
        need: What needs it, for instance ``"training"``.
    """

    def __init__(self, extra: str, *, need: str) -> None:
        self.extra = extra
        super().__init__(
            f"{need} needs an optional library that is not installed",
            do=f"pip install 'housetrain[{extra}]'",
            extra=extra,
        )


def one_line(text: str) -> str:
    """Return ``text`` with control characters (a newline in a file name) escaped, so that it stays one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _plain(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)
