"""The array file: what numpy reads back, row by row, and why a row is missing."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from housetrain.data import npy_writer
from housetrain.data.npy_writer import Outcome, RowWriter
from housetrain.images.decode import load_image
from housetrain.images.input_spec import InputSpec

SPEC = InputSpec(4, 5, "rgb")


def filled(path: Path, count: int) -> Path:
    """A file whose row n holds n."""
    npy_writer.create(path, count, spec=SPEC)
    descriptor = os.open(path, os.O_RDWR)
    for number in range(count):
        npy_writer.write_row(descriptor, number, np.full(SPEC.shape, number, np.uint8))
    os.close(descriptor)
    return path


def values(path: Path) -> list[int]:
    array = np.load(path, mmap_mode="r")
    assert array.dtype == np.uint8 and array.shape[1:] == SPEC.shape
    assert path.stat().st_size == npy_writer.file_bytes(len(array), SPEC)
    assert all((row == row.flat[0]).all() for row in array)
    return [int(row.flat[0]) for row in array]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_numpy_reads_what_was_written(tmp_path: Path, count: int) -> None:
    assert values(filled(tmp_path / "a.npy", count)) == list(range(count))
    with pytest.raises(FileExistsError):
        npy_writer.create(tmp_path / "a.npy", count, spec=SPEC)


def test_without_room_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        npy_writer.create(tmp_path / "a.npy", 3, spec=SPEC)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_reserve_is_asked_for_its_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no such call")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    assert values(filled(tmp_path / "a.npy", 3)) == [0, 1, 2]
    with pytest.raises(OSError, match="No space"):
        npy_writer.create(tmp_path / "b.npy", 1 << 60, spec=SPEC)


def test_rows_are_copied_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_writer, "_BLOCK_BYTES", 2 * npy_writer.row_bytes(SPEC))  # two rows at a time
    source, target = filled(tmp_path / "a.npy", 8), tmp_path / "b.npy"
    npy_writer.create(target, 6, spec=SPEC)
    npy_writer.copy_rows(source, target, [(3, 0), (4, 1), (5, 2), (0, 3), (7, 5)], spec=SPEC)
    assert values(target) == [3, 4, 5, 0, 0, 7]
    npy_writer.drop_rows(source, [0, 3, 7], 8, spec=SPEC)
    assert values(source) == [1, 2, 4, 5, 6]
    with pytest.raises(OSError, match="shorter"):
        npy_writer.copy_rows(source, target, [(9, 0)], spec=SPEC)


def test_a_writer_decodes_the_file_that_was_scanned_and_no_other(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), np.full((9, 9, 3), 200, np.uint8))
    (tmp_path / "bad.png").write_bytes(b"<html>")
    sha = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.glob("*.png")}
    npy_writer.create(tmp_path / "rows", 2, spec=SPEC)
    writer = RowWriter(tmp_path, tmp_path / "rows", SPEC)
    writer = pickle.loads(pickle.dumps(writer))
    assert writer((1, "good.png", sha["good.png"])) is None
    assert writer((0, "bad.png", sha["bad.png"])) == Outcome("failed", "not an image (HTML)")
    assert writer((0, "good.png", "0" * 64)) == Outcome("changed", "its content is another")
    assert writer((0, "none.png", "0" * 64)) == Outcome("changed", "it is gone")
    rows = np.load(tmp_path / "rows")
    assert (rows[0] == 0).all() and (rows[1] == load_image(tmp_path / "good.png", SPEC)).all()
    broken = RowWriter(tmp_path, tmp_path / "missing" / "rows", SPEC)
    assert broken((0, "good.png", sha["good.png"])) == Outcome("disk", str(errno.ENOENT))
