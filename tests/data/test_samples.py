from __future__ import annotations

import gzip
import json
import os
import stat
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from events_of import Event, Interrupt, Listener

from housetrain.data import download, samples
from housetrain.data.download import RemoteFile, fetch, plan_unzip, unzip
from housetrain.data.samples import sample
from housetrain.errors import DiskFull, DownloadError, FolderError, RecipeError
from housetrain.system import events
from housetrain.system.events import Callbacks


def counts(folder: Path) -> dict[str, int]:
    return {item.name: len(list(item.iterdir())) for item in sorted(folder.iterdir()) if item.is_dir()}


# ---------------------------------------------------------------------------------------------- digits, IDX


def test_digits_are_the_real_ones(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    seen: list[Event] = []
    folder = sample("digits", tmp_path / "digits", callbacks=[Listener(seen.append)])
    real = load_digits()
    assert sum(counts(folder).values()) == 1797
    assert counts(folder) == {str(digit): int((real.target == digit).sum()) for digit in range(10)}
    assert (seen[-2]["done"], seen[-2]["total"], seen[-1]["state"]) == (1797, 1797, "complete")
    image = cv2.imread(str(folder / "7" / "00007.png"), cv2.IMREAD_UNCHANGED)
    assert image.shape == (32, 32) and image.dtype == np.uint8
    back = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).astype(float) * 16 / 255
    assert np.abs(back - real.images[7]).mean() < 1.0  # values reach 16


def test_second_call_does_nothing(tmp_path: Path) -> None:
    folder = sample("digits", tmp_path / "digits")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}
    sample("digits", folder)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")} == before


