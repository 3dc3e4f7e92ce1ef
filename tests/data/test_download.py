"""Downloads resume and are verified; hostile archives are refused."""

from __future__ import annotations

import os
import stat
import struct
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.pets import counts, jpeg, pets_zip
from events_of import Event, Listener

from housetrain.data import download, samples
from housetrain.data.download import RemoteFile, fetch, plan_unzip, unzip
from housetrain.data.samples import sample
from housetrain.errors import DownloadError


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


@pytest.mark.parametrize("have", [1234, 300_000])
def test_a_part_that_is_a_link_is_not_followed(tmp_path: Path, server: Server, have: int) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "downloads"
    elsewhere.write_bytes(server.data[:have])
    folder.mkdir()
    (folder / "pets.zip.part").symlink_to(elsewhere)
    path = fetch(server.remote(), folder)
    assert path.read_bytes() == server.data and not path.is_symlink()
    assert elsewhere.read_bytes() == server.data[:have]


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
