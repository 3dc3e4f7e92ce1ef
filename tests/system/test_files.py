"""One clear line for a disk that does not take it, and files that are the old or the new."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from housetrain.errors import DiskFull
from housetrain.system.files import disk_errors, ensure_room, is_temporary, temporary_beside, write_atomic


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_names_path_and_bytes(tmp_path: Path, code: int) -> None:
    path = tmp_path / "not" / "yet"
    with (
        pytest.raises(DiskFull, match=r"bytes_needed=7, bytes_free=\d+") as caught,
        disk_errors(path, bytes_needed=7),
    ):
        raise OSError(code, "")
    assert str(path) in str(caught.value) and "free some space" in str(caught.value)
    assert os.strerror(code) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_no_permission_says_so(tmp_path: Path, code: int) -> None:
    with pytest.raises(DiskFull, match="allow writing there") as caught, disk_errors(tmp_path):
        raise OSError(code, "")
    assert "bytes" not in str(caught.value)


def test_other_errors_are_not_the_disks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_room_is_asked_for_where_nothing_is_yet(tmp_path: Path) -> None:
    ensure_room(tmp_path / "a" / "b" / "c", 1)
    with pytest.raises(DiskFull, match="bytes_needed=1152921504606846976, bytes_free="):
        ensure_room(tmp_path / "a" / "b" / "c", 1 << 60)


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, function: str
) -> None:
    path = tmp_path / "file.json"
    write_atomic(path, b"old", durable=durable)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if function == "fsync" else (Path, "replace")), full)
    if function == "fsync" and not durable:
        write_atomic(path, b"new", durable=False)  # it does not wait for the disk
        assert path.read_bytes() == b"new"
        return
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new", durable=durable)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_killed_while_writing_the_old_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomic(path, b"old")
    code = (
        "import os, sys; from pathlib import Path; from housetrain.system import files; "
        "os.fsync = lambda _: os.kill(os.getpid(), 9); files.write_atomic(Path(sys.argv[1]), b'new' * 1000)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)])
    assert ended.returncode == -signal.SIGKILL and path.read_bytes() == b"old"
    left = [item.name for item in tmp_path.iterdir() if item != path]
    assert len(left) == 1 and is_temporary(left[0])  # whoever writes there next knows it for what it is


def test_names_of_temporary_files(tmp_path: Path) -> None:
    assert is_temporary(temporary_beside(tmp_path / "model.keras").name)
    assert temporary_beside(tmp_path / "model.keras").suffix == ".keras"  # savers look at it
    assert not any(map(is_temporary, ("model.keras", ".lock", "notes.tmp", "images-1.npy")))
