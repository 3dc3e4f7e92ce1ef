"""Handles of processes that this user's studio started; nothing else is signalled.

In: a job folder and a process. Out: a note for ``process.json`` with a seal that only this user can make. A project
from a stranger may hold notes of its own, with the number of any process. It does not know commands.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from housetrain.data.catalog import cache_folder
from housetrain.errors import IncompleteError
from housetrain.system.files import temporary_beside

_KEY_BYTES = 32


def handle_of(folder: Path, pid: int) -> dict[str, Any]:
    """Return the note of a process: ``pid``, ``born`` (its start time) and ``seal``.

    Raises:
        psutil.Error: It has ended.
    """
    born = psutil.Process(pid).create_time()
    return {"pid": pid, "born": born, "seal": _seal(folder, pid, born)}


def is_own(folder: Path, note: Mapping[str, Any]) -> bool:
    """Return whether `handle_of` made a note for this folder."""
    return hmac.compare_digest(str(note.get("seal")).encode(), _seal(folder, note["pid"], note["born"]).encode())


def send(pid: int, *, born: float | None = None, at_once: bool = False) -> None:
    """Ask a `housetrain` process to stop where it is safe; ``at_once`` kills it.

    Args:
        pid: Its number.
        born: Its start time; by then the number may be that of another process.
        at_once: Kill it.

    Raises:
        IncompleteError: It has ended, or is another process.
    """
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)  # remembers when the process started, and compares that before it signals
        same = born is None or abs(process.create_time() - born) < 1.0
        if pid > 1 and same and any("housetrain" in word for word in process.cmdline()):
            process.send_signal(signal.SIGKILL if at_once else signal.SIGINT)
            return
    raise IncompleteError("The process has ended", do="reload the page", pid=pid)


def holds(pid: int, file: Path) -> bool:
    """Return whether a process has a file open: what it locks, for example."""
    with contextlib.suppress(psutil.Error):
        return any(os.path.realpath(file) == one.path for one in psutil.Process(pid).open_files())
    return False


def _seal(folder: Path, pid: int, born: float) -> str:
    words = "\0".join([os.path.realpath(folder), str(pid), repr(float(born))])
    return hmac.new(_key(), words.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _key() -> bytes:
    """Return a secret of this user and machine, made when it is first needed."""
    path = cache_folder() / "studio.key"
    with contextlib.suppress(OSError):
        if len(found := path.read_bytes()) == _KEY_BYTES:
            return found
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
    try:
        os.link(temporary, path)  # unlike a rename, it leaves the key that another process has just made
    except OSError:
        temporary.replace(path)
    temporary.unlink(missing_ok=True)
    return path.read_bytes()
