"""Mirrors: a folder and its copy in storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from housetrain.errors import CorruptError, HousetrainError

pytest.importorskip("fsspec", reason="the extra cluster is not installed")

from housetrain.system.mirror import Mirror


def test_there_and_back(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "bucket" / "x"
    (here / "deep").mkdir(parents=True)
    (here / "a").write_bytes(b"1")
    (here / "deep" / "b").write_bytes(b"2")
    (here / ".lock").write_bytes(b"")
    mirror = Mirror(here, there.as_uri())
    mirror.push(leave_out=lambda name: name.startswith("."))
    assert {path.name for path in there.rglob("*") if path.is_file()} == {"a", "b"}

    other = Mirror(tmp_path / "other", str(there))
    assert other.fetch(leave_out=lambda name: name.startswith("deep/"))
    assert (tmp_path / "other" / "a").read_bytes() == b"1" and not (tmp_path / "other" / "deep").exists()
    assert not Mirror(tmp_path / "none", str(tmp_path / "nowhere")).fetch()


def test_only_what_changed_is_sent_and_what_is_gone_goes(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    for name in ("same", "changed", "gone"):
        (here / name).write_bytes(b"1")
    mirror = Mirror(here, str(there))
    mirror.push()
    (there / "same").write_bytes(b"untouched")
    (here / "changed").write_bytes(b"22")
    (here / "gone").unlink()
    mirror.push()
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {"same": b"untouched", "changed": b"22"}


def test_what_marks_the_rest_as_complete_is_sent_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    (here / "checkpoints").mkdir(parents=True)
    for name in ("result.json", "checkpoints/manifest.json", "checkpoints/weights", "zebra"):
        (here / name).write_bytes(b"1")
    mirror, sent = Mirror(here, str(tmp_path / "there")), list[str]()
    monkeypatch.setattr(mirror._files, "pipe_file", lambda path, data: sent.append(path.rpartition("/there/")[2]))
    mirror.push()
    assert sent == ["checkpoints/weights", "zebra", "checkpoints/manifest.json", "result.json"]


def test_links_are_not_sent_and_names_do_not_lead_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (here / "link").symlink_to(tmp_path / "secret")
    mirror = Mirror(here, str(tmp_path / "there"))
    mirror.push()
    assert not (tmp_path / "there").exists()
    monkeypatch.setattr(mirror, "_names", lambda: ["../out"])
    with pytest.raises(CorruptError, match="leads out"):
        mirror.fetch()


def test_an_unknown_kind_of_address_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(HousetrainError, match=r"kind of address cannot be used.*nosuch"):
        Mirror(tmp_path, "nosuch://x")
