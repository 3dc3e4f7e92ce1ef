"""A zip is taken whole or refused whole: nothing of a refused one is left behind, nothing lands outside."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from housetrain.errors import FolderError
from housetrain.studio import uploads


def png(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def zip_of(path: Path, members: dict[str, bytes], *, links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return path


GOOD = {f"{label}/{number}.png": png(number) for label in ("cats", "dogs") for number in range(3)}


def test_class_folders_are_unpacked(tmp_path: Path) -> None:
    archive = zip_of(
        tmp_path / "a.zip", {**GOOD, "__MACOSX/cats/._0.png": b"x", "cats/Thumbs.db": b"x", "readme.txt": b"x"}
    )
    told: list[tuple[int, int]] = []
    made = uploads.unpack(archive, "My pets!.zip", tmp_path / "up", progress=lambda *where: told.append(where))
    assert made == tmp_path / "up" / "My-pets"
    assert sorted(path.relative_to(made).as_posix() for path in made.rglob("*.*")) == sorted(GOOD)
    assert told[-1] == (6, 6)
    again = uploads.unpack(archive, "My pets!.zip", tmp_path / "up")
    assert again.name == "My-pets-2", "an upload replaced another one"


def test_folders_around_the_class_folders_are_passed_through(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {f"download/pets/{name}": data for name, data in GOOD.items()})
    made = uploads.unpack(archive, "pets.zip", tmp_path / "up")
    assert {path.name for path in made.iterdir()} == {"cats", "dogs"}


def lying(path: Path) -> Path:
    """The directory says 1 kB, the data are 50 MB: what comes out must be held against what was said."""
    zip_of(path, {**GOOD, "cats/bomb.png": bytes(50 << 20)})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("cats/bomb.png")
    wanted, small = (50 << 20).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert info.file_size == 50 << 20
    start = 0
    while (start := data.find(wanted, start)) >= 0:
        data[start : start + 4] = small
    path.write_bytes(bytes(data))
    return path


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "no zip": lambda path: path.write_bytes(b"not a zip at all") and path,
    "climbs": lambda path: zip_of(path, {**GOOD, "../evil.png": png()}),
    "climbs inside": lambda path: zip_of(path, {**GOOD, "cats/../../evil.png": png()}),
    "climbs with backslashes": lambda path: zip_of(path, {**GOOD, "cats\\..\\..\\evil.png": png()}),
    "absolute": lambda path: zip_of(path, {**GOOD, "/tmp/evil.png": png()}),
    "drive": lambda path: zip_of(path, {**GOOD, "C:/evil.png": png()}),
    "link": lambda path: zip_of(path, GOOD, links={"cats/link.png": "/etc/passwd"}),
    "link to a folder": lambda path: zip_of(path, {**GOOD, "birds/x/1.png": png()}, links={"birds/x": "/etc"}),
    "bomb": lambda path: zip_of(path, {**GOOD, "cats/bomb.png": bytes(300 << 20)}),
    "lies about sizes": lying,
    "one name twice": lambda path: zip_of(path, {**GOOD, "cats\\0.png": png()}),
    "a file that is a folder": lambda path: zip_of(path, {**GOOD, "cats/0.png/1.png": png()}),
    "a long name": lambda path: zip_of(path, {**GOOD, f"cats/{'x' * 300}.png": png()}),
    "deep": lambda path: zip_of(path, {**GOOD, "/".join(["d"] * 40) + "/1.png": png()}),
    "one class": lambda path: zip_of(path, {"cats/0.png": png()}),
    "loose images": lambda path: zip_of(path, {"0.png": png(), "1.png": png()}),
    "cut": lambda path: path.write_bytes(zip_of(path, GOOD).read_bytes()[:400]) and path,
    "damaged": lambda path: _flipped(zip_of(path, GOOD)),
}


def _flipped(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF  # inside the first image's data
    path.write_bytes(bytes(data))
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in root.rglob("*")}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_zip_is_refused_whole(kind: str, tmp_path: Path) -> None:
    archive = HOSTILE[kind](tmp_path / "a.zip")
    inside = tmp_path / "studio" / "uploads"
    inside.mkdir(parents=True)
    before = contents(tmp_path)
    with pytest.raises(FolderError) as said:
        uploads.unpack(archive, "pets.zip", inside)
    assert "\n" not in str(said.value) and "archive" not in said.value.what.lower()
    assert contents(tmp_path) == before, "something was left behind"


def test_nobody_else_reads_what_was_uploaded(tmp_path: Path) -> None:
    folder = uploads.unpack(zip_of(tmp_path / "a.zip", GOOD), "pets.zip", tmp_path / "up")
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
    assert modes == {True: 0o700, False: 0o600}


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from housetrain.data import download

    monkeypatch.setattr(download, "_MOST_FILES", 5)
    with pytest.raises(FolderError, match="6 members"):
        uploads.unpack(zip_of(tmp_path / "a.zip", GOOD), "pets.zip", tmp_path / "up")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", GOOD)
    data = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := data.find(mark, start)) >= 0:
            data[start + offset] |= 1
            start += 4
    archive.write_bytes(bytes(data))
    with pytest.raises(FolderError, match="encrypted"):
        uploads.unpack(archive, "pets.zip", tmp_path / "up")


def test_a_killed_page_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    (tmp_path / ".unpacking-x" / "content" / "cats").mkdir(parents=True)
    (tmp_path / "pets").mkdir()
    uploads.clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]