def test_interrupted_is_completed_and_deleted_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sample("digits", tmp_path / "whole")

    folder = tmp_path / "digits"
    monkeypatch.setattr(events, "_COUNT_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        sample("digits", folder, callbacks=[Interrupt(after=500)])
    assert 0 < sum(counts(folder).values()) < 1797
    next((folder / "0").iterdir()).write_bytes(b"torn")
    sample("digits", folder)
    next((folder / "3").iterdir()).unlink()
    sample("digits", folder)
    assert {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.png")} == {
        p.relative_to(whole): p.read_bytes() for p in whole.rglob("*.png")
    }


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"holds other files.*thesis\.txt"):
        sample("digits", tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.txt"]
    digits = sample("digits", tmp_path / "digits")
    with pytest.raises(FolderError, match="digits"):
        sample("mnist", digits)


def test_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean fashion-mnist"):
        sample("fashion_mnist", tmp_path / "x")


def test_mnist_from_its_files(tmp_path: Path, mnist_t10k: Path) -> None:
    folder = sample("mnist", tmp_path / "mnist", source=mnist_t10k)
    with gzip.open(mnist_t10k / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(mnist_t10k / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    assert sum(counts(folder).values()) == 10_000  # one part only: no train/ and test/
    for number in (0, 1, 4321, 9999):
        image = cv2.imread(str(folder / str(labels[number]) / f"{number:05d}.png"), cv2.IMREAD_UNCHANGED)
        assert (image == pixels[number]).all()


def write_idx(folder: Path, start: str, count: int, *, packed: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    images = struct.pack(">4I", 0x803, count, 28, 28) + pixels.tobytes()
    labels = struct.pack(">2I", 0x801, count) + bytes(number % 10 for number in range(count))
    for kind, data in (("images-idx3", images), ("labels-idx1", labels)):
        (folder / f"{start}-{kind}-ubyte{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)


@pytest.mark.parametrize("packed", [True, False])
def test_two_parts_become_ready_made_splits(tmp_path: Path, packed: bool) -> None:
    for start, count in (("train", 40), ("t10k", 20)):
        write_idx(tmp_path / "files", start, count, packed=packed)
    folder = sample("fashion-mnist", tmp_path / "fashion", source=tmp_path / "files")
    assert sorted(item.name for item in folder.iterdir() if item.is_dir()) == ["test", "train"]
    assert counts(folder / "train") == dict.fromkeys(sorted(samples.FASHION_CLASSES), 4)
    assert counts(folder / "test") == dict.fromkeys(sorted(samples.FASHION_CLASSES), 2)


@pytest.mark.skipif(not any(place.is_dir() for place in samples.DEBIAN_FOLDERS), reason="no dataset-fashion-mnist here")
def test_fashion_mnist_of_debian_is_found() -> None:
    parts, scratch = samples._idx("fashion-mnist", source=None, events=Callbacks())
    assert scratch is None
    assert parts["train"][0].shape == (60_000, 28, 28) and parts["test"][0].shape == (10_000, 28, 28)
    assert np.bincount(parts["train"][1]).tolist() == [6000] * 10


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"<html>not found</html>",
        lambda data: gzip.compress(b"\x00\x00\x08\x03" + b"\xff" * 12),
        lambda data: gzip.compress(bytes(samples._MOST_IDX_BYTES + 10)),
    ],
    ids=["empty", "cut", "html", "impossible shape", "bomb"],
)
def test_damaged_idx_is_refused(tmp_path: Path, damage: Any) -> None:
    write_idx(tmp_path / "files", "train", 20)
    path = tmp_path / "files" / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DownloadError, match="IDX"):
        sample("mnist", tmp_path / "out", source=tmp_path / "files")
    assert not (tmp_path / "out").exists()


def test_a_source_without_the_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with pytest.raises(FolderError, match="train-images-idx3-ubyte"):
        sample("mnist", tmp_path / "out", source=tmp_path / "files")
    assert not (tmp_path / "out").exists()


def test_killed_at_any_instant_the_next_call_completes_it(tmp_path: Path, mnist_t10k: Path) -> None:
    folder = tmp_path / "mnist"
    code = "import sys; from pathlib import Path; from housetrain.data.samples import sample\n"
    code += "sample('mnist', Path(sys.argv[1]), source=Path(sys.argv[2]))"
    child = subprocess.Popen([sys.executable, "-c", code, str(folder), str(mnist_t10k)])
    while child.poll() is None and sum(1 for _ in folder.rglob("*.png")) < 200:
        time.sleep(0.02)
    child.kill()
    child.wait()
    sample("mnist", folder, source=mnist_t10k)
    assert sum(counts(folder).values()) == 10_000
    assert all(cv2.imread(str(path)) is not None for path in folder.rglob("*.png"))


# ---------------------------------------------------------------------------------------------- download


class Server:
    """A web server with one file, that can be told to misbehave."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.ranges = True
        self.cut_after: list[int] = []  # so many bytes, then the connection ends; one entry an answer
        self.statuses: list[int] = []
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range", "")
                outer.asked.append(asked)
                if outer.statuses and (status := outer.statuses.pop(0)) != 200:
                    self.send_error(status)
                    return
                start = int(asked[len("bytes=") :].split("-")[0]) if asked and outer.ranges else 0
                body = outer.data[start:]
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(outer.data) - 1}/{len(outer.data)}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: outer.cut_after.pop(0)] if outer.cut_after else body)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/files/pets.zip"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def remote(self, **changes: Any) -> RemoteFile:
        import hashlib

        facts = {"url": self.url, "bytes": len(self.data), "sha256": hashlib.sha256(self.data).hexdigest()}
        return RemoteFile(**{**facts, **changes})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    one = Server(np.random.default_rng(1).bytes(300_000))
    yield one
    one.http.shutdown()
    one.http.server_close()


def test_download_goes_on_where_it_was_cut_off(tmp_path: Path, server: Server) -> None:
    server.cut_after = [100_000, 50_000]
    counted: list[Event] = []
    path = fetch(server.remote(), tmp_path, callbacks=[Listener(counted.append)])
    seen = [event["done"] for event in counted]
    assert path.read_bytes() == server.data
    assert server.asked == ["", "bytes=100000-", "bytes=150000-"]
    assert seen == sorted(seen) and seen[-1] == len(server.data)
    assert [item.name for item in tmp_path.iterdir()] == ["pets.zip"]
    fetch(server.remote(), tmp_path)
    assert len(server.asked) == 3  # it was there


def test_a_part_of_an_earlier_call_is_used(tmp_path: Path, server: Server) -> None:
    (tmp_path / "pets.zip.part").write_bytes(server.data[:1234])
    assert fetch(server.remote(), tmp_path).read_bytes() == server.data
    assert server.asked == ["bytes=1234-"]


def test_a_server_without_ranges_starts_anew(tmp_path: Path, server: Server) -> None:
    server.ranges = False
    server.cut_after = [100_000]
    assert fetch(server.remote(), tmp_path).read_bytes() == server.data


def test_a_busy_server_is_asked_again(tmp_path: Path, server: Server) -> None:
    server.statuses = [503, 429]
    assert fetch(server.remote(), tmp_path).read_bytes() == server.data


def test_a_missing_file_says_what_to_fetch(tmp_path: Path, server: Server) -> None:
    server.statuses = [404]
    with pytest.raises(DownloadError, match=r"404.*download http://127.*--source") as caught:
        fetch(server.remote(), tmp_path)
    assert len(server.asked) == 1 and "\n" not in str(caught.value)


def test_no_network_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    with pytest.raises(DownloadError, match=r"Cannot download pets\.zip.*download http://127"):
        fetch(RemoteFile("http://127.0.0.1:9/pets.zip", 10, "0" * 64), tmp_path)


def test_another_content_is_refused_and_not_kept(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DownloadError, match="content differs"):
        fetch(server.remote(sha256="0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_more_than_announced_is_cut_off(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DownloadError, match="larger than 1000 bytes"):
        fetch(server.remote(bytes=1000), tmp_path)
    assert sum(item.stat().st_size for item in tmp_path.iterdir()) <= 1000


def test_only_http(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="http or https"):
        fetch(RemoteFile("file:///etc/passwd", 10, "0" * 64), tmp_path)


# ---------------------------------------------------------------------------------------------- zip


def jpeg(number: int) -> bytes:
    image = np.full((40, 40, 3), number % 256, np.uint8)
    cv2.putText(image, str(number), (2, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255))
    return cv2.imencode(".jpg", image)[1].tobytes()


def pets_zip(path: Path, count: int = 12) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("readme[1].txt", "a licence")
        for name in ("Cat", "Dog"):
            bundle.writestr(f"PetImages/{name}/", "")
            bundle.writestr(f"PetImages/{name}/Thumbs.db", b"x" * 100)
            for number in range(count):
                bundle.writestr(f"PetImages/{name}/{number}.jpg", jpeg(number) if number else b"")
    return path


def test_cats_vs_dogs_is_downloaded_and_unpacked(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.data = pets_zip(tmp_path / "pets.zip").read_bytes()
    server.cut_after = [500]
    monkeypatch.setitem(samples.REMOTE, "cats-vs-dogs", (server.remote(),))
    monkeypatch.setattr(samples, "_downloads", lambda: tmp_path / "downloads")
    folder = sample("cats-vs-dogs", tmp_path / "pets")
    assert counts(folder) == {"Cat": 12, "Dog": 12}
    assert (folder / "Cat" / "3.jpg").read_bytes() == jpeg(3)
    assert list((tmp_path / "downloads").iterdir()) == []
    asked = len(server.asked)
    sample("cats-vs-dogs", folder)
    assert len(server.asked) == asked


def test_cats_vs_dogs_from_a_zip_at_hand(tmp_path: Path) -> None:
    archive = pets_zip(tmp_path / "kagglecatsanddogs_5340.zip")
    for number, source in enumerate((archive, tmp_path)):
        folder = sample("cats-vs-dogs", tmp_path / f"pets{number}", source=source)
        assert counts(folder) == {"Cat": 12, "Dog": 12}
    assert archive.exists()
    with pytest.raises(FolderError, match="archive does not exist"):
        sample("cats-vs-dogs", tmp_path / "other", source=tmp_path / "none.zip")


def test_unpacking_keeps_what_is_whole_and_mends_what_is_torn(tmp_path: Path) -> None:
    archive = pets_zip(tmp_path / "pets.zip")
    folder = sample("cats-vs-dogs", tmp_path / "pets", source=archive)
    mark = folder / samples.MARK
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "complete": False}))
    kept, torn, gone = folder / "Cat" / "1.jpg", folder / "Cat" / "2.jpg", folder / "Dog" / "5.jpg"
    inode = kept.stat().st_ino
    torn.write_bytes(b"\0" * torn.stat().st_size)  # the right size: as after a power cut
    gone.unlink()
    sample("cats-vs-dogs", folder, source=archive)
    assert kept.stat().st_ino == inode
    assert torn.read_bytes() == jpeg(2) and gone.read_bytes() == jpeg(5)


def hostile(path: Path, name: str, *, mode: int = 0, data: bytes = b"x") -> Path:
    pets_zip(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as bundle:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        bundle.writestr(member, data)
    return path


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    [
        ("../../Cat/1.jpg", 0, 1),
        ("/tmp/Cat/1.jpg", 0, 1),
        ("PetImages/../../Cat/77.jpg", 0, 1),
        ("..\\..\\Cat\\1.jpg", 0, 1),
        ("C:\\Cat\\1.jpg", 0, 1),
        ("PetImages/Cat/99.jpg", stat.S_IFLNK | 0o777, 1),
        ("PetImages/Cat/99.jpg", stat.S_IFIFO | 0o644, 1),
        ("PetImages/Cat/99.jpg", 0, 30 << 20),
        ("unrelated.txt", 0, 30 << 20),
    ],
)
def test_a_hostile_zip_is_refused_whole(tmp_path: Path, name: str, mode: int, size: int) -> None:
    archive = hostile(tmp_path / "evil.zip", name, mode=mode, data=b"\0" * size)
    with pytest.raises(DownloadError, match="refused"):
        sample("cats-vs-dogs", tmp_path / "in" / "pets", source=archive)
    assert [item.name for item in tmp_path.iterdir()] == ["evil.zip"]


def test_too_much_in_all_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pets_zip(tmp_path / "pets.zip")
    monkeypatch.setattr(download, "_MOST_BYTES", 1000)
    with pytest.raises(DownloadError, match="refused"):
        plan_unzip(archive, lambda name: tmp_path / name)


def test_a_lying_size_does_not_unpack_more(tmp_path: Path) -> None:
    archive = hostile(tmp_path / "liar.zip", "PetImages/Cat/99.jpg", data=os.urandom(50_000))
    data = bytearray(archive.read_bytes())
    place = data.rfind(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", 10)  # the directory says 10 bytes
    archive.write_bytes(data)
    planned = plan_unzip(archive, lambda name: tmp_path / "out" / "99.jpg" if name.endswith("99.jpg") else None)
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        list(unzip(archive, planned))
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("data", [b"", b"<html>", b"PK\x03\x04garbage"])
def test_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        sample("cats-vs-dogs", tmp_path / "out", source=tmp_path / "x.zip")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFull, match=r"No space left.*bytes_needed=") as caught:
        sample("digits", tmp_path / "digits")
    assert "\n" not in str(caught.value)
