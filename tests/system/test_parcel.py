"""Parcels: the same files on a node, written once, and nothing that arrived otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_ray import FakeRay, Stored

from housetrain.errors import CorruptError
from housetrain.system import parcel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "from" / "deep").mkdir(parents=True)
    (tmp_path / "from" / "a.bin").write_bytes(b"0123456789")
    (tmp_path / "from" / "deep" / "b.bin").write_bytes(b"")
    (tmp_path / "from" / "other").write_bytes(b"stays")
    return tmp_path / "from"


def test_the_named_files_arrive_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "_CHUNK", 4)
    ray = FakeRay()
    sent = parcel.pack(ray, folder, ["deep/b.bin", "a.bin"])
    assert ray.puts == 3
    place = parcel.unpack(ray, sent, tmp_path / "cache")
    assert {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()} == {
        "a.bin": b"0123456789",
        "deep/b.bin": b"",
    }
    before = place.stat().st_mtime_ns
    sent.files[0].chunks.clear()  # not read again
    assert parcel.unpack(ray, sent, tmp_path / "cache") == place and place.stat().st_mtime_ns == before


def test_another_content_has_another_place(folder: Path) -> None:
    first = parcel.pack(FakeRay(), folder, ["a.bin"]).digest
    (folder / "a.bin").write_bytes(b"other")
    assert parcel.pack(FakeRay(), folder, ["a.bin"]).digest != first


def test_what_arrives_otherwise_is_refused_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    ray = FakeRay()
    sent = parcel.pack(ray, folder, ["a.bin"])
    sent.files[0].chunks[0] = Stored(b"9876543210")
    with pytest.raises(CorruptError, match="did not reach a node"):
        parcel.unpack(ray, sent, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_name_that_leads_out_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="leads out"):
        parcel.pack(FakeRay(), folder, ["../secret"])
    sent = parcel.pack(FakeRay(), folder, ["a.bin"])
    sent.files[0] = sent.files[0]._replace(name="../../out")
    with pytest.raises(CorruptError, match="leads out"):
        parcel.unpack(FakeRay(), sent, tmp_path / "cache")
    assert not (tmp_path / "out").exists()
