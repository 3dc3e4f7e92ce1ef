"""Downloading a public file and unpacking an archive, without trusting either.

In: the address of a file, its size and sha256. Out: that file, or a ``DownloadError`` that says how to get it manually.
An interrupted download resumes. An archive is checked before anything is unpacked: it is refused as a whole for names
that lead outside, links, and zip bombs. It does not know what the files are for.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from housetrain.errors import DownloadError
from housetrain.system.events import Callback, Callbacks
from housetrain.system.files import disk_errors, replace_durably
from housetrain.system.store import open_own

_ATTEMPTS = 4
_TIMEOUT_S = 30.0
_BLOCK = 1 << 20
_MOST_BYTES = 4 << 30  # unpacked: four times the largest data set here
_MOST_FILES = 2_000_000
_MOST_RATIO = 200  # deflate reaches about 1000; a folder of images hardly 2


@dataclass(frozen=True)
class RemoteFile:
    """A public file.

    Attributes:
        url: An http or https address.
        bytes: Its size.
        sha256: Of its content, 64 hex digits.
    """

    url: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name


def fetch(remote: RemoteFile, folder: Path, *, callbacks: Sequence[Callback] = ()) -> Path:
    """Download a file into ``folder`` unless it exists there, resuming an earlier partial download.

    Args:
        remote: The file.
        folder: Created if it does not exist. An incomplete file is called ``<name>.part``.
        callbacks: Receive the progress of the stage ``download``, in bytes.

    Raises:
        DownloadError: No answer, another content, or another size.
        DiskFull: No room or no permission.
    """
    events = Callbacks(callbacks)
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if urlsplit(remote.url).scheme not in ("http", "https"):  # urllib would open file:// as well
        raise DownloadError("Not an address to download from", expected="http or https", url=remote.url)
    with disk_errors(target, bytes_needed=remote.bytes):
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            if target.stat().st_size == remote.bytes and _sha256(target) == remote.sha256:
                return target
            target.unlink()
        if part.is_symlink():  # its target is neither read nor written
            part.unlink()
        for attempt in range(_ATTEMPTS):
            try:
                _resume(remote, part, events)
                break
            except urllib.error.HTTPError as error:
                cause = f"the server answered {error.code} {error.reason}"
                if error.code < 500 and error.code not in (408, 425, 429):
                    raise _failed(remote, cause) from error
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
                cause = str(getattr(error, "reason", "") or error or type(error).__name__)
            if attempt + 1 == _ATTEMPTS:
                raise _failed(remote, cause)
            time.sleep(0.5 * 2**attempt)
        found = _sha256(part)
        if found != remote.sha256:
            size = part.stat().st_size
            part.unlink()  # resuming it could never succeed
            raise _failed(remote, f"its content differs: {size} bytes, sha256 {found[:16]}...")
        replace_durably(part, target)
    return target


def _resume(remote: RemoteFile, part: Path, events: Callbacks) -> None:
    """Append the missing bytes to ``part``."""
    have = part.stat().st_size if part.exists() else 0
    if have > remote.bytes:
        part.unlink()
        have = 0
    if have == remote.bytes:
        return
    request = urllib.request.Request(remote.url, headers={"User-Agent": "housetrain"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        resumed = answer.status == 206 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
        done = have if resumed else 0  # a server without range support sends everything
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if resumed else os.O_TRUNC)
        with os.fdopen(open_own(part, flags), "ab" if resumed else "wb") as file:
            while block := answer.read(_BLOCK):
                done += len(block)
                if done > remote.bytes:
                    raise _failed(remote, f"the file is larger than {remote.bytes} bytes")
                file.write(block)
                events.count("download", done, remote.bytes, unit="bytes")
    if done < remote.bytes:
        raise ConnectionError(f"the connection ended after {done} of {remote.bytes} bytes")


def _failed(remote: RemoteFile, cause: str) -> DownloadError:
    return DownloadError(
        f"Cannot download {remote.name}: {cause}",
        do=f"try again (the download resumes), or download {remote.url} another way and give its path with --source",
        bytes=remote.bytes,
        sha256=remote.sha256,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plan_unzip(
    archive: Path, target_of: Callable[[str], Path | None], *, most_bytes: int | None = None
) -> list[tuple[str, Path]]:
    """Look through an archive that may be hostile. Nothing is unpacked.

    Args:
        archive: A zip file.
        target_of: Gives for a member's name the path to write, or ``None`` to leave it out.
        most_bytes: Bytes that all members together may unpack to; by default 4 GiB, four times the largest data set.

    Returns:
        (member's name, path to write), in the order of the archive.

    Raises:
        DownloadError: It is no zip, or has a name that leads outside, a link, or more data than it should.
    """
    with _opened(archive) as bundle:
        members = bundle.infolist()
        problem = unsafe(
            [(one.filename, one.file_size, _is_plain(one)) for one in members], most_bytes=most_bytes or _MOST_BYTES
        ) or _unsafe_in_zip(members)
        if problem:
            raise DownloadError(
                f"The archive is refused: {problem}", do="download it from its publisher", archive=archive
            )
        targets = ((member.filename, target_of(member.filename)) for member in members if not member.is_dir())
        return [(name, target) for name, target in targets if target is not None]


def unzip(archive: Path, planned: Iterable[tuple[str, Path]]) -> Iterator[Path]:
    """Unpack what `plan_unzip` gave. Files that are there already, whole, are kept.

    Yields:
        Each path, once it is whole.

    Raises:
        DownloadError: A member is damaged.
        DiskFull: No room or no permission.
    """
    with _opened(archive) as bundle:
        for name, target in planned:
            member = bundle.getinfo(name)
            if not _is_whole(target, member):
                _unpack(bundle, member, target)
            yield target


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as bundle:
            yield bundle
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadError(
            "The archive cannot be unpacked", do="delete it and download it again", archive=archive, cause=str(error)
        ) from error


def unsafe(members: Sequence[tuple[str, int, bool]], *, most_bytes: int) -> str:
    """Return why an archive must not be unpacked, or ``""``.

    Args:
        members: (name, bytes, whether it is a plain file or a folder) of each member.
        most_bytes: Bytes that all members together may unpack to.
    """
    if len(members) > _MOST_FILES:
        return f"it has {len(members):,} members"
    if sum(size for _, size, _ in members) > most_bytes:
        return f"it would unpack to more than {most_bytes >> 30} GiB"
    for name, _, plain in members:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name:
            return f"a name leads outside: {name!r}"
        if not plain:
            return f"a member is a link or a device: {name!r}"
    return ""


def _is_plain(member: zipfile.ZipInfo) -> bool:
    return stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


def _unsafe_in_zip(members: Iterable[zipfile.ZipInfo]) -> str:
    """Return what only a zip can do to be refused, or ``""``."""
    for member in members:
        if member.flag_bits & 0x1:
            return f"a member is encrypted: {member.filename!r}"
        if member.file_size > _BLOCK and member.file_size > _MOST_RATIO * max(1, member.compress_size):
            return f"a member unpacks to {member.file_size} bytes: {member.filename!r}"
    return ""


def _is_whole(target: Path, member: zipfile.ZipInfo) -> bool:
    if not target.is_file() or target.stat().st_size != member.file_size:
        return False
    return zlib.crc32(target.read_bytes()) == member.CRC


def _unpack(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with disk_errors(target, bytes_needed=member.file_size):
        try:
            # zipfile reads no more than the size in the directory and checks the CRC at the end.
            handle = open_own(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with bundle.open(member) as source, os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(source, file, _BLOCK)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
