"""What is kept is the old or the new, never half of one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from housetrain.errors import CorruptError, DiskFull, IncompleteError
from housetrain.system import store


def test_json_is_plain_ascii_and_nan_becomes_null(tmp_path: Path) -> None:
    value = {"a": np.float32(0.5), "n": float("nan"), "p": Path("x/ü"), "t": (1, np.int64(2)), "array": np.ones(2)}
    store.write_json_atomic(tmp_path / "deep" / "v.json", value)
    assert (tmp_path / "deep" / "v.json").read_bytes().isascii()
    assert store.read_json(tmp_path / "deep" / "v.json") == {
        "a": 0.5,
        "n": None,
        "p": "x/ü",
        "t": [1, 2],
        "array": [1, 1],
    }
    assert [item.name for item in (tmp_path / "deep").iterdir()] == ["v.json"]


def test_undecodable_file_names_survive_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    store.write_json_atomic(tmp_path / "v.json", {"path": name})
    assert store.read_json(tmp_path / "v.json")["path"] == name


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match=r"v\.json is missing"):
        store.read_json(tmp_path / "v.json")
    (tmp_path / "v.json").write_text('{"a": ')
    with pytest.raises(CorruptError, match="not JSON"):
        store.read_json(tmp_path / "v.json")


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.json"
    store.write_json_atomic(path, 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match=r"v\.json.*bytes_needed=2"):
        store.write_json_atomic(path, 2)
    assert store.read_json(path) == 1
    assert [item.name for item in tmp_path.iterdir()] == ["v.json"]


def test_room_is_checked_up_front(tmp_path: Path) -> None:
    store.ensure_room(tmp_path / "not" / "yet", 1)
    with pytest.raises(DiskFull, match=rf"bytes_needed={1 << 60}"):
        store.ensure_room(tmp_path / "not" / "yet", 1 << 60)


def test_really_full_disk_is_named() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(DiskFull, match="/dev/full"), store.disk_errors(full), full.open("wb", buffering=0) as file:
        file.write(b"x")


# ------------------------------------------------------------------------------------------------- lines
def test_lines_append_and_a_torn_tail_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert store.read_lines(path) == []
    for epoch in (1, 2):
        store.append_line(path, {"epoch": epoch})
    for torn in (b'{"epoch": 3, "lo', b"\0" * 10_000):  # a kill, and what a power cut leaves
        with path.open("ab") as file:
            file.write(torn)
        assert [row["epoch"] for row in store.read_lines(path)] == [1, 2]
        store.append_line(path, {"epoch": 3})
        assert [row["epoch"] for row in store.read_lines(path)] == [1, 2, 3]
        path.write_bytes(b'{"epoch": 1}\n{"epoch": 2}\n')


def test_a_file_of_nothing_but_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(b'{"epoch"')
    assert store.read_lines(path) == []
    store.append_line(path, {"epoch": 1})
    assert path.read_bytes() == b'{"epoch": 1}\n'


def test_a_bad_line_in_the_middle_is_said(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(b'{"a": 1}\nnope\n{"a": 2}\n')
    with pytest.raises(CorruptError, match="Line 2"):
        store.read_lines(path)
    path.write_bytes(b"[1]\n")
    with pytest.raises(CorruptError, match="Line 1"):
        store.read_lines(path)


# ------------------------------------------------------------------------------------------------- folders
def commit(parent: Path, name: str, text: str) -> None:
    with store.commit_folder(parent, name) as folder:
        (folder / "sub").mkdir()
        (folder / "a.txt").write_text(text)
        (folder / "sub" / "b.txt").write_text(text)


def test_a_committed_folder_verifies_and_a_changed_one_does_not(tmp_path: Path) -> None:
    commit(tmp_path, "x", "one")
    store.verify_folder(tmp_path / "x")
    (tmp_path / "x" / "sub" / "b.txt").write_text("onf")  # same size, other content
    with pytest.raises(CorruptError, match=r"sub/b\.txt"):
        store.verify_folder(tmp_path / "x")
    (tmp_path / "x" / "sub" / "b.txt").unlink()
    with pytest.raises(CorruptError, match="missing"):
        store.verify_folder(tmp_path / "x")
    (tmp_path / "x" / "manifest.json").write_text("{")
    with pytest.raises(CorruptError, match="manifest"):
        store.verify_folder(tmp_path / "x")


def test_committing_again_replaces_as_a_whole(tmp_path: Path) -> None:
    commit(tmp_path, "x", "one")
    (tmp_path / "x" / "extra").write_text("of the old one")
    commit(tmp_path, "x", "two")
    assert (tmp_path / "x" / "a.txt").read_text() == "two"
    assert not (tmp_path / "x" / "extra").exists()
    assert [item.name for item in tmp_path.iterdir()] == ["x"]


def test_without_renameat2_it_replaces_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    commit(tmp_path, "x", "one")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_kwargs: object())
    commit(tmp_path, "x", "two")
    assert (tmp_path / "x" / "a.txt").read_text() == "two"
    assert [item.name for item in tmp_path.iterdir()] == ["x"]


def test_a_block_that_raises_changes_nothing(tmp_path: Path) -> None:
    commit(tmp_path, "x", "one")
    with pytest.raises(RuntimeError), store.commit_folder(tmp_path, "x") as folder:
        (folder / "a.txt").write_text("two")
        raise RuntimeError
    assert (tmp_path / "x" / "a.txt").read_text() == "one"
    assert [item.name for item in tmp_path.iterdir()] == ["x"]


def test_newest_valid_sets_bad_ones_aside(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        commit(tmp_path, f"epoch-{number:05}", str(number))
    (tmp_path / "epoch-00003" / "a.txt").write_text("rot")
    assert store.newest_valid(tmp_path, "epoch-") == tmp_path / "epoch-00002"
    assert (tmp_path / "epoch-00003.corrupt").is_dir()
    commit(tmp_path, "epoch-00003", "3")
    (tmp_path / "epoch-00003" / "a.txt").write_text("rot")
    assert store.newest_valid(tmp_path, "epoch-") == tmp_path / "epoch-00002"
    assert (tmp_path / "epoch-00003.corrupt2").is_dir()
    assert store.newest_valid(tmp_path / "nowhere", "epoch-") is None


def test_leftovers_of_dead_processes_go_and_those_of_live_ones_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    old = tmp_path / f".tmp-x-{store._host()}-{dead.pid}"
    live = tmp_path / f".tmp-x-{store._host()}-{os.getppid()}"
    other = tmp_path / f".tmp-x-another_host-{dead.pid}"
    for folder in (old, live, other):
        folder.mkdir()
    commit(tmp_path, "x", "one")
    assert not old.exists()
    assert live.exists()
    assert other.exists()


def test_the_store_imports_in_a_tenth_of_a_second_and_no_keras() -> None:
    code = (
        "import sys, time; t = time.process_time(); import housetrain.system.store, housetrain.training.run, "
        "housetrain.training.overfitting; print(time.process_time() - t); "
        "assert not {'keras', 'tensorflow', 'numpy', 'psutil'} & set(sys.modules)"
    )
    seconds = min(float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(3))
    assert seconds < 0.1
