"""Archives in place of folders: taken whole or refused whole."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from housetrain.data.archive import MOST_BYTES, is_archive, stem_of, top_folder, unpack, unpacked
from housetrain.data.catalog import scan
from housetrain.data.download import unsafe
from housetrain.errors import FolderError


def png(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.imencode(".png", cv2.resize(noise, (48, 48), interpolation=cv2.INTER_CUBIC))[1].tobytes()


PETS = {f"download/pets/{label}/{n}.png": png(n + len(label)) for label in ("cat", "doggo") for n in range(4)}


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


MAKERS: list[tuple[str, Callable[[Path, dict[str, bytes]], Path]]] = [("pets.zip", make_zip), ("pets.tar.gz", make_tar)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_an_archive_is_scanned_like_its_folder_and_unpacked_once(
    tmp_path: Path, name: str, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    litter = {"__MACOSX/pets/._0.png": b"x", "download/pets/cat/Thumbs.db": b"x", "download/pets/film.mp4": b"x"}
    archive = make(tmp_path / name, PETS | litter)
    catalog = scan(archive, workers=1)
    assert catalog.counts() == {"cat": 4, "doggo": 4}
    assert catalog.root.name == "pets"
    assert {path.name for path in tmp_path.iterdir()} == {name, "cache"}, "it was unpacked beside the archive"
    kept = {path: path.stat().st_mtime_ns for path in catalog.root.rglob("*.png")}
    assert scan(archive, workers=1).fingerprint == catalog.fingerprint
    assert {path: path.stat().st_mtime_ns for path in catalog.root.rglob("*.png")} == kept
    make(tmp_path / name, {**PETS, "download/pets/cat/new.png": png(99)})
    assert scan(archive, workers=1).counts() == {"cat": 5, "doggo": 4}
    assert not catalog.root.exists(), "the version before was kept"


def test_labels_in_a_zip(tmp_path: Path) -> None:
    rows = "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(8))
    members: dict[str, bytes] = {f"set/images/{n}.png": png(n) for n in range(8)}
    archive = make_zip(tmp_path / "set.zip", {**members, "set/labels.csv": ("image,label\n" + rows).encode()})
    with pytest.raises(FolderError, match=r"labels.csv names 8 of the 8 images.*--labels labels.csv"):
        scan(archive, workers=1)
    assert scan(archive, labels="labels.csv", workers=1).counts() == {"a": 4, "b": 4}


@pytest.mark.parametrize(("name", "make"), MAKERS)
@pytest.mark.parametrize("bad", ["../out.png", "/abs/out.png", "a/../../out.png", "C:/out.png"])
def test_names_that_lead_outside_refuse_the_whole(
    tmp_path: Path, name: str, make: Callable[[Path, dict[str, bytes]], Path], bad: str
) -> None:
    archive = make(tmp_path / name, {**PETS, bad: png(1)})
    with pytest.raises(FolderError, match="leads outside"):
        unpacked(archive, tmp_path / "cache")
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_refuse_the_whole(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "pets.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("cat/0.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(FolderError, match="link or a device"):
        unpacked(path, tmp_path / "cache")


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_a_torn_archive_is_one_line_and_leaves_nothing(
    tmp_path: Path, name: str, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    archive = make(tmp_path / name, PETS)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    archive.write_bytes(data)
    with pytest.raises(FolderError):
        unpacked(archive, tmp_path / "cache")
    assert not list(tmp_path.rglob("*.png"))


def test_two_members_of_one_name_and_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cat/0.png", png(0))
        archive.writestr("cat/0.png", png(1))
    with pytest.raises(FolderError, match="one name twice"):
        unpacked(tmp_path / "a.zip", tmp_path / "cache")
    with pytest.raises(FolderError, match="no images"):
        unpacked(make_zip(tmp_path / "b.zip", {"notes.txt": b"x"}), tmp_path / "cache")


def test_what_is_an_archive(tmp_path: Path) -> None:
    assert is_archive(make_zip(tmp_path / "named.anything", PETS))
    (tmp_path / "not.zip").write_bytes(b"x" * 2000)
    assert not is_archive(tmp_path / "not.zip")
    assert not is_archive(tmp_path)
    with pytest.raises(FolderError, match="not a zip or tar"):
        unpack(tmp_path / "not.zip", tmp_path, name="not.zip")
    assert [stem_of(Path(name)) for name in ("a.zip", "a.tar.gz", "a.b.TGZ", ".zip", "a")] == [
        "a",
        "a",
        "a.b",
        ".zip",
        "a",
    ]


def test_wrappers_are_passed_through_down_to_the_classes(tmp_path: Path) -> None:
    (tmp_path / "one" / "two" / "cat").mkdir(parents=True)
    (tmp_path / "one" / "two" / "dog").mkdir()
    assert top_folder(tmp_path) == tmp_path / "one" / "two"


@pytest.mark.parametrize(("size", "refused"), [(5 << 30, False), (300 << 30, True)])
def test_what_a_person_packs_may_be_larger_than_a_download(size: int, refused: bool) -> None:
    members = [("cat/0.png", size, True)]
    assert ("would unpack to more than 256 GiB" in unsafe(members, most_bytes=MOST_BYTES)) is refused


def test_the_same_names_and_kinds_are_refused_in_every_archive() -> None:
    assert unsafe([("cat/0.png", 1, True)], most_bytes=10) == ""
    assert "leads outside" in unsafe([("cat\\..\\..\\0.png", 1, True)], most_bytes=10)
    assert "link or a device" in unsafe([("cat/0.png", 1, False)], most_bytes=10)


def test_a_folder_inside_an_archive_is_named_with_what_to_do_first(tmp_path: Path) -> None:
    members = {f"{top}/{name}/{n}.png": png(n) for n in range(3) for top in ("a", "b/c") for name in ("cat", "dog")}
    archive = make_zip(tmp_path / "twice.zip", members)
    with pytest.raises(FolderError, match=r"give one of them: \S+twice.zip/b/c; .*; unpack twice.zip first"):
        scan(archive)


def test_spreadsheets_of_labels_in_an_archive_are_named(tmp_path: Path) -> None:
    members = {f"images/{n}.png": png(n) for n in range(3)} | {"labels.xlsx": b"PK\x03\x04"}
    with pytest.raises(FolderError, match=r"labels.xlsx, which may hold the labels, is not read"):
        scan(make_zip(tmp_path / "sheet.zip", members))
