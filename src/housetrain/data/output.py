"""Writing beside the images without harm: outputs never inside the source, and one writer at a time.

In: paths. Out: a refusal, or a lock that waits. It does not know what is written.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from housetrain.errors import FolderError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EROFS, errno.EACCES, errno.EPERM}
_log = logging.getLogger(__name__)


def refuse_inside(root: Path, folder: Path) -> None:
    """Refuse an output folder that is the source folder or lies inside it.

    Raises:
        FolderError: It does. Nothing was written.
    """
    if folder.resolve().is_relative_to(root.resolve()):
        raise FolderError(
            "the output would be written into the folder of images, which is never changed",
            do="choose an output folder outside of it",
            output=folder,
            images=root,
        )


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for writing; a second process waits for the first, and then usually finds its work done.

    The lock is the kernel's: it ends with the process, also after a kill.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        from filelock import FileLock

        with FileLock(folder / ".lock"):
            yield
        return
    # The same lock as filelock.FileLock's, whose import would take a third of the time that 600 photos take.
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("another process is writing to %s; waiting for it", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
